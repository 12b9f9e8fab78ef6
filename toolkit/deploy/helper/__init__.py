"""What runs on the board while a deployment is connected to it: sent over the connection, the standard library alone.

It reads one request after another, a line of JSON and as many bytes as the line's `bytes` says, and answers with a
line of JSON (`get` with bytes after it). Everything it writes lies in one folder:

    files/HASH          what was copied, named by its SHA-256; HASH.part is on its way
    packages/HASH/      a wheel, unpacked
    env/DIGEST/         wheels put together: what `bin/offramp` runs
    bin/offramp         the command
    bundles/NAME/       links to files/
    jobs/NAME/          work that goes on when the connection is lost: lock, pid, key, out, err, status
    profiles/, engines/ what that work makes
"""

from __future__ import annotations

import json
from pathlib import Path

PACKAGE = "toolkit.deploy.helper"
PARTS = ("files", "jobs", "facts", "install", "serve")
"""In the order in which they import each other."""
READY = "offramp-board"
# What the shell of the board is given: it must mean the same in sh, bash, zsh, fish and csh.
START = (
    f"import sys;print('{READY}',*sys.version_info[:3],flush=True);"
    "s=sys.stdin.buffer;exec(s.read(int(s.readline() or 0)))"
)
LOAD = """
import sys, types
names = PACKAGE.split(".")
for end in range(1, len(names) + 1):
    sys.modules[".".join(names[:end])] = types.ModuleType(".".join(names[:end]))
for name, source in SOURCES:
    module = sys.modules[PACKAGE + "." + name] = types.ModuleType(PACKAGE + "." + name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


def program() -> bytes:
    """The parts as one program, which needs none of our files."""
    folder = Path(__file__).parent
    sources = [(name, folder.joinpath(f"{name}.py").read_text(encoding="utf-8")) for name in PARTS]
    return f"PACKAGE, SOURCES = {PACKAGE!r}, {json.dumps(sources)}\n{LOAD}".encode()
