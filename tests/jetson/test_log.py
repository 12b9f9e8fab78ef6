import logging
import subprocess
import sys

from jetson.log import get_logger, timed
from tests.conftest import environment


def test_loading_a_runtime_imports_no_logging():
    unwanted = ["logging", "tempfile", "numpy.random"]
    if sys.version_info >= (3, 11):  # before, Python's own `platform` imports it
        unwanted.append("subprocess")
    code = f"import sys, jetson; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_said_reaches_logging_under_its_own_name(caplog):
    log = get_logger("jetson.x")
    assert not log.tells_details()
    with caplog.at_level(logging.DEBUG, "offramp"):
        assert log.tells_details()
        log.debug("a %s", "detail")
        log.warning("mend %d", 3)
        with timed(log, "made %s", "it"):
            pass
    assert [(r.name, r.levelname, r.filename) for r in caplog.records[:2]] == [
        ("offramp.jetson.x", "DEBUG", "test_log.py"),
        ("offramp.jetson.x", "WARNING", "test_log.py"),
    ]
    assert caplog.messages[:2] == ["a detail", "mend 3"] and caplog.messages[2].startswith("made it in 0.0")


def test_nobody_is_told_who_did_not_ask():
    code = "import logging; from jetson.log import get_logger; get_logger('jetson.x').warning('mend this')"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
