"""TensorRT's parser over every unit, before anything goes to a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetson.bundle import Bundle
from jetson.engines.tensorrt.build import source_of
from jetson.engines.tensorrt.jobs import Failed, Parsed, ParseJob, Parsing, Source
from jetson.engines.tensorrt.log import BadNode
from jetson.engines.tensorrt.process import Worker, describe_end, ended, hear_any
from jetson.errors import EngineError, MissingExtra
from jetson.manifest import Precision


@dataclass(frozen=True)
class Finding:
    """A unit that TensorRT will not take."""

    unit: str
    precision: Precision
    reason: str
    nodes: tuple[BadNode, ...]
    """Every node that the parser refuses; none when the reason is another."""

    def __str__(self) -> str:
        """One line."""
        nodes = ": " + "; ".join(map(str, self.nodes)) if self.nodes else ""
        return f"unit {self.unit} in {self.precision}: {self.reason}{nodes}"


def preflight(bundle: Bundle, precisions: Sequence[Precision]) -> list[Finding]:
    """Run the parser alone, in a process of its own, over every unit that the bundle has in these precisions.

    Args:
        bundle: opened and verified.
        precisions: to look at; those a unit does not have are passed over.

    Returns:
        What will not work; nothing when all units can be read.

    Raises:
        MissingExtra: no TensorRT is installed.
        EngineError: TensorRT cannot be loaded, or its process does not start.
    """
    found: list[Finding] = []
    sources = [
        source_of(bundle, unit, variant.precision)
        for unit in bundle.manifest.filed
        for variant in unit.files
        if variant.precision in precisions
    ]
    while sources:
        sources = sources[_run(tuple(sources), found) :]
    return found


def _run(sources: tuple[Source, ...], found: list[Finding]) -> int:
    """Parse until all is done or the process dies; gives how many files are done with."""
    worker, done = Worker(ParseJob(sources=sources)), 0
    at: int | None = None
    with ended([worker]):
        while worker.pipes:
            hear_any([worker], None)
            for answer in worker.answers:
                if isinstance(answer, Failed):
                    raise (MissingExtra if answer.missing else EngineError)(answer.reason)
                if isinstance(answer, Parsing):
                    at = answer.index
                elif isinstance(answer, Parsed):
                    done = answer.index + 1
                    if answer.reason:
                        source = sources[answer.index]
                        found.append(Finding(source.unit, source.precision, answer.reason, answer.nodes))
            worker.answers.clear()
        status = worker.wait()
    if at is None:
        raise EngineError(f"TensorRT's parser does not start: {describe_end(status, worker.last_words())}")
    if done < len(sources):
        at = max(at, done)
        found.append(Finding(sources[at].unit, sources[at].precision, describe_end(status, worker.last_words()), ()))
        return at + 1
    return done
