"""Work that goes on when the connection is lost, on the board."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from toolkit.deploy.helper.files import CHUNK, Refusal, fresh, text_of

LOOK_AGAIN_S = 0.1
ALIVE_S = 2.0
END_GRACE_S = 8.0
# The lock is held for as long as the work lives, whoever began it; `status` appears when it has ended by itself.
SUPERVISE = """
import fcntl, json, os, subprocess, sys
folder, words, further = json.loads(sys.argv[1])
os.chdir(os.path.expanduser("~"))
lock = open(os.path.join(folder, "lock"), "w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
with open(os.path.join(folder, "pid"), "w") as file:
    file.write(str(os.getpid()))
with open(os.path.join(folder, "out"), "wb") as out, open(os.path.join(folder, "err"), "wb") as err:
    print("started", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        code = subprocess.call(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=dict(os.environ, **further))
    except OSError as error:
        err.write(str(error).encode())
        code = 127
with open(os.path.join(folder, "status.part"), "w") as file:
    file.write(str(code))
os.rename(file.name, os.path.join(folder, "status"))
"""


def running(jobs: Path) -> list[Path]:
    """The folders of work that is going on."""
    return [job for job in sorted(jobs.iterdir()) if is_held(job)] if jobs.is_dir() else []


def start(folder: Path, key: str, words: list[str], environment: dict[str, str], known: bool) -> str:
    """Begin work, or find that which was begun with the same key: `started`, `running` or `ended`.

    Args:
        folder: of this work.
        key: says whether what is found is this work.
        words: the command.
        environment: further variables.
        known: who asks has begun it and wants to hear how it ended; else work that failed begins again.
    """
    if is_held(folder):
        return "running"
    status = text_of(folder / "status")
    if text_of(folder / "key") == key and (status == "0" or (status and known)):
        return "ended"
    fresh(folder)
    (folder / "key").write_text(key)
    argument = json.dumps([str(folder), words, environment])
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, argument],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    if not process.stdout.readline():
        raise Refusal(f"{words[0]} could not be started")
    return "started"


def follow(folder: Path, offsets: dict[str, int], say: Callable[[str, bytes], None], gone: Callable[[], bool]) -> None:
    """Tell what the work prints to `out` and `err`, from these offsets on, until it has ended.

    Raises:
        EOFError: whoever listened is gone.
    """
    last = time.monotonic()
    while True:
        over = not is_held(folder)
        for name in offsets:
            with (folder / name).open("rb") as stream:
                stream.seek(offsets[name])
                while piece := stream.read(CHUNK):
                    offsets[name] += len(piece)
                    say(name, piece)
                    last = time.monotonic()
        if over:
            return
        if gone():
            raise EOFError
        if time.monotonic() - last > ALIVE_S:
            say("alive", b"")
            last = time.monotonic()


def is_held(folder: Path) -> bool:
    """Whether work lives: who supervises it holds its lock."""
    try:
        handle = os.open(folder / "lock", os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def end(folder: Path) -> None:
    """End work that lives, gently at first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(text_of(folder / "pid")), number)
        until = time.monotonic() + END_GRACE_S
        while is_held(folder) and time.monotonic() < until:
            time.sleep(LOOK_AGAIN_S)
        if not is_held(folder):
            return
