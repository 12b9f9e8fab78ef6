"""Files and folders that appear whole, on the board."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

CHUNK = 1 << 20


class Refusal(Exception):
    """A request cannot be met; the message goes back."""


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def text_of(path: Path) -> str:
    """A small file's content, empty when it is not there."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def inside(folder: Path, path: str) -> Path:
    """A path that does not leave the folder."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise Refusal(f"{path} leaves {folder}")
    return folder / path


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def swap(new: Path, target: Path) -> None:
    """Give a folder its name; what had the name goes."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """The same file under a further name, whatever had it before; a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def link_tree(source: Path, target: Path) -> None:
    """Every file of a folder under a further name in another."""
    target.mkdir(parents=True, exist_ok=True)
    for folder, _, files in os.walk(source):
        for name in files:
            link(Path(folder, name), target / Path(folder).relative_to(source) / name)
