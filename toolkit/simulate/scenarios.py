"""Courses of budgets and of a device's pace, made up and reproducible: the same seed gives the same frames.

Budgets are drawn relative to the profile: evenly on a logarithmic scale from a little under the quickest exit's time to
a little over the deepest one's, times the pace that is usual in the scenario. They drift from frame to frame, as a
random walk between both ends does. A frame begins when the budget of the one before is over, unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from jetson.errors import BadInput
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.trace import FrameBudget

Floats = npt.NDArray[np.float64]

UNDER, OVER = 0.9, 1.15
"""Budgets reach so far below the quickest exit's median and above the deepest one's."""
DRIFT = 0.12
"""Of a budget from frame to frame: a standard deviation, as a share of the range."""
REVISED_SHARE, UPWARD_SHARE = 0.4, 0.2
"""Of frames that are revised, and of those the ones that are given more time."""


@dataclass(frozen=True)
class Scenario:
    """What n frames meet, whatever answers them. Times in milliseconds."""

    name: str
    t_ms: Floats
    """(n,): when each frame begins."""
    budget_ms: Floats
    gap_ms: Floats
    """(n,): pause before the frame; NaN for what the answer before left of its time."""
    revise_at_ms: Floats
    """(n,): when, from the frame's start, the budget becomes another; NaN for never."""
    revised_ms: Floats
    hidden: npt.NDArray[np.bool_]
    """(n,): the budget is not told; the answer in hand counts when it is over."""
    wake: Floats
    """(n,): by what share the frame's first unit takes longer; less for every further unit."""
    change_ms: Floats
    """(m,): moments at which the pace changes, also within a frame; the first is minus infinity."""
    pace: Floats
    """(m,): from then on, over the profile's."""
    spikes: float = 0.0
    """Share of units that take 3 to 10 times as long."""
    heat: tuple[float, float, float, float] = (0.0, 1.0, 1.0, 1.0)
    """Time constant, heat at which throttling begins, at which it ends, and how slow it makes; heat goes to the share
    of time spent computing, so that it depends on the policy. A time constant of 0 for none."""

    def __len__(self) -> int:
        return len(self.t_ms)

    def slowdown(self, t_ms: Floats) -> Floats:
        """The pace at these moments, but for heat, pauses and spikes."""
        found: Floats = self.pace[np.searchsorted(self.change_ms, t_ms, side="right") - 1]
        return found

    def trace(self) -> list[FrameBudget]:
        """The budgets alone."""
        return [
            FrameBudget(t, b, *((None, None) if math.isnan(at) else (at, to)))
            for t, b, at, to in zip(
                *(x.tolist() for x in (self.t_ms, self.budget_ms, self.revise_at_ms, self.revised_ms)), strict=True
            )
        ]


def check_name(name: str) -> None:
    """Refuse a name of no scenario.

    Raises:
        BadInput: the message lists those there are.
    """
    if name not in _MAKERS:
        raise BadInput(f"no scenario is called {name!r}; there are {', '.join(NAMES)}")


def make(name: str, profile: LatencyProfile, frames: int, rng: np.random.Generator) -> Scenario:
    """The scenario called so.

    Args:
        name: one of `NAMES`.
        profile: that budgets are relative to.
        frames: how many.
        rng: decides everything.

    Raises:
        BadInput: there is none of that name.
    """
    check_name(name)
    medians = [e.end_to_end_ms.median for e in profile.exits]
    return _MAKERS[name](_Range(max(UNDER * min(medians), 1e-6), OVER * max(*medians, 1e-6)), frames, rng)


def from_trace(trace: Sequence[FrameBudget], frames: int | None = None) -> Scenario:
    """The budgets of a trace, on a device that runs as profiled; begun again when more frames are asked for."""
    n = frames or len(trace)
    index = np.arange(n)
    rounds, lines = index // len(trace), index % len(trace)
    t, budget, at, to = (
        np.array([math.nan if v is None else v for v in column], np.float64)[lines]
        for column in zip(*((f.t_ms, f.budget_ms, f.revise_at_ms, f.revised_ms) for f in trace), strict=True)
    )
    last = trace[-1]
    period = last.t_ms - trace[0].t_ms + (last.final_ms if math.isfinite(last.final_ms) else 0.0)
    plain = _plain("trace", budget, t + rounds * period)
    return replace(plain, revise_at_ms=at, revised_ms=to)


@dataclass(frozen=True)
class _Range:
    low_ms: float
    high_ms: float

    def at(self, share: Floats, slower: float = 1.0) -> Floats:
        """Evenly on a logarithmic scale, on a device that is usually so much slower."""
        found: Floats = slower * self.low_ms * (self.high_ms / self.low_ms) ** share
        return found


def _plain(name: str, budget_ms: Floats, t_ms: Floats | None = None) -> Scenario:
    n = len(budget_ms)
    never = np.full(n, math.nan)
    return Scenario(
        name=name,
        t_ms=np.concatenate([[0.0], np.cumsum(budget_ms[:-1])]) if t_ms is None else t_ms,
        budget_ms=budget_ms,
        gap_ms=never,
        revise_at_ms=never,
        revised_ms=never,
        hidden=np.zeros(n, np.bool_),
        wake=np.zeros(n),
        change_ms=np.array([-math.inf]),
        pace=np.ones(1),
    )


def _drift(n: int, rng: np.random.Generator, step: float = DRIFT) -> Floats:
    """A random walk that turns round at 0 and 1: every value between is as likely."""
    path = 2.0 * rng.random() + np.cumsum(rng.normal(0.0, step, n))
    return np.abs(path % 2.0 - 1.0)


