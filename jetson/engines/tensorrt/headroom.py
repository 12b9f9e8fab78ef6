"""Is there memory for a build? On a Jetson host and GPU share it, and the kernel ends whoever asks for too much.

The estimate is an upper bound drawn around peaks of resident memory measured with TensorRT for RTX 1.7 on x86-64, one
ViT-B/16 cut into units of 1, 3 and 12 layers: 291, 462 and 1258 MB for 28, 85 and 340 MB of ONNX in fp32, 751 MB for
170 MB in fp16, 240 MB for 5 MB. That is 200 MB and 3.1 times the file. Where the GPU is at work too (an engine for
this device) its context and the workspace limit come on top; that part has been measured on no Jetson.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
BASE_BYTES = 300 << 20
TIMES_FILE = 4
CONTEXT_BYTES = 300 << 20
"""CUDA's own, of a process that uses the GPU."""


def needed_bytes(file_bytes: int, workspace_bytes: int, on_device: bool) -> int:
    """Memory that a build may take.

    Args:
        file_bytes: size of the unit's ONNX file.
        workspace_bytes: the builder's limit.
        on_device: whether tactics are timed on this device's GPU, which takes workspace.
    """
    return BASE_BYTES + TIMES_FILE * file_bytes + (CONTEXT_BYTES + workspace_bytes if on_device else 0)


def available_bytes() -> int | None:
    """Memory and swap that a new process can have here, within this process's cgroup; None when nobody tells."""
    system = _meminfo()
    if system is None:
        return None
    available, swap = system
    free = [available + swap]
    for folder in _cgroup_folders():
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            # Pages of files that nobody has looked at lately are given back when somebody asks.
            free.append(max(0, limit - used + _stat(folder, "inactive_file")) + min(swap, _swap(folder)))
    return min(free)


def resident_bytes(pid: int) -> int:
    """What a process holds now; 0 when it is no more."""
    try:
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _meminfo() -> tuple[int, int] | None:
    try:
        lines = [line.split() for line in (PROC / "meminfo").read_text().splitlines()]
        sizes = {words[0]: int(words[1]) * 1024 for words in lines if len(words) > 1 and words[0][-1:] == ":"}
        return sizes["MemAvailable:"], sizes.get("SwapFree:", 0)
    except (OSError, ValueError, KeyError):
        return None


def _cgroup_folders() -> list[Path]:
    """The folders of this process's memory cgroup and of those around it."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root = CGROUPS / "memory" if controllers else CGROUPS
        inner = root / path.lstrip("/")
        # In a container the path may be the host's, and the container's own limit lies at the root.
        found += [root, *(p for p in (inner, *inner.parents) if p != root and root in p.parents)]
    return found


def _swap(folder: Path) -> int:
    limit, used = _number(folder / "memory.swap.max"), _number(folder / "memory.swap.current")
    return max(0, limit - (used or 0)) if limit is not None else 1 << 62


def _stat(folder: Path, name: str) -> int:
    try:
        for line in (folder / "memory.stat").read_text().splitlines():
            words = line.split()
            if words[:1] == [name]:
                return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _number(file: Path) -> int | None:
    """What a file holds; None for `max`, which is no limit, and for what is not there."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
