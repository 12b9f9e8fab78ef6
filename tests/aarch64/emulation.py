"""Run a command on the emulated machine: proot gives it the root's files, qemu executes its instructions."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

QEMU = ("qemu-aarch64-static", "qemu-aarch64")
# proot looks into the system calls it knows and lets others through with a path of the emulated machine, so these look
# up the host's files: under Debian 12's proot 5.1 `os.access` says no of every file. Refused, each is followed by the
# older call that proot knows. Numbers as x86-64 has them: statx, renameat2, execveat, openat2, faccessat2, fchmodat2.
REFUSED = (332, 316, 322, 437, 439, 452)
ENOSYS, ALLOW, LOAD, EQUAL, RETURN = 0x00050000 | 38, 0x7FFF0000, 0x20, 0x15, 0x06
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


def missing() -> list[str]:
    """Debian's packages that are needed and not there."""
    needed = {"proot": shutil.which("proot"), "debootstrap": shutil.which("debootstrap"), "qemu-user-static": qemu()}
    # Debian has the keys of its own archive, other distributions may not.
    keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return [*(name for name, found in needed.items() if not found), *([] if keys.exists() else [keys.stem])]


def qemu() -> str | None:
    """The emulator of one process; Debian 13 and later have it without `-static` in its name."""
    return next(filter(None, map(shutil.which, QEMU)), None)


def emulate(root: Path, mounts: Mapping[str, Path], command: Sequence[str], timeout_s: float) -> int:
    """Run a command there and give its exit code; its output goes where ours goes.

    The processor's folder in /sys is not shown: it would tell of the host's.

    Args:
        root: the machine's files.
        mounts: folders of this machine by where they are seen there.
        command: as typed there, in /src.
        timeout_s: it is killed then.

    Raises:
        TimeoutExpired: it was killed.
    """
    proot, emulator = shutil.which("proot"), qemu()
    assert proot and emulator
    seen = {"/dev": Path("/dev"), "/proc": Path("/proc"), **mounts}
    binds = [word for place, folder in seen.items() for word in ("-b", f"{folder}:{place}")]
    child = subprocess.Popen(
        [proot, "-q", emulator, "-r", str(root), *binds, "-w", "/src", *command],
        # Nothing of the user's settings gets there. proot's own filter of system calls disagrees with newer kernels.
        env={
            "PROOT_NO_SECCOMP": "1",
            "PATH": "/usr/bin:/bin",
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "PYTHONPATH": "/src",
            "PYTHONPYCACHEPREFIX": "/bytecode",
        },
        stdin=subprocess.DEVNULL,
        preexec_fn=refuse_calls,
        start_new_session=True,
    )
    try:
        with terminated():
            return child.wait(timeout_s)
    except BaseException:
        # A process that outlives its proot would go on, on the host's files. Told to quit, proot ends them all first.
        for end in (lambda: child.send_signal(signal.SIGQUIT), lambda: os.killpg(child.pid, signal.SIGKILL)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                end()
                child.wait(10)
        raise


@contextlib.contextmanager
def terminated() -> Iterator[None]:
    """Turn the request to end into an exception, as Ctrl-C is one."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse_calls() -> None:
    """From now on this process and its children are told that the kernel lacks the calls in `REFUSED`."""
    checks = [(EQUAL, len(REFUSED) - place, 0, number) for place, number in enumerate(REFUSED)]
    program = [(LOAD, 0, 0, 0), *checks, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ENOSYS)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    libc = ctypes.CDLL(None, use_errno=True)
    filter_ = _Program(len(program), ctypes.addressof(code))
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, ctypes.byref(filter_), 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel takes no filter of system calls (seccomp)")
