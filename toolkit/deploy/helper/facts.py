"""What the board is, as far as choosing wheels for it needs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from toolkit.deploy.helper.files import Refusal


def facts(folder: Path) -> dict[str, Any]:
    """About this machine, its Python, and the place where `folder` is or will be."""
    there = folder
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise Refusal(f"{folder} cannot be made: {there} is no folder that you may write to")
    room = os.statvfs(there)
    return {
        "folder": str(folder),
        "python": sys.executable,
        "free_bytes": room.f_bavail * room.f_frsize,
        "glibc": _glibc(),
        "cuda": _cuda_major(),
        "pip": importlib.util.find_spec("pip") is not None,
        "distributions": _distributions(folder),
        "markers": {
            "implementation_name": sys.implementation.name,
            "implementation_version": platform.python_version(),
            "os_name": os.name,
            "platform_machine": _machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": platform.release(),
            "platform_system": platform.system(),
            "platform_version": platform.version(),
            "python_full_version": platform.python_version(),
            "python_version": "{}.{}".format(*sys.version_info[:2]),
            "sys_platform": sys.platform,
        },
    }


def _glibc() -> str | None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # musl and others know no such name
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return version if name == "glibc" else None
    return None


def _machine() -> str:
    """The processor that this Python was built for; a 64-bit kernel may run 32-bit programs."""
    machine = platform.machine()
    return machine if sys.maxsize > 1 << 32 else {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)


def _distributions(folder: Path) -> dict[str, Any]:
    """What this Python has installed, without what lies in our folder: by name its version and what it requires."""
    found: dict[str, Any] = {}
    for one in importlib.metadata.distributions():
        with contextlib.suppress(Exception):  # a damaged record is one package less
            name = one.metadata["Name"]
            if name and name not in found and not str(one.locate_file("")).startswith(str(folder)):
                found[name] = [one.version, one.requires or []]
    return found


def _cuda_major() -> int | None:
    """CUDA's version on a Jetson, or on another machine with its toolkit."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        stated = json.loads(Path("/usr/local/cuda/version.json").read_text())
        return int(stated["cuda"]["version"].partition(".")[0])
    with contextlib.suppress(OSError, ValueError, IndexError):
        release = int(Path("/etc/nv_tegra_release").read_text().split("R")[1].split()[0])
        return 12 if release < 38 else 13
    return None
