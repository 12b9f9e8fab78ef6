"""The cache: what is found, what is refused, what is left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from jetson.engines.tensorrt.cache import Cache, Fingerprint, Target
from jetson.engines.tensorrt.lock import try_lock
from jetson.errors import EngineError, StorageError
from tests.jetson.engines.tensorrt.building import ORIN, SM86, make_key, names, put

HERE = ("tensorrt", "10.3.0", ORIN)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "möglich er" / "cache")


def wanted(cache, package="tensorrt", version="10.3.0", target=ORIN, **more):
    return cache.engine_for("segment-1", "ab" * 32, "fp32", package, version, target, **more)


def record(entry):
    return entry.path.with_suffix(".json")


def test_what_is_put_is_found_and_read(cache):
    entry = put(cache, b"an engine")
    assert cache.find(make_key()) == entry and wanted(cache) == entry
    assert cache.read(entry) == b"an engine"
    assert entry.path.name == make_key().digest + ".engine" and names(cache.folder) == [".engine", ".json"]


def test_only_the_owner_can_read_or_write_it(cache, monkeypatch):
    before = os.umask(0)
    try:
        entry = put(cache)
    finally:
        os.umask(before)
    modes = [p.stat().st_mode & 0o777 for p in (cache.folder, entry.path, record(entry))]
    assert modes == [0o700, 0o600, 0o600]


@pytest.mark.parametrize(
    "change",
    [
        {"unit_sha256": "cd" * 32},
        {"precision": "fp16"},
        {"max_batch": 2},
        {"optimization_level": 4},
        {"workspace_bytes": 1},
        {"package": "tensorrt_rtx"},
        {"version": "10.3.1"},
        {"target": SM86},
        {"target": msgspec.structs.replace(ORIN, jetpack=None)},
        {"target": msgspec.structs.replace(ORIN, compute_capability=(11, 0))},
    ],
)
def test_everything_that_shapes_an_engine_is_in_its_name(cache, change):
    put(cache)
    assert make_key(**change).digest != make_key().digest and cache.find(make_key(**change)) is None


def test_there_is_nothing_in_a_folder_that_is_not_there(cache):
    assert cache.find(make_key()) is None and cache.entries() == []
    with pytest.raises(
        EngineError, match=r"has no engine in fp32 in .*; build it: offramp engines BUNDLE --precision fp32$"
    ):
        wanted(cache)


def test_the_folder_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OFFRAMP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Cache().folder == tmp_path / "home" / ".cache" / "offramp" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache().folder == tmp_path / "xdg" / "offramp" / "engines"
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path / "mine"))
    assert Cache().folder == tmp_path / "mine"
    assert Cache(Path("given")).folder == Path.cwd() / "given"


def damage_truncate(entry):
    entry.path.write_bytes(entry.path.read_bytes()[:-1])


def damage_flip(entry):
    content = bytearray(entry.path.read_bytes())
    content[2] ^= 1
    entry.path.write_bytes(content)


def damage_lose(entry):
    entry.path.unlink()


def damage_pipe(entry):
    entry.path.unlink()
    os.mkfifo(entry.path, 0o600)


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_lose, damage_pipe])
def test_a_damaged_engine_is_neither_found_nor_read(cache, damage):
    entry = put(cache)
    damage(entry)
    assert cache.find(make_key()) is None
    with pytest.raises(
        EngineError, match=r"segment-1 in fp32 cannot be used: .*build it again: offramp engines BUNDLE"
    ):
        cache.read(entry)
    again = put(cache)
    assert cache.find(make_key()) == again and cache.read(again) == b"engine"


@pytest.mark.parametrize("damage", [damage_truncate, damage_lose])
def test_a_damaged_engine_is_not_chosen(cache, damage):
    damage(put(cache))
    with pytest.raises(EngineError, match="cannot be used: it"):
        wanted(cache)
    whole = put(cache, max_batch=8)
    assert wanted(cache) == whole


def edited(change):
    def edit(text):
        data = json.loads(text)
        change(data)
        return json.dumps(data).encode()

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: b"",
        lambda text: text[:100],
        lambda _: b"\xff\xfe{",
        lambda _: b"[" * 60_000,
        lambda _: b"null",
        edited(lambda d: d.update(format="other")),
        edited(lambda d: d.update(version=2)),
        edited(lambda d: d.update(extra=1)),
        edited(lambda d: d.update(size_bytes="6")),
        edited(lambda d: d.pop("key")),
        edited(lambda d: d["key"].update(version="10.4.0")),
        edited(lambda d: d["key"]["target"].update(board="another")),
    ],
)
def test_a_fingerprint_that_cannot_be_believed_counts_as_none(cache, edit):
    entry = put(cache)
    record(entry).write_bytes(edit(record(entry).read_bytes()))
    assert cache.find(make_key()) is None
    with pytest.raises(EngineError, match="has no engine"):
        wanted(cache)
    assert [f.state for f in cache.entries()] == ["damaged"]
    again = put(cache)
    assert cache.find(make_key()) == again


def test_an_engine_without_a_fingerprint_was_never_finished(cache):
    record(put(cache)).unlink()
    assert cache.find(make_key()) is None and [f.state for f in cache.entries()] == ["unfinished"]


def test_static_batch_first_then_the_newest(cache):
    put(cache, b"old", created="2025-01-01", optimization_level=1)
    new = put(cache, b"new", created="2025-03-01", optimization_level=2)
    put(cache, b"batched", created="2025-04-01", max_batch=4)
    assert wanted(cache) == new


def test_an_engine_for_rtx_serves_a_device_of_its_kind(cache):
    device = Target(kind="device", compute_capability=(8, 6), gpu="RTX 3080")
    general = put(cache, package="tensorrt_rtx", version="1.7", target=SM86)
    assert wanted(cache, "tensorrt_rtx", "1.7", device) == general
    own = put(cache, package="tensorrt_rtx", version="1.7", target=device, created="2020-01-01")
    assert wanted(cache, "tensorrt_rtx", "1.7", device) == own
    assert wanted(cache, "tensorrt_rtx", "1.7", SM86) == general
    ada = Target(kind="device", compute_capability=(8, 9), gpu="RTX 4080")
    with pytest.raises(EngineError, match=r"was built for .*, here is sm89; build it again: offramp engines BUNDLE"):
        wanted(cache, "tensorrt_rtx", "1.7", ada)


@pytest.mark.parametrize(
    ("here", "says"),
    [
        (("tensorrt", "10.16.1", ORIN), "was built by TensorRT 10.3.0, here is TensorRT 10.16.1"),
        (("tensorrt_rtx", "10.3.0", ORIN), "was built by TensorRT 10.3.0, here is TensorRT for RTX 10.3.0"),
        (("tensorrt", "10.3.0", msgspec.structs.replace(ORIN, jetpack="R36.5")), "built for R36.4.3, here is R36.5"),
        (("tensorrt", "10.3.0", msgspec.structs.replace(ORIN, gpu="Thor")), "was built for Orin, here is Thor"),
        (
            ("tensorrt", "10.3.0", msgspec.structs.replace(ORIN, board="AGX")),
            "for NVIDIA Jetson Orin Nano, here is AGX",
        ),
        (("tensorrt", "10.3.0", msgspec.structs.replace(ORIN, compute_capability=(11, 0))), "here is sm110"),
    ],
)
def test_what_does_not_fit_is_named_with_the_one_command(cache, here, says):
    put(cache)
    with pytest.raises(EngineError, match=f"{says}; build it again: offramp engines 'a b' --precision fp32$"):
        wanted(cache, *here, bundle=Path("a b"))


def test_the_command_names_the_rtx_target(cache):
    with pytest.raises(EngineError, match=r"build it: offramp engines BUNDLE --precision fp32 --target sm86$"):
        wanted(cache, "tensorrt_rtx", "1.7", SM86)


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(cache, mode):
    entry = put(cache)
    cache.folder.chmod(mode)
    for use in (lambda: cache.find(make_key()), lambda: wanted(cache), lambda: cache.read(entry), cache.make_folder):
        with pytest.raises(StorageError, match=r"engines are code, and .*others may write to .*chmod go-w"):
            use()


@pytest.mark.parametrize("ending", [".engine", ".json"])
def test_an_entry_that_others_may_write_to_is_refused_and_built_again(cache, ending):
    entry = put(cache)
    entry.path.with_suffix(ending).chmod(0o666)
    assert cache.find(make_key()) is None and [f.state for f in cache.entries()] == ["unsafe"]
    with pytest.raises(EngineError):
        wanted(cache)
    if ending == ".engine":
        with pytest.raises(EngineError, match="others may write to"):
            cache.read(entry)
    assert cache.find(put(cache).fingerprint.key)


def test_what_belongs_to_another_user_is_refused(cache, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    entry = put(cache)
    os.chown(entry.path, 12345, 0)
    with pytest.raises(EngineError, match=r"belongs to another user \(uid 12345\)"):
        cache.read(entry)
    os.chown(cache.folder, 12345, 0)
    with pytest.raises(StorageError, match=r"belongs to another user \(uid 12345\)"):
        wanted(cache)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    os.chown(entry.path, 0, 0)
    assert wanted(cache) == entry  # of this user, and of root


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    for use in (Cache(tmp_path / "cache").make_folder, lambda: Cache(tmp_path / "cache").find(make_key())):
        with pytest.raises(StorageError, match="cache"):
            use()


def test_a_failure_in_writing_the_fingerprint_leaves_nothing(cache, monkeypatch):
    old = put(cache, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="the disk is full"):
        put(cache, b"newer")
    assert names(cache.folder) == [".engine", ".json"] and cache.read(old) == b"old"


def test_a_build_killed_between_engine_and_fingerprint_counts_for_nothing(cache, monkeypatch):
    put(cache, b"old")
    replace, calls = os.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        put(cache, b"newer")
    assert cache.find(make_key()) is None and names(cache.folder) == [".engine"]


def test_leftovers_are_told_apart_and_removed(cache):
    put(cache)
    cache.new_file(make_key())  # a build with --force that was killed
    cache.new_file(make_key(max_batch=2))  # a first build that was killed
    (cache.folder / "note.txt").write_text("not ours")
    (cache.folder / (make_key(max_batch=3).digest + ".lock")).touch()
    found = cache.entries()
    assert sorted(f.state for f in found) == ["ok", "unfinished", "unfinished"]
    assert all(cache.remove(f) for f in found if f.state != "ok")
    cache.sweep_locks()
    assert names(cache.folder) == [".engine", ".json", ".txt"] and cache.find(make_key())


def test_the_next_build_of_a_key_removes_what_a_killed_one_left(cache):
    cache.make_folder()
    cache.new_file(make_key()).write_bytes(b"half")
    put(cache)
    assert names(cache.folder) == [".engine", ".json"]


def test_what_is_being_built_is_not_removed(cache):
    put(cache)
    with cache.locked(make_key()):
        assert not cache.remove(cache.entries()[0])
    assert cache.find(make_key())


def test_a_lock_excludes_and_goes_with_its_process(tmp_path):
    lock = tmp_path / "a.lock"
    with try_lock(lock) as mine:
        assert mine
        with try_lock(lock) as second:
            assert not second
    assert not lock.exists()
    hold = "import os, sys, fcntl; h = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(h, 2); print('held', "
    hold += "flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    with try_lock(lock) as mine:
        assert not mine
    child.kill()
    child.communicate()
    with try_lock(lock) as mine:
        assert mine
    assert not lock.exists()


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path, monkeypatch):
    import fcntl

    lock, calls = tmp_path / "a.lock", []
    real = fcntl.flock

    def flock(handle, how):
        calls.append(handle)
        if len(calls) == 1:
            lock.unlink()  # the one before gives its lock back just now
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with try_lock(lock) as mine:
        assert mine and len(calls) == 2
        with try_lock(lock) as second:
            assert not second


def test_the_fingerprint_is_for_people_too(cache):
    text = record(put(cache)).read_text()
    assert text.endswith("}\n") and '\n    "unit_sha256": ' in text
    assert msgspec.json.decode(text, type=Fingerprint).key == make_key()
