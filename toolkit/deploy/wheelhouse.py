"""Which wheels of a folder a board needs, chosen as pip would for that board's Python and processor."""

from __future__ import annotations

import email.parser
import functools
import shlex
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from jetson.errors import BadInput
from jetson.files import storage
from toolkit.deploy.facts import Facts

USEFUL = ("cuda-bindings", "pycuda", "pillow", "tensorrt-rtx")
"""Taken to the board when the wheelhouse has them: each lets Offramp do more there."""
PIP_PLATFORMS = (
    "manylinux2014",
    "manylinux_2_17",
    "manylinux_2_24",
    "manylinux_2_26",
    "manylinux_2_27",
    "manylinux_2_28",
)


@dataclass(frozen=True)
class Wheel:
    """A wheel file, by its name."""

    path: Path
    name: NormalizedName
    version: Version
    build: tuple[int, str] | tuple[()]
    tags: frozenset[Tag]

    def metadata(self) -> tuple[list[Requirement], SpecifierSet]:
        """What it requires, of other packages and of Python.

        Raises:
            BadInput: it is no wheel.
        """
        return _metadata(self.path)


@functools.cache
def _metadata(path: Path) -> tuple[list[Requirement], SpecifierSet]:
    try:
        with storage(path, "read"), zipfile.ZipFile(path) as archive:
            (name,) = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
            head = email.parser.HeaderParser().parsestr(archive.read(name).decode())
        required = [Requirement(line) for line in head.get_all("Requires-Dist", [])]
        return required, SpecifierSet(head.get("Requires-Python") or "")
    except (zipfile.BadZipFile, ValueError, InvalidRequirement, InvalidSpecifier) as error:
        raise BadInput(f"{path}: not a whole wheel ({error}); download it again") from None


def wheels_in(folder: Path) -> list[Wheel]:
    """The wheels of a folder.

    Raises:
        BadInput: there is no such folder.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such folder of wheels")
    found = []
    with storage(folder, "read"):
        for path in sorted(folder.glob("*.whl")):
            try:
                found.append(Wheel(path, *parse_wheel_filename(path.name)))
            except InvalidWheelFilename as error:
                raise BadInput(f"{path}: {error}") from None
    return found


@dataclass
class Choice:
    """What a board gets."""

    wheels: list[Wheel] = field(default_factory=list)
    missing: dict[NormalizedName, Requirement] = field(default_factory=dict)
    """What is neither in the folder nor on the board."""
    unfit: dict[NormalizedName, str] = field(default_factory=dict)
    """Why the wheels of a package that are there do not do."""


def choose(roots: Iterable[Requirement], wheels: Sequence[Wheel], board: Facts) -> Choice:
    """Wheels for requirements and all that these require; what the board has already does where no wheel is.

    Args:
        roots: what is wanted.
        wheels: those there are.
        board: that they are for.
    """
    ranks = board.tags()
    wanted = [r for r in roots if board.applies(r)]
    for name in USEFUL:
        bound = f"<{board.cuda + 1}" if name == "cuda-bindings" and board.cuda else ""
        requirement = Requirement(name + bound)
        if _best(requirement.name, requirement.specifier, wheels, ranks, board):
            wanted.append(requirement)
    bounds: dict[NormalizedName, SpecifierSet] = {}
    while True:  # until no requirement narrows another one any more
        choice, narrowed = _walk(wanted, wheels, ranks, board, bounds)
        if narrowed == bounds:
            return choice
        bounds = narrowed


def _walk(
    roots: Sequence[Requirement],
    wheels: Sequence[Wheel],
    ranks: dict[Tag, int],
    board: Facts,
    bounds: dict[NormalizedName, SpecifierSet],
) -> tuple[Choice, dict[NormalizedName, SpecifierSet]]:
    choice, narrowed = Choice(), dict(bounds)
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop(0)
        name = canonicalize_name(requirement.name)
        narrowed[name] = narrowed.get(name, SpecifierSet()) & requirement.specifier
        key = name, frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        best = _best(name, narrowed[name], wheels, ranks, board)
        if best is None:
            installed = board.installed(name)
            if installed is None or not narrowed[name].contains(installed, prereleases=True):
                choice.missing[name] = requirement
                choice.unfit |= _unfit(name, narrowed[name], wheels, ranks)
            continue
        if best not in choice.wheels:
            choice.wheels.append(best)
        required, _ = best.metadata()
        for extra in ("", *requirement.extras):
            waiting += [r for r in required if board.applies(r, extra)]
    return choice, narrowed


def _best(
    name: str, specifier: SpecifierSet, wheels: Sequence[Wheel], ranks: dict[Tag, int], board: Facts
) -> Wheel | None:
    """The newest version's wheel that fits best."""
    fitting = [
        w
        for w in wheels
        if w.name == canonicalize_name(name)
        and specifier.contains(w.version, prereleases=True)
        and any(tag in ranks for tag in w.tags)
        and w.metadata()[1].contains(board.markers["python_full_version"], prereleases=True)
    ]
    return max(
        fitting,
        key=lambda w: (not w.version.is_prerelease, w.version, -min(ranks[t] for t in w.tags if t in ranks), w.build),
        default=None,
    )


def _unfit(
    name: NormalizedName, specifier: SpecifierSet, wheels: Sequence[Wheel], ranks: dict[Tag, int]
) -> dict[NormalizedName, str]:
    there = [w for w in wheels if w.name == name]
    if not there:
        return {}
    fits = [w for w in there if any(tag in ranks for tag in w.tags)]
    if fits:
        return {name: f"{fits[-1].path.name} is not {name}{specifier}"}
    return {name: f"{there[-1].path.name} is for another Python or processor"}


def check_found(choice: Choice, roots: Sequence[Requirement], board: Facts, folder: Path) -> None:
    """Refuse a folder that lacks something.

    Raises:
        BadInput: names what is missing, and the command that fetches it.
    """
    if not choice.missing:
        return
    why = {name: f" ({reason})" for name, reason in choice.unfit.items()}
    lacking = "; ".join(_plain(r) + why.get(name, "") for name, r in choice.missing.items())
    raise BadInput(
        f"{folder} has no wheel for the board ({board.words}) of {lacking}. What fetches them: "
        + download_command(roots, board, folder)
    )


def download_command(roots: Iterable[Requirement], board: Facts, folder: Path) -> str:
    """What fills a folder with wheels for a board, on a machine that reaches a package index."""
    words = ["pip", "download", "--only-binary=:all:", "--dest", str(folder)]
    words += ["--python-version", board.markers["python_version"], "--implementation", "cp"]
    names = [f"{p}_{board.machine}" for p in PIP_PLATFORMS]
    known = set(board.platforms())
    words += [w for name in names if name in known for w in ("--platform", name)]
    return shlex.join([*words, *(_plain(r) for r in roots if board.applies(r))])


def _plain(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"
