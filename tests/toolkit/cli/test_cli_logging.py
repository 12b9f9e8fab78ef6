"""What is told on stderr and in the log file, and how much of it."""

import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from jetson.errors import BadInput
from tests.bundles import fake_profile, tiny_bundle
from toolkit.cli import console, main
from toolkit.cli.console import progress_bars, progress_share
from toolkit.cli.train_progress import Lines, shown

PROFILE = ["profile", "bundle", "--rounds", "3", "--warm-up", "0", "--out", "new.json"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    fake_profile(tiny_bundle(folder / "bundle")).save(folder / "profile.json")
    return folder


@pytest.fixture
def here(shelf, monkeypatch):
    monkeypatch.chdir(shelf)
    return shelf


def told(capsys, *words, code=0):
    assert main(list(words)) == code
    return capsys.readouterr().err


def test_without_options_remarks_are_told_and_no_more(here, capsys):
    assert [line.split()[0] for line in told(capsys, *PROFILE).splitlines()] == ["profiling", "15"]


@pytest.mark.parametrize("place", ["before", "after"])
def test_verbose_tells_what_is_done_and_how_long_it_takes(here, capsys, place):
    err = told(capsys, "-v", *PROFILE) if place == "before" else told(capsys, *PROFILE, "-v")
    assert "info    offramp.jetson.engines: loaded 7 units of bundle into onnxruntime in " in err
    assert "info    offramp.jetson.profiling.measure: profiled bundle in " in err and "debug" not in err
    assert "debug   offramp.jetson.engines: onnxruntime" in told(capsys, "-vv", *PROFILE)
    assert "debug   offramp.jetson.engines: onnxruntime" in told(capsys, "--log-level", "debug", *PROFILE)


def test_frames_are_told_at_debug_alone(here, capsys, tmp_path):
    import numpy as np

    np.save(tmp_path / "frames.npy", np.zeros((3, 8, 8), np.uint8))
    run = ["run", "bundle", "--profile", "profile.json", "--data", str(tmp_path / "frames.npy"), "--budget-ms", "9"]
    assert "jetson.runtime: exit" not in told(capsys, *run, "-v")
    assert told(capsys, *run, "-vv").count("jetson.runtime: exit ") == 3


def test_quiet_leaves_errors_alone(here, capsys):
    assert told(capsys, "--quiet", *PROFILE) == ""
    assert told(capsys, *PROFILE, "-q") == ""
    assert told(capsys, "-q", "info", "nothing", code=2).startswith("offramp info: nothing: not a bundle")
    assert "profiling" in told(capsys, *PROFILE)  # it was for that one command


def test_a_log_file_takes_everything_from_info_on(here, capsys, tmp_path):
    file = tmp_path / "deep" / "offramp.log"
    assert told(capsys, "--quiet", "--log-file", str(file), *PROFILE) == ""
    assert told(capsys, "--log-file", str(file), "info", "nothing", code=2).count("\n") == 1
    text = file.read_text()
    assert "info    offramp.remark: profiling bundle" in text and "offramp.jetson.engines: loaded" in text
    assert "error   offramp.error: nothing: not a bundle" in text and "debug" not in text
    assert told(capsys, "--log-file", str(tmp_path), "version", code=2).startswith(
        f"offramp version: cannot write {tmp_path}"
    )


def test_a_log_is_utf8_whatever_a_name_is(here, capsys, caplog, tmp_path):
    assert main(["--log-file", str(tmp_path / "log"), "info", os.fsdecode(b"bad\xff")]) == 2
    assert r"bad\udcff: not a bundle" in (tmp_path / "log").read_text(encoding="utf-8")
    caplog.records[-1].getMessage().encode()


def test_json_lines_are_all_that_is_on_stderr(here, capsys):
    lines = [json.loads(line) for line in told(capsys, "--log-format", "json", "-v", *PROFILE).splitlines()]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    assert [line["logger"] for line in lines][:2] == ["offramp.remark", "offramp.jetson.engines"]


@pytest.mark.parametrize(
    "words", [["-v", "-q"], ["-q", "--log-level", "info"], ["-v", "--log-level", "info"]], ids=" ".join
)
def test_two_that_exclude_one_another_are_refused(here, capsys, words):
    assert "give one of --verbose, --quiet and --log-level" in told(capsys, *words, "version", code=2)
    assert "give one of --verbose, --quiet and --log-level" in told(capsys, "version", *words, code=2)


def test_the_nearer_place_counts(here, capsys, monkeypatch):
    monkeypatch.setenv("OFFRAMP_LOG_LEVEL", "debug")
    assert "debug" in told(capsys, *PROFILE)
    assert told(capsys, "-q", *PROFILE) == ""
    assert "info " in told(capsys, "-q", *PROFILE, "-v")


def chatty(monkeypatch):
    """`offramp version` with another package in it that logs, and a warning."""

    def versions():
        logging.getLogger("another.package").error("a stray word")
        warnings.warn("an old name", DeprecationWarning, stacklevel=1)
        return {"offramp": "1"}

    monkeypatch.setattr("toolkit.cli.version.found", versions)


@pytest.mark.filterwarnings("always")
def test_what_others_log_counts_as_debug(here, capsys, monkeypatch):
    chatty(monkeypatch)
    assert told(capsys, "version") == "" and told(capsys, "-v", "version") == ""
    err = told(capsys, "-vv", "version")
    assert "debug   another.package: a stray word" in err and "py.warnings: " in err and "an old name" in err


PRINTS = """
import logging
from toolkit.cli import main, version
def found():
    own = logging.getLogger("torch")  # as PyTorch does when it is imported
    own.propagate = False
    own.addHandler(logging.StreamHandler())
    logging.getLogger("torch.onnx").error("a stray word")
    return {}
version.found = found
for words in ["version"], ["version", "-vv"]:
    print(main(words), flush=True)
"""


def test_packages_that_print_what_they_log_do_not(here):
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stderr.count("a stray word") == 1 and "debug   torch.onnx: a stray word" in done.stderr


def test_logging_is_afterwards_as_it_was(here, capsys):
    root, tree = logging.getLogger(), logging.getLogger("offramp")
    before = list(root.handlers), root.level, tree.level, warnings.showwarning
    main(["-vv", "--color", "always", "version"])
    assert (list(root.handlers), root.level, tree.level, warnings.showwarning) == before
    assert console.status == console.Status()


def test_the_error_of_a_mistake_has_its_origin_at_debug(here, capsys):
    assert "BundleError" not in told(capsys, "-v", "info", "nothing", code=2)
    err = told(capsys, "-vv", "info", "nothing", code=2)
    assert "jetson.errors.BundleError" in err and err.splitlines()[-1].startswith("offramp info: nothing")


class Terminal:
    """A stderr that is a terminal."""

    def __init__(self, to):
        self._to = to

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self._to, name)


