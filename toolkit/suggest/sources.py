"""Where advice comes from: a bundle with its profile, or the results of an experiment."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from jetson.bundle import MANIFEST, Bundle
from jetson.errors import BadInput, ProfileError
from jetson.files import storage
from jetson.manifest import Exit, Manifest, Task
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import LatencyProfile
from jetson.record import Record
from toolkit.suggest.choose import Candidate, Depth

FORMAT = "offramp-results"
VERSION = 1


class ExitResult(Record, frozen=True, kw_only=True):
    """One exit of an experiment."""

    name: str
    layer: int
    quality: float
    """Mean over the seeds: accuracy, or the error."""
    branch_ms: float


class Results(Record, frozen=True, kw_only=True):
    """What an experiment found, as far as advice needs it."""

    format: Literal["offramp-results"] = "offramp-results"
    version: int = VERSION
    task: Task
    layer_ms: tuple[float, ...]
    """Each layer of the backbone alone; the stem goes with the first."""
    boundary_ms: float
    fixed_ms: float
    exits: tuple[ExitResult, ...]
    head: ExitResult


@dataclass(frozen=True)
class Source:
    """What can be chosen from."""

    task: Task
    candidates: tuple[Candidate, ...]
    head: Candidate
    depth: Depth


def load_source(path: Path, profile: Path | None) -> Source:
    """Read a bundle with its profile, or a file of results.

    Raises:
        BadInput: neither, or figures that cannot be used.
        BundleError, ProfileError: a damaged bundle, or a profile of another one.
        StorageError: a file cannot be read.
    """
    with storage(path, "read"):
        is_bundle = path.is_dir()
    if is_bundle:
        if profile is None:
            raise BadInput(f"{path} is a bundle; what its units cost stands in a profile: give --profile FILE")
        return _of_bundle(Bundle.open(path).manifest, LatencyProfile.load(profile), profile)
    return _of_results(path)


def _of_bundle(manifest: Manifest, profile: LatencyProfile, file: Path) -> Source:
    if not speaks_of(profile, manifest):
        raise ProfileError(f"{file}: measured on another bundle; measure this one with: offramp profile")
    times = {name: unit.host_ms.median for name, unit in profile.units.items()}
    last = manifest.segments[-1].layer
    layers = [0.0] * last
    for segment in manifest.segments:  # what lies between two cuts is not told apart: it all comes with the last layer
        layers[segment.layer - 1] = times[segment.name]
    between = [u.end_to_end_ms.median - u.host_ms.median for u in profile.units.values()]
    sign = 1.0 if manifest.task == "classification" else -1.0

    def candidate(exit_: Exit) -> Candidate:
        return Candidate(exit_.name, exit_.layer, sign * exit_.quality[0].value, times[exit_.units[-1]])

    *early, head = manifest.exits
    return Source(
        task=manifest.task,
        candidates=tuple(candidate(e) for e in early if e.layer < last),
        head=candidate(head),
        depth=Depth(tuple(layers), max(0.0, statistics.median(between)), profile.preprocess_ms.median),
    )


def _of_results(path: Path) -> Source:
    with storage(path, "read"):
        if not path.is_file():
            raise BadInput(f"{path}: neither a bundle (a folder with {MANIFEST}) nor a file of results")
        content = path.read_bytes()
    try:
        found = msgspec.json.decode(content, type=Results)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(
            f"{path}: not the results of an experiment ({error}); what benchmarks.paper wrote becomes one with: "
            "python -m benchmarks.paper.advice FILE --out RESULTS"
        ) from None
    if found.version != VERSION:
        raise BadInput(f"{path}: format version {found.version} is not the one this Offramp reads ({VERSION})")
    last = len(found.layer_ms)
    usable = all(0 <= ms < 1e9 for ms in (*found.layer_ms, found.boundary_ms, found.fixed_ms))
    usable &= all(0 <= e.branch_ms < 1e9 and 1 <= e.layer <= last for e in (*found.exits, found.head))
    if not usable or found.head.layer != last:
        raise BadInput(f"{path}: holds times or layers that cannot be")
    sign = 1.0 if found.task == "classification" else -1.0

    def candidate(exit_: ExitResult) -> Candidate:
        return Candidate(exit_.name, exit_.layer, sign * exit_.quality, exit_.branch_ms)

    return Source(
        task=found.task,
        candidates=tuple(candidate(e) for e in found.exits if e.layer < last),
        head=candidate(found.head),
        depth=Depth(found.layer_ms, found.boundary_ms, found.fixed_ms),
    )
