"""A file of `python -m benchmarks.paper` read back: what every exit is worth, what it costs, and which ones pay.

The path to an exit is that of a model which has this early exit alone: preprocessing, the layers up to it as one
engine, one boundary, its branch. The head is behind a boundary too. In a model with more exits each further cut adds a
boundary, which is how `offramp suggest` counts. Every layer was timed in an engine of its own, with what a call into an
engine costs, so the sum over the layers is rather too much than too little for layers that one engine holds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

from benchmarks.paper.recorded import Latency, Recorded, Run, Unit, read
from jetson.errors import BadInput
from toolkit.models.config import HEAD
from toolkit.suggest.choose import Candidate, Depth


@dataclass(frozen=True)
class Scores:
    """One exit's scores, one for each seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Standard deviation of a sample (n - 1): the `±` of the tables. None of one seed, which then has no `±`."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def range(self) -> float:
        """From the worst seed to the best; not printed."""
        return max(self.values) - min(self.values)


@dataclass(frozen=True)
class Exit:
    """One exit: what it is worth, and what its branch and the whole path to it cost."""

    name: str
    """`LAYER:BRANCH`, with options as `offramp train --exits` takes them."""
    layer: int
    branch: str
    calibration: Scores
    test: Scores
    unit: Unit
    path_ms: float
    path_flops: int


@dataclass(frozen=True)
class Summary:
    """An experiment, exit by exit."""

    name: str
    """Of the file, without its ending."""
    recorded: Recorded
    latency: Latency
    exits: tuple[Exit, ...]
    """The early ones by layer, and within a layer as `branches`."""
    head: Exit
    depth: Depth
    layer_flops: tuple[float, ...]
    branches: tuple[str, ...]
    seeds: int
    probe: dict[int, float]
    """On the test part, by layer."""

    @property
    def higher_is_better(self) -> bool:
        return self.recorded.task == "classification"

    @property
    def all_exits(self) -> tuple[Exit, ...]:
        return (*self.exits, self.head)

    @cached_property
    def frontier(self) -> tuple[Exit, ...]:
        """By latency the exits that no other beats: none as quick is better, and none as good is quicker."""

        def beats(a: Exit, b: Exit) -> bool:
            gain = self.gain(a.test.mean, b.test.mean)
            return gain >= 0 and a.path_ms <= b.path_ms and (gain > 0 or a.path_ms < b.path_ms)

        kept = [e for e in self.all_exits if not any(beats(other, e) for other in self.all_exits)]
        return tuple(sorted(kept, key=lambda e: e.path_ms))

    def gain(self, a: float, b: float) -> float:
        """By how much `a` is better than `b`."""
        return a - b if self.higher_is_better else b - a

    def at(self, layer: int) -> tuple[Exit, ...]:
        """The early exits after one layer."""
        return tuple(e for e in self.exits if e.layer == layer)

    def best_at(self, layer: int) -> Exit | None:
        """The branch to take after a layer; chosen on the calibration part, so that the test part stays a test."""
        return max(self.at(layer), key=lambda e: self.gain(e.calibration.mean, 0.0), default=None)


def load(file: Path) -> Summary:
    """Read and sum up one experiment.

    Raises:
        BadInput: not such a file, or one that lacks something.
        StorageError: it cannot be read.
    """
    try:
        return summarise(file.stem, read(file))
    except _Lacking as error:
        raise BadInput(f"{file}: {error}") from None


class _Lacking(Exception):
    """What a file of the right form does not hold."""


def summarise(name: str, recorded: Recorded) -> Summary:
    """Join runs, probes and latencies."""
    latency = recorded.latency
    if latency is None:
        raise _Lacking("holds no latency; make it again without --latency-seconds 0")
    if recorded.task == "regression" and recorded.mean_error is None:
        raise _Lacking("holds no mean_error, the error of always answering the mean")
    specs = {str(spec).partition(":")[0]: str(spec) for spec in recorded.settings.get("branches", ())}
    groups = _by_exit(recorded.runs, [*specs, HEAD])
    ends = list(dict.fromkeys(layer for layer, _ in groups))
    segments = [_unit(latency, f"segment-{number}") for number in range(1, len(ends) + 1)]
    if f"segment-{len(ends) + 1}" in latency.units:
        raise _Lacking(f"its segments do not end at the layers that have exits ({', '.join(map(str, ends))})")
    if missing := [str(end) for end in ends if str(end) not in recorded.probe]:
        raise _Lacking(f"holds no linear probe after layer {', '.join(missing)}")
    depth = Depth(_per_layer((s.ms for s in segments), ends), latency.boundary_ms, latency.preprocess_ms)
    flops_to = dict(zip(ends, accumulate(s.flops for s in segments), strict=True))

    def exit_of(layer: int, architecture: str, runs: list[Run]) -> Exit:
        unit = _unit(latency, HEAD if architecture == HEAD else f"branch-{layer}-{architecture}")
        branch = specs.get(architecture, architecture)
        return Exit(
            name=f"{layer}:{branch}",
            layer=layer,
            branch=branch,
            calibration=Scores(tuple(r.calibration for r in runs)),
            test=Scores(tuple(r.test for r in runs)),
            unit=unit,
            path_ms=depth.latency_ms(Candidate(branch, layer, 0.0, unit.ms), 1),
            path_flops=flops_to[layer] + unit.flops,
        )

    *exits, head = (exit_of(*place, runs) for place, runs in groups.items())
    return Summary(
        name=name,
        recorded=recorded,
        latency=latency,
        exits=tuple(exits),
        head=head,
        depth=depth,
        layer_flops=_per_layer((s.flops for s in segments), ends),
        branches=tuple(specs.values()),
        seeds=len(head.test.values),
        probe={end: recorded.probe[str(end)].test for end in ends},
    )


def _by_exit(runs: Iterable[Run], order: list[str]) -> dict[tuple[int, str], list[Run]]:
    """The runs of each exit by layer and architecture: shallow ones first, within a layer as in `order`."""
    groups: dict[tuple[int, str], list[Run]] = {}
    for run in runs:
        if run.architecture not in order or run.layer < 1:
            raise _Lacking(f"settings.branches does not have what its runs trained: {run.layer}:{run.architecture}")
        groups.setdefault((run.layer, run.architecture), []).append(run)
    places = sorted(groups, key=lambda place: (place[0], order.index(place[1])))
    if [place[1] == HEAD for place in places] != [False] * (len(places) - 1) + [True]:
        raise _Lacking("holds no runs of one head after the last layer")
    if not set.intersection(*({r.seed for r in found} for found in groups.values())):
        raise _Lacking("no seed is there that all its exits were trained with")
    return {place: groups[place] for place in places}


def _per_layer(segments: Iterable[float], ends: list[int]) -> tuple[float, ...]:
    """Layer by layer; what a segment of several layers costs is split evenly among them, the stem's share too."""
    spans = [b - a for a, b in pairwise([0, *ends])]
    return tuple(cost / span for cost, span in zip(segments, spans, strict=True) for _ in range(span))


def _unit(latency: Latency, name: str) -> Unit:
    found = latency.units.get(name)
    if found is None:
        raise _Lacking(f"its latency has no unit {name}")
    if not all(0 <= value < math.inf for value in (found.ms, found.p95_ms)):
        raise _Lacking(f"unit {name} has times that cannot be")
    return found
