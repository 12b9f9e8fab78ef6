"""`make test-aarch64`: the device-side tests on an emulated aarch64, the processor of a Jetson."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.aarch64 import answers, emulation
from tests.aarch64.root import CHECKOUT, HOME, Failed, Machine, machine, say

COPIED = ("calibration", "docs", "jetson", "tests", "toolkit", "pyproject.toml", "setup.py")
TESTS = ("tests/jetson", "tests/calibration")
CHECKS = "tests/aarch64/checks.py"
LEFT_OUT = {
    "tests/toolkit": "the development host's side: needs PyTorch",
    "tests/packaging": "looks at the repository, on every processor the same",
    "tests/docs": "builds the site, and trains with PyTorch",
    "tests/benchmarks": "trains and draws on the development host",
    "tests/gpu": "needs a GPU, and qemu passes none on",
    "tests/test_demo.py": "trains with PyTorch",
}
_TESTS_OF = "tests/jetson/{}::test_{}".format
DESELECTED = {
    _TESTS_OF("doctor/test_doctor_machine.py", "a_tool_that_cannot_be_started"): "proot starts qemu with any file that "
    "begins as a program does, so starting it never fails; it ends at once",
    _TESTS_OF("engines/tensorrt/test_build.py", "a_parent_killed_in_mid_build_takes_its_workers_along"): "it looks at "
    "/proc/PID/exe of a process that has ended, which proot does not allow",
    _TESTS_OF("engines/tensorrt/test_worker.py", "a_parser_that_crashes_costs_one_unit"): "of a crashed process qemu "
    "says so on stderr, and the test wants nothing said",
}
"""Tests that cannot hold under emulation, by their names, and why."""
TIMEOUT_S = 3600
"""For each process of pytest."""
PYTEST_CODES = range(6)
NOTHING_COLLECTED = 5
# A test that hangs shows where, and ends the run.
HANGING = ("-o", "faulthandler_timeout=600", "-o", "faulthandler_exit_on_timeout=true")


def main(options: Sequence[str]) -> int:
    """Set up what is missing, run the tests there, tell what ran and what was left out."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("make test-aarch64 emulates an aarch64 on Linux on x86-64; elsewhere use make test", file=sys.stderr)
        return 2
    if unknown := [folder for folder in test_folders() if folder not in (*TESTS, *LEFT_OUT)]:
        print(f"say in tests/aarch64/run.py whether these run there: {', '.join(unknown)}", file=sys.stderr)
        return 1
    if not get_tools():
        return 2
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another make test-aarch64 in this folder to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return test(machine(lock.fileno()), options)
        except Failed as error:
            print(f"make test-aarch64: {error}", file=sys.stderr)
            return 1


def test_folders() -> Iterator[str]:
    """What there is in tests/ that has tests."""
    for entry in sorted((CHECKOUT / "tests").iterdir()):
        if entry.match("test_*.py") or any(entry.rglob("test_*.py")):
            yield entry.relative_to(CHECKOUT).as_posix()


def get_tools() -> bool:
    """Install what is missing with apt-get, or tell the line that does."""
    if not (packages := emulation.missing()):
        return True
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {', '.join(packages)} with apt-get")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # An update fails as a whole when one of many sources does not answer; the packages may be had all the same.
        for command in (["apt-get", "update", "-qq"], [*install, "-qq"]):
            subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)
        if not (packages := emulation.missing()):
            return True
    print(f"{', '.join(packages)} missing; as root: apt-get update && {' '.join(install)}", file=sys.stderr)
    return False


def test(there: Machine, options: Sequence[str]) -> int:
    """Run the tests on the emulated machine, on a copy of the checkout."""
    mounts = {f"/{name}": HOME / name for name in ("src", "exchange", "bytecode", "tmp")}
    for name in ("src", "tmp"):
        shutil.rmtree(HOME / name, ignore_errors=True)
    for folder in mounts.values():
        folder.mkdir(exist_ok=True)
    for name in COPIED:
        copy(CHECKOUT / name, HOME / "src" / name)
    answers.write(HOME / "exchange")
    say(f"testing on an emulated aarch64 with Python {there.python}: {', '.join(TESTS)}, {CHECKS}")
    mounts[there.site] = there.wheels
    start, codes = time.monotonic(), []
    for group in groups():
        say(f"  {' '.join(group)}")
        code = run(there, mounts, group, options, TIMEOUT_S)
        if code not in PYTEST_CODES:
            say(f"  the emulator died (exit code {code}), which is not the tests' doing; once more")
            code = run(there, mounts, group, options, TIMEOUT_S)
        codes.append(code)
    say(f"{time.monotonic() - start:.0f} s on the emulated machine; left out there:")
    for name, reason in {**LEFT_OUT, **DESELECTED}.items():
        say(f"  {name}: {reason}")
    failed = [code for code in codes if code not in (0, NOTHING_COLLECTED)]
    # With -k some groups have nothing to run; all of them empty is an error, as it is for pytest.
    return max(failed, default=0 if 0 in codes else NOTHING_COLLECTED)


def groups() -> list[list[str]]:
    """What each process of pytest runs: qemu now and then dies of its own faults, and more often in a long life."""
    files: list[str] = []
    folders: list[str] = []
    for name in TESTS:
        for entry in sorted((CHECKOUT / name).iterdir()):
            if entry.is_dir() and any(entry.rglob("test_*.py")):
                folders.append(f"{name}/{entry.name}")
            elif entry.match("test_*.py"):
                files.append(f"{name}/{entry.name}")
    return [[CHECKS], *([folder] for folder in folders), files]


def run(there: Machine, mounts: dict[str, Path], group: Sequence[str], options: Sequence[str], limit_s: float) -> int:
    """One process of pytest on the emulated machine; gives its exit code."""
    leave = [f"--deselect={name}" for name in DESELECTED]
    command = ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", *HANGING, *leave, *group, *options]
    try:
        return emulation.emulate(there.root, mounts, command, limit_s)
    except subprocess.TimeoutExpired:
        print(f"make test-aarch64: not done in {limit_s:.0f} s; ended", file=sys.stderr)
        return 1


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, bytecode left out."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
