"""What is installed where the tests run, for a board that has it too, or as wheels."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(*names: str) -> list[importlib.metadata.Distribution]:
    """Distributions and all that they require."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        for line in found[name].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return list(found.values())


def files_of(distribution: importlib.metadata.Distribution) -> list[tuple[str, Path]]:
    """What lies beside other packages: the place in it, and the file."""
    found = []
    for file in distribution.files or []:
        place = file.as_posix()
        if ".." not in place and "/tests/" not in place and not place.endswith(".pyc"):
            found.append((place, Path(str(distribution.locate_file(file)))))
    return [(place, path) for place, path in found if path.is_file()]


def link_into(folder: Path, distributions: Iterable[importlib.metadata.Distribution]) -> Path:
    """A folder of packages that everybody may read; links where they can be had."""
    for distribution in distributions:
        for place, path in files_of(distribution):
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:
                shutil.copy(path, target)
    return folder


def repack(folder: Path, distributions: Iterable[importlib.metadata.Distribution]) -> Path:
    """A wheelhouse of them, nothing compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for distribution in distributions:
        tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
        tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
        name = canonicalize_name(distribution.metadata["Name"]).replace("-", "_")
        with zipfile.ZipFile(folder / f"{name}-{distribution.version}-{tag}.whl", "w", zipfile.ZIP_STORED) as archive:
            for place, path in files_of(distribution):
                archive.write(path, place)
    return folder
