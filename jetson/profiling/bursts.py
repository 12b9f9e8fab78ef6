"""Measure energy: each unit over and over, long enough for sensors that are far slower than it.

Power is not energy: a unit of 2 ms is over long before sensors that are read ten times a second have seen it. So it is
run for seconds on end, the power is averaged over the readings of that time, and a run's share is that power times the
time from run to run. The host's part between two runs is in it, as it is in a frame.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from jetson.engines import Engines
from jetson.manifest import Manifest
from jetson.profiling.energy import Energy, UnitEnergy
from jetson.scheduling.budget import clock
from jetson.telemetry.reading import whole
from jetson.telemetry.recorder import Recorder

BURST_S = 2.0
"""How long a unit is run, unless the source is so slow that more is needed."""
READINGS = 8
"""Of the sensors, at least, that a burst should hold,"""
LEAST_READINGS = 5
"""and without which it tells nothing."""
LAG_S = 0.2
"""Readings so soon after the start may still be of what was before: sensors average, and tools hold back a line."""


def measure_energy(
    engines: Engines,
    manifest: Manifest,
    recorder: Recorder,
    burst_s: float = BURST_S,
    progress: Callable[[float], None] = lambda _share: None,
) -> Energy | None:
    """Run every unit in a burst of its own and see what the board draws meanwhile.

    Args:
        engines: loaded, with all units run before.
        manifest: of the bundle.
        recorder: of the board's telemetry.
        burst_s: how long for each unit, and for the board at rest.
        progress: told the share that is done, 0..1.

    Returns:
        None when the source tells of no rails that are known to be the whole board, or too seldom.
    """
    first = recorder.next()
    rails = whole(first.rails_w) if first is not None else ()
    if not rails:
        return None
    interval = recorder.source.interval_s
    burst_s = max(burst_s, LAG_S + interval * (READINGS + 2))
    began = clock()
    time.sleep(burst_s)
    at_rest = _power(recorder, began, clock(), rails)
    if at_rest is None:
        return None
    idle_w, idle_readings = at_rest
    # A branch that is fused into the segment before it has no run of its own.
    units = [(index, unit) for index, unit in enumerate(manifest.units) if unit.fused is None]
    found: dict[str, UnitEnergy] = {}
    for done, (index, unit) in enumerate(units):
        runs, began = 0, clock()
        now, until = began, began + burst_s
        while runs == 0 or now < until:
            engines.run(index)
            runs, now = runs + 1, clock()
        drawn = _power(recorder, began, now, rails)
        if drawn is None:
            return None
        power_w, readings = drawn
        run_ms = (now - began) * 1e3 / runs
        found[unit.name] = UnitEnergy(
            mj=power_w * run_ms,
            above_idle_mj=(power_w - idle_w) * run_ms,
            power_w=power_w,
            run_ms=run_ms,
            runs=runs,
            readings=readings,
        )
        progress((done + 1) / len(units))
    return Energy(source=recorder.source.name, rails=rails, idle_w=idle_w, idle_readings=idle_readings, units=found)


def _power(recorder: Recorder, began: float, ended: float, rails: Sequence[str]) -> tuple[float, int] | None:
    """Mean power in that time and the readings it comes from; None when they are too few."""
    readings = recorder.between(began + max(LAG_S, recorder.source.interval_s), ended)
    points = [(r.at, sum(r.rails_w[n] for n in rails)) for r in readings if all(n in r.rails_w for n in rails)]
    if len(points) < LEAST_READINGS:
        return None
    return mean_power_w(points), len(points)


def mean_power_w(points: Sequence[tuple[float, float]]) -> float:
    """Watts on average over the time between the first reading and the last, by the trapezoidal rule.

    Args:
        points: moment in seconds and watts, in the order of time, at least two of different moments.
    """
    steps = list(itertools.pairwise(points))
    joules = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in steps)
    return joules / (points[-1][0] - points[0][0])
