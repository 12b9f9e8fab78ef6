"""How good every exit is, given what one of them said: a table per exit that says it, shaded by how good."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from jetson.beliefs import Joint
from toolkit.report.formats import NA, decimals_for, fixed, share
from toolkit.report.gather import Run
from toolkit.report.palette import Style
from toolkit.report.tables import Cell, Table


@dataclass(frozen=True)
class Given:
    """The table of one exit that said something."""

    style: Style
    table: Table


@dataclass(frozen=True)
class Shades:
    """One scale for all tables, so that a shade means the same in each. `worst` is the lightest, `best` the darkest."""

    worst: float
    best: float
    decimals: int | None
    """Of a mean absolute error; None where values are shares."""

    def shade(self, value: float) -> float:
        """0 to 1."""
        return (value - self.worst) / (self.best - self.worst) if self.best != self.worst else 0.0

    def told(self, value: float) -> str:
        """The value as text."""
        return share(value) if self.decimals is None else fixed(value, self.decimals)


def joint_tables(run: Run) -> tuple[Given, ...]:
    """A table per exit; none where the bundle has no joint table, or it saw no frames."""
    joint, shades = run.manifest.joint, joint_shades(run)
    if joint is None or shades is None:
        return ()
    return tuple(_given(run, joint, j, style, shades) for j, style in enumerate(run.styles.values()))


def joint_shades(run: Run) -> Shades | None:
    """The scale of the tables; None where there are none."""
    joint = run.manifest.joint
    if joint is None:
        return None
    values = [
        v
        for counts, rows in zip(joint.n, joint.value, strict=True)
        for n, row in zip(counts, rows, strict=True)
        for v in row
        if n
    ]
    if not values:
        return None
    if run.manifest.task == "classification":
        return Shades(min(values), max(values), None)
    return Shades(max(values), min(values), decimals_for(values))


def _given(run: Run, joint: Joint, j: int, style: Style, shades: Shades) -> Given:
    counts, total = joint.n[j], sum(joint.n[j])
    header = (
        Cell(f"{style.name} said", numeric=False),
        Cell("n"),
        *(Cell(s.name, style=s, strong=k == j) for k, s in enumerate(run.styles.values())),
    )
    rows = [
        (Cell(told, numeric=False), Cell(f"{n:,}"), *(_cell(v, n, shades, k == j) for k, v in enumerate(values)))
        for told, n, values in zip(_buckets(run, joint.edges[j]), counts, joint.value[j], strict=True)
    ]
    if total and len(rows) > 1:
        means = [
            sum(n * row[k] for n, row in zip(counts, joint.value[j], strict=True)) / total for k in range(len(joint.n))
        ]
        rows.append((Cell("all frames", numeric=False), Cell(f"{total:,}"), *(Cell(shades.told(v)) for v in means)))
    return Given(style, Table("", header, tuple(rows)))


def _cell(value: float, n: int, shades: Shades, own: bool) -> Cell:
    return Cell(shades.told(value), shade=shades.shade(value), strong=own) if n else Cell(NA)


def _buckets(run: Run, edges: tuple[float, ...]) -> list[str]:
    """What each bucket holds, in words."""
    classify = run.manifest.task == "classification"
    ends = [f"{100 * e:.7g}%" if classify else f"{e:.7g}" for e in edges]
    if not ends:
        return ["all frames"]
    return [f"below {ends[0]}", *(f"{a} to {b}" for a, b in itertools.pairwise(ends)), f"{ends[-1]} or more"]
