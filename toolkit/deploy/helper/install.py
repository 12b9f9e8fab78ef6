"""Wheels become an environment, on the board, without pip, venv or root."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

from toolkit.deploy.helper.files import CHUNK, fresh, inside, link_tree, swap

KEPT_ENVS = 2
"""The newest ones, so that what still runs from the last one finds its modules."""
PROGRAM = """import sys

sys.path[0] = {site!r}
from toolkit.cli import main

sys.exit(main())
"""
CACHE = """#!/bin/sh
export ORT_DISABLE_TELEMETRY=1
[ -n "$OFFRAMP_CACHE" ] || OFFRAMP_CACHE={cache}
export OFFRAMP_CACHE
"""
OFFRAMP = 'exec {python} {program} "$@"\n'
PYTHON = 'export PYTHONPATH={site}"${{PYTHONPATH:+:$PYTHONPATH}}"\nexec {python} "$@"\n'


def install(folder: Path, digest: str, wheels: dict[str, Path], pip: list[str]) -> None:
    """Unpack wheels that are not yet, put the environment together and let `bin/offramp` run it.

    Args:
        folder: ours.
        digest: the environment's name.
        wheels: by SHA-256.
        pip: folders of `packages/` that pip filled.
    """
    packages, env = folder / "packages", folder / "env" / digest
    lacking = {sha: wheel for sha, wheel in wheels.items() if not (packages / sha).is_dir()}
    for sha, wheel in lacking.items():
        unpack(wheel, fresh(packages / f"{sha}.part"))
    os.sync()  # other files are hashed again before they are believed, these are not
    for sha in lacking:
        os.rename(packages / f"{sha}.part", packages / sha)
    new = fresh(env.with_name(f"{digest}.part"))
    for name in (*pip, *wheels):
        link_tree(packages / name, new / "site")
    (new / "offramp.py").write_text(PROGRAM.format(site=str(env / "site")))
    (new / "parts.json").write_text(json.dumps([*pip, *wheels]))
    swap(new, env)
    _write_commands(folder, env)
    _remove_old(folder / "env", packages, env)


def uses(folder: Path, digest: str) -> bool:
    """Whether `bin/offramp` runs this environment."""
    program = folder / "env" / digest / "offramp.py"
    command = folder / "bin" / "offramp"
    return program.is_file() and command.is_file() and shlex.quote(str(program)) in command.read_text()


def unpack(wheel: Path, folder: Path) -> None:
    """What a wheel puts beside other packages; its scripts and data files are not for us."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            place = entry.filename
            parts = place.split("/")
            if parts[0].endswith(".data"):
                if parts[1] not in ("purelib", "platlib"):
                    continue
                place = "/".join(parts[2:])
            target = inside(folder, place)
            if entry.is_dir():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as stream:
                shutil.copyfileobj(source, stream, CHUNK)
            if entry.external_attr >> 16 & 0o111:
                target.chmod(0o755)


def _write_commands(folder: Path, env: Path) -> None:
    """`bin/offramp`, and `bin/python` for programs of the user's own."""
    values = {"python": sys.executable, "program": env / "offramp.py", "site": env / "site"}
    words = {name: shlex.quote(str(value)) for name, value in values.items()}
    head = CACHE.format(cache=shlex.quote(str(folder / "engines")))
    for name, line in {"offramp": OFFRAMP, "python": PYTHON}.items():
        file = folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        new = file.with_name(f".{name}.part")
        new.write_text(head + line.format(**words))
        new.chmod(0o755)
        os.replace(new, file)


def _remove_old(envs: Path, packages: Path, current: Path) -> None:
    others = sorted((e for e in envs.iterdir() if e != current), key=lambda e: e.stat().st_mtime, reverse=True)
    for old in others[KEPT_ENVS - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    kept = {name for e in envs.iterdir() for name in json.loads((e / "parts.json").read_text())}
    for package in packages.iterdir():
        if package.name not in kept:
            shutil.rmtree(package, ignore_errors=True)
