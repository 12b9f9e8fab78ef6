"""A board on this machine: a real sshd on a loopback port, a user without root, a home of their own."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.toolkit.deploy.relay import Relay
from toolkit.deploy.helper.jobs import is_held

NO_SSHD = "no sshd here: apt-get install openssh-server"
STARTS_WITHIN_S = 20.0


def find_sshd() -> str | None:
    """Servers lie where a user's PATH does not look."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which("sshd", path=path) if shutil.which("ssh") and shutil.which("ssh-keygen") else None


@dataclass
class LoopbackBoard:
    """Where it is and how it is reached."""

    folder: Path
    home: Path
    user: str
    python: str
    relay: Relay

    @property
    def address(self) -> str:
        return "board"

    @property
    def options(self) -> str:
        """For `--ssh-options`."""
        return f"-F {self.folder / 'client' / 'config'}"

    @property
    def offramp(self) -> Path:
        """The folder that everything goes to."""
        return self.home / ".offramp"


@contextlib.contextmanager
def loopback_board(fill: Callable[[Path], object] | None = None) -> Iterator[LoopbackBoard]:
    """Start one.

    Args:
        fill: puts packages into a folder that the board's Python sees, as a Jetson's sees JetPack's.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="offramp-board-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        user = stack.enter_context(_user(home))
        python = _python(folder / "python")
        port = _free_port()
        relay = Relay(port)
        stack.callback(relay.close)
        _keys(folder)
        packages = folder / "packages"
        packages.mkdir()
        if fill is not None:
            fill(packages)
        _configure(folder, port, relay.port, user, home, packages)
        stack.enter_context(_sshd(folder, port))
        yield LoopbackBoard(folder, home, user, python, relay)


@contextlib.contextmanager
def _user(home: Path) -> Iterator[str]:
    """A user for the time being where root can make one, else whoever runs the tests."""
    if os.geteuid() or not shutil.which("useradd"):
        yield pwd.getpwuid(os.geteuid()).pw_name
        return
    name = f"offramp-{secrets.token_hex(4)}"
    # A password that none is: the account is not locked, and only keys open it.
    subprocess.run(["useradd", "-M", "-d", str(home), "-s", "/bin/sh", "-p", "*", name], check=True)
    try:
        shutil.chown(home, name)
        yield name
    finally:
        _end_jobs(home / ".offramp" / "jobs")
        subprocess.run(["userdel", "--force", name], capture_output=True, check=False)


def _end_jobs(jobs: Path) -> None:
    """Work that a failed test has left."""
    for job in jobs.iterdir() if jobs.is_dir() else ():
        if is_held(job):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int((job / "pid").read_text()), signal.SIGKILL)


def _python(copy: Path) -> str:
    """A Python like the tests' own that another user can run: packages installed here fit it."""
    own = Path(os.path.realpath(sys.executable))
    system = Path("/usr/bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    if not os.geteuid():
        if all(p.stat().st_mode & 1 for p in own.parents):
            return str(own)
        if system.is_file():
            return str(system)
        shutil.copytree(
            sys.base_prefix, copy, symlinks=True, ignore=shutil.ignore_patterns("site-packages", "test", "*.a")
        )
        return str(copy / own.relative_to(os.path.realpath(sys.base_prefix)))
    return str(own)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _keys(folder: Path) -> None:
    for name in ("client", "server"):
        (folder / name).mkdir(mode=0o755)
        key = folder / name / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (folder / "server" / "authorized").write_bytes((folder / "client" / "key.pub").read_bytes())


def _configure(folder: Path, port: int, relayed: int, user: str, home: Path, packages: Path) -> None:
    client, server = folder / "client", folder / "server"
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {server / 'key'}",
        f"PidFile {server / 'pid'}",
        f"AuthorizedKeysFile {server / 'authorized'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        f"SetEnv PYTHONPATH={packages} HOME={home} PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1",
    ]
    (server / "config").write_text("\n".join(lines) + "\n")
    host_key = (server / "key.pub").read_text()
    (client / "known").write_text(f"[127.0.0.1]:{relayed} {host_key}")
    lines = [
        "Host board",
        "HostName 127.0.0.1",
        f"Port {relayed}",
        f"User {user}",
        f"IdentityFile {client / 'key'}",
        "IdentitiesOnly yes",
        f"UserKnownHostsFile {client / 'known'}",
        "StrictHostKeyChecking yes",
    ]
    (client / "config").write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def _sshd(folder: Path, port: int) -> Iterator[None]:
    sshd = find_sshd()
    assert sshd is not None
    if not os.geteuid():
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    log = folder / "server" / "log"
    words: Sequence[str] = [sshd, "-D", "-e", "-f", str(folder / "server" / "config")]
    with log.open("wb") as stream:
        process = subprocess.Popen(words, stdout=stream, stderr=stream)
    try:
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
