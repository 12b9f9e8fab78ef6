"""What the section of policies says beside its pictures: a table, and how its figures came about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.report.comparison import Comparison
from toolkit.report.comparison_picture import Drawn, drawn_policies, look_of, pictures, worth
from toolkit.report.formats import NA, milliseconds
from toolkit.report.palette import Style
from toolkit.report.tables import Cell, Table


@dataclass(frozen=True)
class Section:
    """What `comparison.html.j2` is filled with."""

    told: str
    command: str
    vary: str
    axes: str
    styles: list[Style]
    pictures: list[Drawn]
    table: Table


def section(compared: Comparison, bundle: str = "bundle", profile: str = "profile.json") -> Section:
    """Draw and write everything.

    Args:
        compared: the figures.
        bundle: its folder's name,
        profile: and that of the first profile.
    """
    words = _told(compared), _command(compared, bundle, profile), _vary(compared), _axes(compared)
    return Section(*words, drawn_policies(compared), pictures(compared), table(compared))


def table(compared: Comparison) -> Table:
    """A row per scenario, the best policy in bold, and their means."""
    rows, policies = [], _columns(compared)
    for scenario in compared.scenarios:
        merits = {p: compared.merit(scenario, p) for p in policies}
        best = max(merit for p, merit in merits.items() if look_of(p) is not None)
        cells = (
            _cell(
                compared,
                p,
                merit,
                compared.missed(scenario, p),
                compared.compute_ms(scenario, p),
                look_of(p) is not None and worth(compared, merit) == worth(compared, best),
            )
            for p, merit in merits.items()
        )
        rows.append((Cell(scenario, numeric=False), *cells))
    header = (Cell("Scenario", numeric=False), *(Cell(p, style=look_of(p), of=p) for p in policies))
    return Table(_caption(compared), header, (*rows, (Cell("mean", numeric=False), *_means(compared))))


def _columns(compared: Comparison) -> list[str]:
    """As in the pictures, then the oracles."""
    drawn = [look.name for look in drawn_policies(compared)]
    return [*drawn, *(p for p in compared.policies if p not in drawn)]


def _means(compared: Comparison) -> list[Cell]:
    found = []
    for policy in _columns(compared):
        missed = [m for s in compared.scenarios if (m := compared.missed(s, policy)) is not None]
        merit = float(np.mean([compared.merit(s, policy) for s in compared.scenarios]))
        spent = float(np.mean([compared.compute_ms(s, policy) for s in compared.scenarios]))
        found.append(_cell(compared, policy, merit, float(np.mean(missed)) if missed else None, spent, False))
    return found


def _cell(
    compared: Comparison, policy: str, merit: float, missed: float | None, compute_ms: float, strong: bool
) -> Cell:
    lost = NA if missed is None else f"{100 * missed:.2f}%"
    return Cell(worth(compared, merit), f"{lost} · {milliseconds(compute_ms)}", strong=strong, of=policy)


def _told(compared: Comparison) -> str:
    return (
        f"A simulation, not a measurement: {compared.frames:,} frames a scenario with the bundle's own recorded "
        f"answers to its {compared.images:,} test images, and with latencies drawn from the profile, the same for "
        "every policy."
    )


def _command(compared: Comparison, bundle: str, profile: str) -> str:
    return f"offramp simulate {bundle} --profile {profile} --scenario contention --frames {compared.frames}"


def _vary(compared: Comparison) -> str:
    if not compared.classify:
        return ""
    return "; differences of half a point, in thermal and spikes of two, mean little"


def _axes(compared: Comparison) -> str:
    step = "one point" if compared.classify else "0.01"
    return (
        "One row per scenario: made-up budgets on a made-up device. The axes are even up to "
        f"{step}, 0.1% missed and half of replan's computing, and logarithmic beyond; 0 is dotted. The oracle knows "
        "every latency beforehand; where heat comes from computing, a policy may still do better. The pointer reads a "
        "row's figures."
    )


def _caption(compared: Comparison) -> str:
    if compared.classify:
        merit = "acc@D: answered within the budget and rightly, of all frames"
    else:
        merit = "Value: 1 for an answer without error, less by the error, negative for none in time; higher is better"
    return (
        f"{merit}. Below it the share missed, of the budgets that the quickest exit could meet, and the computing in "
        "units, a frame. Bold: the best policy. planner: what the runtime does unless told otherwise. replan: the "
        "deepest exit that fits at the device's present pace, looked at anew at every boundary. deepest-p95: the "
        "deepest that fits by the profile. alert: once a frame, the best exit that fits at the present pace. "
        + ("threshold: exits in turn until one is 90% sure. " if compared.classify else "")
        + "static: always the last exit. Oracles know what every unit will take; oracle-full also which answers are "
        "right."
    )
