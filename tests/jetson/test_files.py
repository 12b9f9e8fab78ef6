import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jetson import files
from jetson.errors import StorageError
from jetson.files import check_writable, new_file, new_folder, sha256_file, sha256_files, write_file

ROOT = Path(__file__).resolve().parents[2]


def full_disk(*_args, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def old_bundle(tmp_path):
    folder = tmp_path / "bundle"
    (folder / "units").mkdir(parents=True)
    (folder / "manifest.json").write_text("old")
    (folder / "units" / "a.onnx").write_text("old unit")
    return folder


@pytest.mark.parametrize("content", ["text äö", b"bytes \x00\xff", ""])
def test_a_file_is_written_whole(tmp_path, content):
    file = tmp_path / "a" / "b" / "c.json"
    write_file(file, content)
    assert file.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [p.name for p in file.parent.iterdir()] == ["c.json"]


def test_a_file_written_piece_by_piece_appears_at_the_end_or_not_at_all(tmp_path):
    with new_file(tmp_path / "deep" / "f") as write:
        write("one\n")
        write(b"two\n")
        assert not (tmp_path / "deep" / "f").exists()
    assert (tmp_path / "deep" / "f").read_text() == "one\ntwo\n"
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "deep" / "f") as write:
        write("three")
        raise KeyboardInterrupt
    assert [(f.name, f.read_text()) for f in (tmp_path / "deep").iterdir()] == [("f", "one\ntwo\n")]


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "a", "x")
        with new_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt(), ValueError("bug")])
def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch, step, error):
    write_file(tmp_path / "a.json", "old")

    def fail(*_args):
        raise error

    monkeypatch.setattr(files.os, step, fail)
    expected = StorageError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_file(tmp_path / "a.json", "new")
    assert tree(tmp_path) == {"a.json": b"old"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_so_in_one_line(tmp_path, monkeypatch, code):
    def fail(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(
        StorageError, match="the disk is full; free some space and run the same command again"
    ) as caught:
        write_file(tmp_path / "a.json", "new")
    assert str(tmp_path / "a.json") in str(caught.value)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"cannot write .*file/a"):
        write_file(tmp_path / "file" / "a", "x")
    with pytest.raises(StorageError, match=r"cannot write .*file/a"), new_folder(tmp_path / "file" / "a"):
        pass
    assert tree(tmp_path) == {"file": b"x"}


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        write_file(tmp_path / ("x" * 300), "x")
    assert list(tmp_path.iterdir()) == []


def test_a_device_a_pipe_or_a_folder_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder", Path(os.devnull)):
        with pytest.raises(StorageError, match="is no file"):
            write_file(path, "x")
    assert (tmp_path / "pipe").is_fifo() and Path(os.devnull).is_char_device()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "real")
    write_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "real").read_text() == "new"


def test_a_link_to_a_folder_stays_a_link(tmp_path, old_bundle):
    (tmp_path / "link").symlink_to(old_bundle)
    with new_folder(tmp_path / "link") as folder:
        (folder / "a").write_text("new")
    assert (tmp_path / "link").is_symlink() and tree(old_bundle) == {"a": b"new"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "link"]


def test_a_folder_appears_when_it_is_full(tmp_path):
    target = tmp_path / "new" / "bundle"
    with new_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert tree(tmp_path / "new") == {"bundle": None, "bundle/a": b"1"}


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path, old_bundle):
    with new_folder(old_bundle) as folder:
        (folder / "b").write_text("new")
        assert (old_bundle / "manifest.json").read_text() == "old"
    assert tree(tmp_path) == {"bundle": None, "bundle/b": b"new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bug"), StorageError("full"), SystemExit(1)])
def test_a_folder_that_is_not_finished_vanishes(tmp_path, old_bundle, error):
    before = tree(tmp_path)
    with pytest.raises(type(error)), new_folder(old_bundle) as folder:
        (folder / "b").write_text("new")
        raise error
    assert tree(tmp_path) == before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 2])
