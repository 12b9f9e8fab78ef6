"""Memory, and the cache of engines in every state it may be in."""

import shutil
from types import SimpleNamespace

import msgspec
import pytest

from jetson.doctor.room import CHECKS, memory
from jetson.engines.tensorrt.cache import Cache, Fingerprint, Key, Target
from tests.jetson.doctor.machines import ORIN_NANO, RTX

KIB = 1024


def meminfo(total, available, swap=0):
    return {"proc/meminfo": f"MemTotal: {total} kB\nMemAvailable:   {available} kB\nSwapFree: {swap} kB\n"}


@pytest.mark.parametrize(
    ("files", "state", "found"),
    [
        (meminfo(8 * KIB**2, 4 * KIB**2), "ok", "4.0 of 8.0 GiB free, no swap"),
        (meminfo(8 * KIB**2, KIB**2, 4 * KIB**2), "warning", "1.0 of 8.0 GiB free, 4.0 GiB of swap free: little for"),
        ({"proc/meminfo": "MemTotal: 1 kB"}, "not here", "it is not told"),
        ({"proc/meminfo": "MemTotal: -1 kB\nMemAvailable: x kB"}, "not here", "it is not told"),
        # A container that may use less than there is.
        ({**meminfo(64 * KIB**2, 60 * KIB**2), "sys/fs/cgroup/memory.max": str(3 * 1024**3),
          "sys/fs/cgroup/memory.current": str(2 * 1024**3)}, "warning", "1.0 of 3.0 GiB free"),
        ({**meminfo(8 * KIB**2, 4 * KIB**2), "sys/fs/cgroup/memory.max": "max"}, "ok", "4.0 of 8.0 GiB"),
    ],
)  # fmt: skip
def test_memory(make, files, state, found):
    said = memory(make(files))
    assert said.state == state and said.found.startswith(found)


def test_a_full_jetson_can_stop_its_desktop(make):
    assert "multi-user" in memory(make({**ORIN_NANO, **meminfo(8 * KIB**2, KIB**2)})).mend


@pytest.fixture
def cache(tmp_path):
    """A function that puts an engine into the cache."""

    def put(number, version="1.7.1.116"):
        folder = Cache(tmp_path / "cache")
        folder.make_folder()
        key = Key(
            unit_sha256=f"{number:064x}",
            precision="fp32",
            max_batch=1,
            optimization_level=3,
            workspace_bytes=1,
            package="tensorrt_rtx",
            version=version,
            target=Target(kind="rtx", compute_capability=(8, 6)),
        )
        file = folder.new_file(key)
        file.write_bytes(b"engine")
        fingerprint = Fingerprint(
            unit="head",
            key=key,
            sha256="cc" * 32,
            size_bytes=6,
            device_memory_bytes=None,
            seconds=1.0,
            created="2026-01-01T00:00:00+00:00",
        )
        return folder.put(file, fingerprint).path

    return put


def test_an_empty_cache_is_not_made(facts, tmp_path):
    here = facts(cache=tmp_path / "not" / "there")
    assert CHECKS["cache"](here).state == "ok" and "made when the first" in CHECKS["cache"](here).found
    assert CHECKS["engines"](here).state == "not here" and not (tmp_path / "not").exists()


def test_engines_that_fit_and_engines_that_do_not(facts, cache):
    cache(1), cache(2)
    here = facts(tensorrt={"tensorrt_rtx": RTX})
    assert CHECKS["engines"](here).found == "2 built, 2 of them by the TensorRT that is here"
    cache(3, version="1.4.0")
    said = CHECKS["engines"](here)
    assert said.state == "warning" and said.found == "3 built, 2 of them by the TensorRT that is here"
    assert "offramp engines BUNDLE" in said.mend
    assert CHECKS["engines"](facts()).found == "3 built"  # there is no TensorRT to compare with


def test_an_engine_cut_short(facts, cache):
    cache(1)
    cache(2).write_bytes(b"eng")
    said = CHECKS["engines"](facts(tensorrt={"tensorrt_rtx": RTX}))
    assert (said.state, said.mend) == ("warning", "offramp engines --prune") and "1 damaged" in said.found


def test_a_build_under_way_is_no_fault(facts, cache, tmp_path):
    path = cache(1)
    path.with_suffix(".json").unlink()
    said = CHECKS["engines"](facts(tensorrt={"tensorrt_rtx": RTX}))
    assert (said.state, said.found) == ("ok", "0 built, 1 unfinished")


def test_a_cache_that_others_may_write_to(facts, cache, tmp_path):
    cache(1)
    (tmp_path / "cache").chmod(0o777)
    here = facts()
    said = CHECKS["cache"](here)
    assert said.state == "missing" and said.mend == f"chmod go-w {tmp_path / 'cache'}"
    assert CHECKS["engines"](here).found == "the cache cannot be looked into"


def test_a_file_in_place_of_the_cache(facts, tmp_path):
    (tmp_path / "cache").write_text("")
    assert "OFFRAMP_CACHE" in CHECKS["cache"](facts()).mend


def test_a_cache_below_a_file(facts, tmp_path):
    (tmp_path / "file").write_text("")
    assert CHECKS["cache"](facts(cache=tmp_path / "file" / "cache")).state == "missing"


def test_a_full_disk(facts, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    assert CHECKS["cache"](facts()).mend == "offramp engines --prune"


def test_the_finding_goes_into_json(facts, tmp_path):
    folder = tmp_path / "caf\udce9\x1b[2J"
    assert msgspec.json.encode(CHECKS["cache"](facts(cache=folder)))
    folder.mkdir()
    folder.chmod(0o777)
    said = CHECKS["cache"](facts(cache=folder))
    assert msgspec.json.encode(said) and said.mend.isprintable()