@pytest.mark.parametrize(
    ("quiet", "term", "bars"), [(False, "xterm", True), (True, "xterm", False), (False, "dumb", False)]
)
def test_bars_are_for_terminals_that_can_and_not_for_quiet(capsys, monkeypatch, quiet, term, bars):
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(console.status, "quiet", quiet)
    assert console.animated() is bars and isinstance(shown(), Lines) is not bars
    with progress_bars() as begin:
        begin("export", 1)()
    with progress_share("profiling") as progress:
        progress(1.0)
    err = capsys.readouterr().err
    assert ("export" in err) is not quiet and ("━" in err) is bars


@pytest.mark.parametrize(
    ("words", "environment", "colors"),
    [
        ([], {}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        (["--color", "always"], {}, True),
        (["--color", "always"], {"NO_COLOR": "1", "TERM": "dumb"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
        ([], {"OFFRAMP_COLOR": "always"}, True),
    ],
)
def test_colours_come_when_they_are_asked_for(here, words, environment, colors):
    inherited = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE")}
    command = [sys.executable, "-m", "toolkit", *words, "info", "bundle"]
    env = {**inherited, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert ("\x1b[" in done.stdout) is colors


def test_the_library_says_nothing_on_its_own(here):
    script = (
        "from jetson import Runtime; import logging\n"
        "Runtime.load('bundle', 'profile.json').close()\n"
        "assert not logging.getLogger().handlers and logging.getLogger('offramp').level == 0\n"
        "from jetson.log import get_logger; get_logger('jetson.x').warning('mend this')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_exit_codes_are_those_of_the_guide(here, capsys, monkeypatch):
    """0, 1 and 2 here; 130 and 143 in test_cli_commands.py."""
    assert main(["version"]) == 0 and main(["info", "nothing"]) == 2 and main(["fly"]) == 2

    def fails(error):
        def found():
            raise error

        monkeypatch.setattr("toolkit.cli.version.found", found)
        return main(["version"])

    from jetson.errors import WorkFailed

    assert fails(WorkFailed("it broke")) == 1 and fails(BadInput("not so")) == 2 and fails(KeyboardInterrupt()) == 130
    guide = (ROOT / "docs" / "guide" / "command-line.md").read_text()
    assert all(f"| {code} |" in guide for code in (0, 1, 2, 130, 143))
