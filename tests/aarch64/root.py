"""The emulated machine's files, each made once: Debian's packages for aarch64, and Python's wheels beside them.

No package's scripts are run and nothing needs root. The oldest Debian with a Python that jetson/ takes is the nearest
to a Jetson: bookworm has Python 3.11 and glibc 2.36, JetPack 6 has 3.10 and 2.35.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
HOME = CHECKOUT / ".aarch64"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CONSTRAINTS = CHECKOUT / "constraints.txt"
DEBIAN = "http://deb.debian.org/debian"
SUITE = "bookworm"
# What wheels link to; `ps` and a C compiler are for tests.
INCLUDE = "python3,libstdc++6,procps,gcc,libc6-dev"
MOUNTED = ("src", "bytecode", "exchange")
RECIPE = 1
"""To be raised when a change here must make everybody's files anew."""
# On PyPI these two are source without a line of C: any Python makes their wheels.
PURE = ("tensorrt-rtx", "tensorrt-rtx-cu13")
# How to reach an index is the machine's to say; settings for everyday use (PIP_USER, PIP_NO_BINARY, PIP_TARGET) would
# contradict ours.
INDEX = "CERT CLIENT_CERT CONFIG_FILE EXTRA_INDEX_URL FIND_LINKS INDEX_URL NO_INDEX PROXY RETRIES TIMEOUT TRUSTED_HOST"
PIP_KEPT = {f"PIP_{name}" for name in (*INDEX.split(), "DEFAULT_TIMEOUT")}


class Failed(Exception):
    """Setting up failed; the message says at what, and what to do."""


class Machine(NamedTuple):
    """What an emulated run needs."""

    root: Path
    wheels: Path
    python: str
    """As `3.11`."""

    @property
    def site(self) -> str:
        """Where the wheels are seen: a folder that Debian's Python looks into by itself, whatever PYTHONPATH says."""
        return f"/usr/local/lib/python{self.python}/dist-packages"


def machine(lock: int) -> Machine:
    """The files of the emulated machine, made now if they are not there.

    Args:
        lock: file descriptor that every child inherits. So a child that outlives us, killed, still holds the lock, and
            the next run waits for it to end.

    Raises:
        Failed: a step failed, or cannot be done here.
    """
    suite = os.environ.get("AARCH64_SUITE") or SUITE
    HOME.mkdir(exist_ok=True)
    for left in HOME.glob("part-*"):
        shutil.rmtree(left)
    root = whole(f"root-{suite}-{digest(INCLUDE)}", lambda folder: unpack(folder, suite, lock))
    python, glibc = versions(root)
    key = digest(REQUIREMENTS.read_text(), CONSTRAINTS.read_text(), *PURE)
    wheels = whole(f"wheels-{python}-{key}", lambda folder: install(folder, python, glibc, lock))
    return Machine(root, wheels, python)


def digest(*parts: str) -> str:
    """A short name for what shaped a folder."""
    return hashlib.sha256("\0".join((str(RECIPE), *parts)).encode()).hexdigest()[:12]


def whole(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder that is there as a whole or not at all: it is filled under another name, then renamed.

    Its predecessors, made of other versions, go.
    """
    folder = HOME / name
    if not folder.is_dir():
        part = Path(tempfile.mkdtemp(prefix="part-", dir=HOME))
        fill(part)
        os.sync()
        part.chmod(0o755)
        part.rename(folder)
    for other in HOME.glob(f"{name.split('-')[0]}-*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def unpack(folder: Path, suite: str, lock: int) -> None:
    """Fetch Debian's packages, signatures checked, and unpack them without running their scripts."""
    mirror = os.environ.get("AARCH64_MIRROR") or apt_mirror() or DEBIAN
    say(f"fetching Debian {suite} for aarch64 from {mirror} (once)")
    fetched = folder / "fetched"
    command = ["debootstrap", "--download-only", "--force-check-gpg", "--arch=arm64", "--variant=minbase"]
    step([*command, f"--include={INCLUDE}", suite, str(fetched), mirror], lock, "another mirror: AARCH64_MIRROR=URL")
    packages = sorted(fetched.glob("var/cache/apt/archives/*.deb"))
    say(f"unpacking {len(packages)} packages")
    for package in packages:
        step(["dpkg", "-x", str(package), str(folder)], lock)
    shutil.rmtree(fetched)
    # What the packages' own scripts would have made, as far as anything here looks at it.
    for name in ("passwd", "group"):
        shutil.copyfile(folder / f"usr/share/base-passwd/{name}.master", folder / "etc" / name)
    site = Machine(folder, folder, versions(folder)[0]).site
    for name in (*MOUNTED, site.lstrip("/")):
        (folder / name).mkdir(parents=True)


def apt_mirror() -> str | None:
    """The Debian mirror that this machine's apt uses; None where it uses none or does not know yet."""
    fields = "$(ORIGIN) $(LABEL) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    words = (line.split() for line in found.splitlines())
    return next((w[2].rstrip("/") for w in words if w[:2] == ["Debian", "Debian"] and w[2].startswith("http")), None)


def versions(root: Path) -> tuple[str, int]:
    """The root's Python, as `3.11`, and the minor version of its glibc."""
    python = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    info = (root / "lib/aarch64-linux-gnu/libc.so.6").read_bytes()
    found = re.search(rb"GNU C Library [^\n]* version 2\.(\d+)", info)
    if not found:
        raise Failed(f"{root}: no version in its libc.so.6; remove {HOME} and run this again")
    return python, int(found[1])


def install(folder: Path, python: str, glibc: int, lock: int) -> None:
    """Put the wheels for the root's Python and glibc into a folder."""
    say(f"fetching the wheels for Python {python} on aarch64 (once)")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    pins = ["-c", str(CONSTRAINTS)]
    pure = folder / "pure"
    step([*pip, "wheel", "--no-deps", "-w", str(pure), *pins, *PURE], lock)
    tags = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, glibc + 1))]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    target += [word for tag in tags for word in ("--platform", tag)]
    # pip would compile for its own Python, which need not be the root's.
    here = ["--no-compile", "--target", str(folder), "--find-links", str(pure)]
    step([*pip, "install", *target, *here, *pins, "-r", str(REQUIREMENTS)], lock)
    shutil.rmtree(pure)


def step(command: Sequence[str], lock: int, hint: str = "run this again") -> None:
    """Run a command; what it prints shows only if it fails.

    Raises:
        Failed: it is not there, or failed.
    """
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") or name in PIP_KEPT}
    settings |= {"PIP_USER": "0", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(lock,),
        )
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}; {hint}") from None
    if done.returncode:
        sys.stderr.write("".join(f"  {line}\n" for line in done.stdout.splitlines()[-15:]))
        raise Failed(f"{Path(command[0]).name} failed with exit code {done.returncode} (its last lines above); {hint}")


def say(line: str) -> None:
    """Tell how far we are."""
    print(line, flush=True)
