"""How much memory there is, on files as Linux keeps them."""

import os

import pytest

from jetson.engines.tensorrt import headroom

GB = 1 << 30
MEMINFO = (
    "MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable: {} kB\nSwapTotal: 9 kB\nSwapFree: {} kB\nHugePages_Total: 0\n"
)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Sets what /proc and the cgroups say."""

    def write(available_gb=4, swap_gb=0, cgroup="", files=()):
        proc, groups = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "self").mkdir(parents=True, exist_ok=True)
        (proc / "meminfo").write_text(MEMINFO.format(available_gb << 20, swap_gb << 20))
        (proc / "self" / "cgroup").write_text(cgroup)
        for name, text in dict(files).items():
            (groups / name).parent.mkdir(parents=True, exist_ok=True)
            (groups / name).write_text(f"{text}\n")
        monkeypatch.setattr(headroom, "PROC", proc)
        monkeypatch.setattr(headroom, "CGROUPS", groups)

    return write


def test_memory_and_swap_count(system):
    system(available_gb=4)
    assert headroom.available_bytes() == 4 * GB
    system(available_gb=4, swap_gb=2)
    assert headroom.available_bytes() == 6 * GB


def test_the_lowest_limit_of_the_cgroups_around_counts(system):
    files = {
        "memory.max": "max",
        "memory.current": 5 * GB,
        "outer/memory.max": 3 * GB,
        "outer/memory.current": 2 * GB,
        "outer/memory.stat": f"anon 5\ninactive_file {GB // 2}\nactive_file 9",
        "outer/inner/memory.max": "max",
        "outer/inner/memory.current": GB,
    }
    system(cgroup="0::/outer/inner\n", files=files)
    assert headroom.available_bytes() == GB + GB // 2
    system(swap_gb=2, files={"outer/memory.swap.max": GB, "outer/memory.swap.current": 0})
    system(swap_gb=2, cgroup="0::/outer/inner\n")
    assert headroom.available_bytes() == 2 * GB + GB // 2


def test_the_first_version_of_cgroups_is_read_too(system):
    files = {"memory/box/memory.limit_in_bytes": 2 * GB, "memory/box/memory.usage_in_bytes": 3 * GB}
    system(cgroup="4:cpu,cpuacct:/box\n3:memory:/box\n0::/\n", files=files)
    assert headroom.available_bytes() == 0


def test_in_a_container_the_limit_lies_at_the_root(system):
    system(cgroup="0::/docker/0123\n", files={"memory.max": GB, "memory.current": GB // 4})
    assert headroom.available_bytes() == GB * 3 // 4


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB\n", "MemAvailable: many kB\n", "\n: 5\n"])
def test_where_nobody_tells_it_is_not_known(system, text):
    system()
    (headroom.PROC / "meminfo").write_text(text)
    assert headroom.available_bytes() is None


def test_the_estimate_covers_what_was_measured():
    mb = 1_000_000
    for file, peak in ((5, 242), (28, 291), (85, 462), (170, 751), (340, 1258)):
        needs = headroom.needed_bytes(file * mb, 1 << 30, on_device=False)
        assert peak * mb * 1.048576 < needs < 2.5 * peak * mb
    assert headroom.needed_bytes(0, 1 << 30, on_device=True) - headroom.needed_bytes(0, 1 << 30, on_device=False) > GB


def test_this_process_is_seen():
    assert headroom.resident_bytes(os.getpid()) > 1_000_000
    assert headroom.resident_bytes(2**22 + 1) == 0