def _stationary(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """A device as profiled."""
    return _plain("stationary", span.at(_drift(n, rng)))


def _ramp(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """The pace goes evenly from 1 to 2.5 times as slow and back, once."""
    plain = _plain("ramp", span.at(_drift(n, rng), 1.5))
    return _with_pace(plain, plain.t_ms, 1.0 + 1.5 * (1.0 - np.abs(np.linspace(-1.0, 1.0, n))))


def _thermal(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """Throttled to 1.6 times as slow at 65 % of time spent computing, until it is under 50 %; over 150 frames' time."""
    plain = _plain("thermal", span.at(_drift(n, rng), 1.3))
    return replace(plain, heat=(150.0 * float(plain.budget_ms.mean()), 0.65, 0.5, 1.6))


def _contention(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """Bursts of 1.6 to 3 times as slow, 30 frames long on average, with 60 between; they begin in mid-frame."""
    plain = _plain("contention", span.at(_drift(n, rng), 1.3))
    frame, end = float(plain.budget_ms.mean()), float(plain.t_ms[-1])
    bursts = int(end / (90.0 * frame)) * 2 + 20
    lengths = rng.exponential(frame, (bursts, 2)) * (60.0, 30.0)
    moments = np.cumsum(lengths.ravel())
    factors = np.ones((bursts, 2))
    factors[:, 0] = rng.uniform(1.6, 3.0, bursts)
    return _with_pace(plain, moments, factors.ravel())


def _spikes(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """2 to 5 % of units take 3 to 10 times as long."""
    return replace(_plain("spikes", span.at(_drift(n, rng), 1.1)), spikes=float(rng.uniform(0.02, 0.05)))


def _idle(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """Every fifth frame or so comes after a pause of 1 ms to 3 s; the longer it was, the slower the first units are.

    The first takes 2 to 3 times as long, the second a third of that extra time, and so on. Otherwise a frame begins
    when the one before is answered.
    """
    budget = span.at(_drift(n, rng), 1.1)
    exponent = rng.random(n)
    paused = rng.random(n) < 0.2
    gap = np.where(paused, 3000.0**exponent, 0.0)
    plain = _plain("idle", budget, np.cumsum(gap + np.concatenate([[0.0], budget[:-1]])))
    noise = rng.uniform(-0.15, 0.15, n)
    return replace(plain, gap_ms=gap, wake=np.where(paused, 1.15 + 0.7 * exponent + noise, 0.0))


def _revised(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """4 frames in 10 are revised on the way, of those 8 in 10 to 0.3 to 0.8 of their budget, the others to up to twice.

    The moment is anywhere before the earlier of both ends.
    """
    plain = _plain("revised", span.at(_drift(n, rng), 1.2))
    upward = rng.random(n) < UPWARD_SHARE
    factor = np.where(upward, rng.uniform(1.25, 2.0, n), rng.uniform(0.3, 0.8, n))
    at = rng.random(n) * np.minimum(factor, 1.0) * plain.budget_ms
    kept = rng.random(n) >= REVISED_SHARE
    to = np.where(kept, math.nan, factor * plain.budget_ms)
    return replace(plain, revise_at_ms=np.where(kept, math.nan, at), revised_ms=to)


def _hidden(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """Nobody tells the budget; inference is cut when it is over."""
    return hide(_plain("hidden", span.at(_drift(n, rng))))


def _wrong_mode(name: str, factor: float) -> Callable[[_Range, int, np.random.Generator], Scenario]:
    def made(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
        plain = _plain(name, span.at(_drift(n, rng), factor))
        return replace(plain, pace=np.full(1, factor))

    return made


def _adversarial(span: _Range, n: int, rng: np.random.Generator) -> Scenario:
    """The pace changes between 1 and 2.2 in the middle of every 12th frame, when filters have settled.

    The two frames after are given about what the quickest exits need at the new pace.
    """
    changing = np.arange(n) % 12 == 0
    slow = (np.arange(n) // 12) % 2 == 0
    after = (np.arange(n) % 12 == 1) | (np.arange(n) % 12 == 2)
    share = np.where(after, 0.1 + 0.25 * rng.random(n), 0.3 + 0.7 * _drift(n, rng))
    plain = _plain("adversarial", span.at(share) * np.where(slow, 2.2, 1.1))
    moments = plain.t_ms[changing] + 0.5 * span.low_ms
    return _with_pace(plain, moments, np.where(slow[changing], 2.2, 1.0))


def _with_pace(plain: Scenario, moments: Floats, pace: Floats) -> Scenario:
    return replace(
        plain, change_ms=np.concatenate([[-math.inf], moments]), pace=np.concatenate([[1.0], pace]).astype(np.float64)
    )


def hide(scenario: Scenario) -> Scenario:
    """The same, but nobody tells the budgets, nor their revisions: they end when the last of them does."""
    revised = np.isnan(scenario.revised_ms)
    final = np.where(revised, scenario.budget_ms, scenario.revised_ms)
    never = np.full(len(scenario), math.nan)
    return replace(
        scenario,
        budget_ms=final,
        revise_at_ms=never,
        revised_ms=never,
        hidden=np.ones(len(scenario), np.bool_),
    )


_MAKERS: dict[str, Callable[[_Range, int, np.random.Generator], Scenario]] = {
    "stationary": _stationary,
    "ramp": _ramp,
    "thermal": _thermal,
    "contention": _contention,
    "spikes": _spikes,
    "idle": _idle,
    "revised": _revised,
    "hidden": _hidden,
    "wrong-mode": _wrong_mode("wrong-mode", 1.7),
    "wrong-mode-fast": _wrong_mode("wrong-mode-fast", 0.7),
    "adversarial": _adversarial,
}
NAMES = tuple(_MAKERS)
