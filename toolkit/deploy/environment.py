"""Offramp and what it needs, on a board: which wheels go there, and putting them together."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from jetson.errors import BadInput, WorkFailed
from toolkit.deploy.cargo import Cargo, Item
from toolkit.deploy.copying import copy
from toolkit.deploy.facts import Facts
from toolkit.deploy.link import Link
from toolkit.deploy.own_wheel import requirements
from toolkit.deploy.remote_job import Job
from toolkit.deploy.site import View
from toolkit.deploy.wheelhouse import Choice, check_found, choose, download_command, wheels_in


@dataclass(frozen=True)
class Environment:
    """What is to be put together on one board."""

    wheels: tuple[Item, ...]
    """Offramp's own is the last."""
    pip: tuple[str, ...] = ()
    """What the board's pip has to fetch."""

    def digest(self, board: Facts) -> str:
        """Its name on the board."""
        parts = [board.python, board.markers["python_full_version"], self.pip_name, *(w.sha256 for w in self.wheels)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @property
    def pip_name(self) -> str:
        """Of the folder that pip fills; empty when it has nothing to do."""
        return "pip-" + hashlib.sha256(json.dumps(self.pip).encode()).hexdigest()[:16] if self.pip else ""


def plan_environment(cargo: Cargo, board: Facts, wheelhouse: Path | None) -> Environment:
    """Find what a board needs.

    Args:
        cargo: has our own wheel.
        board: as it is.
        wheelhouse: a folder of wheels; None leaves what the board lacks to its own pip.

    Raises:
        BadInput: something is missing; the message names the command that fetches it.
    """
    needed = requirements()
    if wheelhouse is not None:
        choice = choose(needed, wheels_in(wheelhouse), board)
        check_found(choice, needed, board, wheelhouse)
        return Environment((*(Item.of(w.path) for w in choice.wheels), cargo.offramp))
    choice = choose(needed, [], board)
    if not choice.missing:
        return Environment((cargo.offramp,))
    if not board.pip:
        raise BadInput(_no_pip(choice, needed, board))
    wanted = [f"{r.name}{r.specifier}" for r in needed if board.applies(r)]
    if board.cuda and not {"cuda-bindings", "pycuda"} & set(board.distributions):
        wanted.append(f"cuda-bindings<{board.cuda + 1}")
    return Environment((cargo.offramp,), tuple(wanted))


def _no_pip(choice: Choice, needed: Sequence[Requirement], board: Facts) -> str:
    return (
        f"the board ({board.words}) has no pip, and lacks {', '.join(choice.missing)}. Fetch wheels here and give "
        f"--wheelhouse wheels: {download_command(needed, board, Path('wheels'))}"
    )


def unpacked_bytes(wheels: Sequence[Item]) -> int:
    """What wheels take when they are unpacked."""
    found = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            found += sum(entry.file_size for entry in archive.infolist())
    return found


def lacking_wheels(link: Link, environment: Environment) -> list[Item]:
    """Those that are not unpacked on the board."""
    there = link.ask("packages", names=[w.sha256 for w in environment.wheels])
    return [w for w, is_there in zip(environment.wheels, there, strict=True) if not is_there]


def install(link: Link, environment: Environment, board: Facts, view: View) -> int:
    """Bring an environment to the board and let `bin/offramp` run it; nothing is done where it is there.

    Returns:
        Bytes that were copied.

    Raises:
        WorkFailed: the board's pip failed.
        Refused: the board cannot do it.
        Lost: the connection ended.
    """
    digest = environment.digest(board)
    if link.ask("environment", digest=digest):
        return 0
    pip = [environment.pip_name] if environment.pip else []
    if pip and not link.ask("packages", names=pip)[0]:
        _run_pip(link, environment, board, view)
    lacking = lacking_wheels(link, environment)
    copied = copy(link, lacking, "Offramp and what it needs", view)
    view.step("putting it together")
    link.ask("install", digest=digest, wheels=[w.sha256 for w in environment.wheels], pip=pip)
    return copied


def _run_pip(link: Link, environment: Environment, board: Facts, view: View) -> None:
    name = environment.pip_name
    target = f"{board.folder}/packages/{name}.part"
    pip = [board.python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--target", target]
    view.step("pip fetches on the board what Offramp needs")
    # pip adds to a folder that is there; one that was cut short begins anew.
    words = ["sh", "-c", 'rm -rf "$0" && exec "$@"', target, *pip, *environment.pip]
    try:
        Job("packages", words, name).run(link, view.share)
    except WorkFailed as error:
        raise WorkFailed(
            f"the board's pip failed ({error}); without an index there, give --wheelhouse (offramp deploy --help)"
        ) from None
    link.ask("keep_pip", name=name)
    link.ask("forget", job="packages")
