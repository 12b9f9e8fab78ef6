"""Our program on the board, in a process of this machine."""

from __future__ import annotations

import hashlib
import sys
import time
import zipfile

import pytest

from toolkit.deploy.cargo import Item
from toolkit.deploy.copying import copy, look
from toolkit.deploy.link import CHUNK, Refused
from toolkit.deploy.remote_job import Job
from toolkit.deploy.ssh import Lost


@pytest.fixture
def item(tmp_path) -> Item:
    path = tmp_path / "big"
    path.write_bytes(bytes(range(256)) * (5 * CHUNK // 512))
    return Item.of(path)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "board"


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


def heard(link, job: Job, view) -> bytes:
    return job.run(link, view.share)


def test_it_tells_of_its_python_and_writes_nothing(local, folder) -> None:
    facts = local(folder).ask("hello", folder=str(folder))
    assert facts["markers"]["python_version"] == "{}.{}".format(*sys.version_info)
    assert facts["free_bytes"] > 0
    assert "numpy" in facts["distributions"]
    assert not folder.exists()


def test_a_copied_file_has_its_name_when_it_is_whole(local, folder, item, view) -> None:
    link = local(folder)
    assert copy(link, [item, item], "files", view) == item.size_bytes
    assert (folder / "files" / item.sha256).read_bytes() == item.path.read_bytes()
    assert copy(link, [item], "files", view) == 0
    assert view.shares[-1][0] == 1.0


@pytest.mark.parametrize("begun", [1, CHUNK, 2 * CHUNK + 7])
def test_copying_goes_on_behind_what_is_there(local, folder, item, view, begun) -> None:
    part = folder / "files" / f"{item.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(item.path.read_bytes()[:begun])
    assert copy(local(folder), [item], "files", view) == item.size_bytes - begun
    assert [p.name for p in part.parent.iterdir()] == [item.sha256]


def test_a_beginning_that_is_something_else_is_copied_anew(local, folder, item, view) -> None:
    part = folder / "files" / f"{item.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100)
    assert copy(local(folder), [item], "files", view) == item.size_bytes


def test_an_altered_file_on_the_board_is_copied_anew(local, folder, item, view) -> None:
    link = local(folder)
    copy(link, [item], "files", view)
    file = folder / "files" / item.sha256
    file.write_bytes(b"x" + file.read_bytes()[1:])
    assert [i for i, _ in look(link, [item])] == [item]


def test_a_file_that_changes_meanwhile_is_refused(local, folder, item, view) -> None:
    item.path.write_bytes(b"other")
    with pytest.raises(Refused, match="arrived damaged, or was changed while it was copied"):
        copy(local(folder), [item], "files", view)
    assert list((folder / "files").iterdir()) == []


def test_an_empty_file(local, folder, tmp_path, view) -> None:
    (tmp_path / "empty").touch()
    empty = Item.of(tmp_path / "empty")
    copy(local(folder), [empty], "files", view)
    assert (folder / "files" / empty.sha256).read_bytes() == b""


def test_a_bundle_is_replaced_as_a_whole_and_what_nobody_names_goes(local, folder, tmp_path, view) -> None:
    link = local(folder)
    for number, text in enumerate(("one", "two")):
        file = tmp_path / text
        file.write_text(text)
        item = Item.of(file)
        copy(link, [item], "files", view)
        link.ask("bundle", name="b", files={f"units/{number}": item.sha256})
    there = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    assert sorted(there) == ["bundles/.b.json", "bundles/b/units/1", f"files/{hashlib.sha256(b'two').hexdigest()}"]


@pytest.mark.parametrize("path", ["../out", "/elsewhere/out", "a/../../out"])
def test_no_path_leaves_the_folder(local, folder, path) -> None:
    with pytest.raises(Refused, match="leaves"):
        local(folder).ask("bundle", name="b", files={path: "0" * 64})
    with pytest.raises(Refused, match="leaves"):
        local(folder).get(path)


def test_a_wheel_is_unpacked_without_its_scripts(local, folder, tmp_path, view) -> None:
    path = tmp_path / "toolkit-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toolkit/__init__.py", "")
        archive.writestr("toolkit/cli.py", "def main():\n    print('ran')\n    return 3\n")
        archive.writestr("toolkit-1.data/purelib/beside.py", "")
        archive.writestr("toolkit-1.data/scripts/run", "")
    wheel = Item.of(path)
    link = local(folder)
    copy(link, [wheel], "wheels", view)
    for digest in ("a", "b", "c"):
        link.ask("install", digest=digest, wheels=[wheel.sha256], pip=[])
        assert link.ask("environment", digest=digest)
    site = folder / "env" / "c" / "site"
    assert sorted(p.relative_to(site).as_posix() for p in site.rglob("*.py")) == [
        "beside.py",
        "toolkit/__init__.py",
        "toolkit/cli.py",
    ]
    assert {p.name for p in (folder / "env").iterdir()} == {"b", "c"}
    assert list((folder / "files").iterdir()) == []
    assert not link.ask("environment", digest="b")
    job = Job("offramp", [str(folder / "bin" / "offramp")])
    with pytest.raises(Exception, match="exit code 3"):
        heard(link, job, view)


def test_work_outlives_the_connection_and_is_heard_from_where_it_was(local, folder, tmp_path, view) -> None:
    gate = tmp_path / "gate"
    words = python(
        "import os, sys, time",
        'print(\'before\', flush=True); print(\'{"progress": "half", "share": 0.5}\', file=sys.stderr, flush=True)',
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)",
        "print('after')",
    )
    job, first = Job("work", words), local(folder)

    def told(share: float | None, text: str) -> None:
        first.kill()

    with pytest.raises(Lost):
        job.run(first, told)
    second = local(folder)
    assert list(second.ask("running")) == ["work"]
    gate.touch()
    assert heard(second, job, view) == b"before\nafter\n"
    # Another process that asks for the same finds the result; then it is forgotten.
    assert heard(local(folder), Job("work", words), view) == b"before\nafter\n"
    assert view.shares == [(0.5, "half")]
    second.ask("forget", job="work")
    assert list((folder / "jobs").iterdir()) == []


def test_work_that_fails_says_why_and_begins_anew_the_next_time(local, folder, view) -> None:
    job = Job("engines", python("import sys; sys.exit('offramp engines: the disk is full')"))
    link = local(folder)
    for _ in range(2):
        with pytest.raises(Exception, match=r"^engines: the disk is full$"):
            heard(link, job, view)


def test_work_that_is_killed_is_no_result(local, folder, view) -> None:
    link = local(folder)
    job = Job("work", python("import os, signal; os.killpg(0, signal.SIGKILL)"))
    with pytest.raises(Lost, match="work was ended on the board before it was done"):
        heard(link, job, view)


def test_other_work_of_the_same_name_is_left_alone_until_it_is_ended(local, folder, view) -> None:
    link = local(folder)
    words = python("import time; time.sleep(600)")
    link.ask("start", job="work", key="a", words=words, environment={}, known=False)
    with pytest.raises(Refused, match="other work"):
        heard(link, Job("work", words), view)
    began = time.monotonic()
    assert link.ask("stop") == ["work"]
    assert link.ask("running") == {}
    assert time.monotonic() - began < 60


def test_a_command_that_is_not_there(local, folder, view) -> None:
    with pytest.raises(Exception, match="No such file"):
        heard(local(folder), Job("work", ["/nowhere/at/all"]), view)