def test_a_failure_between_the_renames_keeps_the_old_folder(tmp_path, old_bundle, monkeypatch, error, at):
    before, calls, rename = tree(tmp_path), [], os.rename

    def fail(source, target):
        calls.append(source)
        if len(calls) == at:
            raise error
        rename(source, target)

    monkeypatch.setattr(files.os, "rename", fail)
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), new_folder(old_bundle) as folder:
        (folder / "b").write_text("new")
    assert tree(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", full_disk)
    with pytest.raises(StorageError, match="the disk is full"), new_folder(tmp_path / "bundle"):
        pass
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from jetson.files import check_writable, new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x" * 100000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, old_bundle):
    before = tree(old_bundle)
    done = subprocess.run([sys.executable, "-c", KILLED, str(old_bundle)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert tree(old_bundle) == before and len(list(tmp_path.iterdir())) == 2
    with new_folder(old_bundle) as folder:
        (folder / "b").write_text("new")
    assert tree(tmp_path) == {"bundle": None, "bundle/b": b"new"}


def test_a_folder_that_is_being_filled_is_left_alone(tmp_path):
    with new_folder(tmp_path / "bundle") as first:
        (first / "a").write_text("first")
        with new_folder(tmp_path / "bundle") as second:
            (second / "b").write_text("second")
        assert (first / "a").read_text() == "first"
    assert tree(tmp_path) == {"bundle": None, "bundle/a": b"first"}


def test_folders_of_other_names_are_left_alone(tmp_path):
    for name in (".bundle.12345678.part.bak", ".other.12345678.part", ".bundle.1.part", "bundle.12345678.part"):
        (tmp_path / name).mkdir()
    with new_folder(tmp_path / "bundle"):
        pass
    assert len(list(tmp_path.iterdir())) == 5


ON_A_TINY_DISK = """
import sys
from pathlib import Path
from jetson.errors import StorageError
from jetson.files import check_writable, new_folder, write_file
disk = Path(sys.argv[1])
write_file(disk / "profile.json", "old")
with new_folder(disk / "bundle") as folder:
    write_file(folder / "a", "old unit")
try:
    write_file(disk / "profile.json", b"x" * 200_000)
except StorageError as error:
    print(error)
try:
    with new_folder(disk / "bundle") as folder:
        write_file(folder / "a", "new unit")
        write_file(folder / "b", b"x" * 200_000)
except StorageError as error:
    print(error)
print(sorted(str(p.relative_to(disk)) for p in disk.rglob("*")))
print((disk / "profile.json").read_text(), (disk / "bundle" / "a").read_text())
"""


def test_a_disk_that_is_really_full(tmp_path):
    mount = f'mount -t tmpfs -o size=64k none "{tmp_path}"'
    if not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("no small disk: this machine does not let a user mount a tmpfs in a namespace of its own")
    script = f'{mount} && exec "{sys.executable}" -c "$0" "{tmp_path}"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, ON_A_TINY_DISK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, names, contents = done.stdout.splitlines()
    assert first == f"{tmp_path}/profile.json: the disk is full; free some space and run the same command again"
    assert second.endswith("the disk is full; free some space and run the same command again")
    assert names == "['bundle', 'bundle/a', 'profile.json']" and contents == "old old unit"


def test_a_hash_is_of_the_whole_content(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    monkeypatch.setattr(files, "CHUNK_BYTES", 2)
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(StorageError, match="cannot read"):
        sha256_file(tmp_path / "missing")


def test_hashes_of_many_files_come_in_their_order(tmp_path):
    paths = [tmp_path / str(n) for n in range(9)]
    for path in paths:
        path.write_text(path.name)
    assert sha256_files([*paths, paths[0]]) == [*map(sha256_file, paths), sha256_file(paths[0])]
    assert sha256_files([]) == []
    paths[7].unlink()
    with pytest.raises(StorageError, match=r"cannot read .*7"):
        sha256_files(paths)


def test_what_cannot_be_written_is_known_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    check_writable(tmp_path / "new" / "deep" / "p.json")
    check_writable(tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
    for path in (tmp_path, tmp_path / "file" / "p.json"):
        with pytest.raises(StorageError, match="cannot write"):
            check_writable(path)
