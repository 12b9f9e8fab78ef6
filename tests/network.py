"""Processes that may speak to nobody but themselves: a hook in each notes and refuses every other connection."""

from __future__ import annotations

import os
from pathlib import Path

NOTES = "NETWORK_NOTES"
# A `sitecustomize.py` is run by every Python that finds it, so also by the processes that a command starts.
HOOK = f"""
import os, socket, sys

HERE = ("localhost", "127.0.0.1", "::1", "", "0.0.0.0", None, socket.gethostname())

def note(*words):
    with open(os.environ["{NOTES}"], "a") as notes:
        print(*words, file=notes)

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        host = address[0] if isinstance(address, tuple) else "localhost"  # a Unix socket, or one connected before
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
    else:
        return
    if host not in HERE:
        note("REACHED", event, host, *sys.argv[1:2])
        raise PermissionError(f"{{event}} to {{host}} is forbidden by the test")

note("began", *sys.argv[1:2])
sys.addaudithook(watch)
"""


def watched(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """An environment in which every Python notes into `folder`/notes that it began, and whom it tried to reach."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join(filter(None, [str(folder / "hook"), environment.get("PYTHONPATH")]))
    return {**environment, "PYTHONPATH": path, NOTES: str(folder / "notes")}


def reached(folder: Path) -> tuple[int, list[str]]:
    """How many processes began, and every attempt to reach somebody."""
    lines = (folder / "notes").read_text().splitlines()
    return sum(line.startswith("began") for line in lines), [line for line in lines if line.startswith("REACHED")]
