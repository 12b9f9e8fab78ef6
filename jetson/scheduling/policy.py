"""The interface between runtime and scheduler, and the simplest policies behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from jetson.scheduling.paths import Paths
from jetson.scheduling.rules import ADVANCE, STOP

__all__ = ["ADVANCE", "END", "STOP", "EveryExit", "FrameEnd", "Policy", "State", "StaticExit", "Untimed"]


END = -1
"""In place of a unit that was foreseen: nothing more is to run, and the answer in hand counts."""

Step = tuple[int, float, float, float, float]
"""The unit that comes next or `END`; how many seconds, least and most, the unit before took, from boundary to boundary,
if that is certain, and how many since the frame began are least and most by then."""


@dataclass(slots=True)
class State:
    """What a policy sees at a boundary. The runtime reuses one object; a policy must not keep it."""

    stage: int = 0
    """Segments run so far."""
    answered: int = -1
    """The exit in hand (0-based), -1 for none."""
    confidence: float = math.nan
    """Of the answer in hand; NaN when there is none or in regression."""
    said: float = math.nan
    """What the answer in hand says of itself: the logit of its confidence, or in regression its first output."""
    remaining_ms: float = math.inf
    """Time left; infinite without a limit, negative when it has passed."""
    elapsed_ms: float = 0.0
    """Since the frame began."""
    known: bool = True
    """False when there is a limit that nobody knows."""


class Foreseen(Protocol):
    """What follows a decision."""

    @property
    def steps(self) -> Sequence[Step]:
        """May change when `holds` is asked."""
        ...

    def holds(self, ran: Sequence[tuple[int, float, float, float]], start: float) -> bool:
        """Whether the next step is to be taken all the same where it is not certain.

        Args:
            ran: of every unit since the decision its index, the boundary before it, when it began and when it ended, in
                seconds.
            start: of the frame.
        """
        ...


class FrameEnd(NamedTuple):
    """How a frame went, for a policy that learns; milliseconds from its start."""

    budget_ms: float
    """As it was told at first; infinite without a limit."""
    final_ms: float
    """As it stood at the end."""
    elapsed_ms: float
    """When the answer was given; of a budget that nobody knew and that ran out, when it did."""
    revised_at_ms: float
    """When the budget was seen to be another, or one that nobody knew to have run out; infinite for never."""
    known: bool


class Quiet:
    """What a policy does that neither estimates nor learns anything."""

    slowdown = 1.0
    notice: str | None = None

    def begin(self, gap_ms: float) -> None:
        """Nothing changes."""

    def commit(self, state: State) -> int | None:
        """Never: what comes next is decided at every boundary."""
        return None

    def foresee(self, state: State, action: int, through_answers: bool) -> Foreseen | None:
        """Nothing: what comes next is decided at every boundary."""
        return None

    def observe(self, unit: int, elapsed_ms: float | None, gpu_ms: float | None = None, unread: bool = False) -> None:
        """Nothing is learnt."""

    def finish(self, end: FrameEnd) -> None:
        """Nothing is learnt."""


class Policy(Protocol):
    """Chooses what runs next."""

    name: str

    def begin(self, gap_ms: float) -> None:
        """Be told that a frame begins, so long after the last answer; infinite for the first."""
        ...

    def decide(self, state: State) -> int:
        """An action for this boundary: an exit's index, `ADVANCE` or `STOP`."""
        ...

    def commit(self, state: State) -> int | None:
        """The exit to run straight to, when nothing seen on the way would change that; None to decide at boundaries.

        An engine that runs ahead of the host is then given the whole path at once.
        """
        ...

    def foresee(self, state: State, action: int, through_answers: bool) -> Foreseen | None:
        """What follows the action just decided on, step by step; None when nothing can be told.

        The policy is then told of those units when it is asked again, or the frame has ended.

        Args:
            state: as in the decision.
            action: what was decided: to run a unit.
            through_answers: whether to look on behind a branch whose answer has not been read.
        """
        ...

    def observe(self, unit: int, elapsed_ms: float | None, gpu_ms: float | None = None, unread: bool = False) -> None:
        """Be told what a unit (by index) took.

        Args:
            unit: its index.
            elapsed_ms: from boundary to boundary; None when the unit was enqueued together with others.
            gpu_ms: on the GPU; None without one.
            unread: a branch whose answer was not read at once, which belongs to its time in the profile.
        """
        ...

    def finish(self, end: FrameEnd) -> None:
        """Be told how a frame went."""
        ...

    @property
    def slowdown(self) -> float:
        """How much slower than profiled the policy believes the device to be; 1 when it does not estimate it."""
        ...

    @property
    def notice(self) -> str | None:
        """What the user should know about the device; None for nothing."""
        ...


class StaticExit(Quiet):
    """Always the same exit, whatever the budget. A baseline, and how `profile` measures an exit's own path."""

    def __init__(self, paths: Paths, exit_: int) -> None:
        self.name = f"static-{exit_ + 1}"
        self._stages = paths.stages
        self.exit = exit_

    def decide(self, state: State) -> int:
        """Straight to the exit."""
        if state.answered == self.exit:
            return STOP
        return self.exit if state.stage == self._stages[self.exit] else ADVANCE

    def commit(self, state: State) -> int | None:
        """Always."""
        return self.exit


class EveryExit(Quiet):
    """Every branch on the way to the end: how `profile` measures all units in one frame."""

    name = "every-exit"

    def __init__(self, paths: Paths) -> None:
        self._stages = paths.stages

    def decide(self, state: State) -> int:
        """The next branch of this stage, else the next segment."""
        following = state.answered + 1
        if following == len(self._stages):
            return STOP
        return following if self._stages[following] == state.stage else ADVANCE


class Untimed(Quiet):
    """What can be done without a profile: straight to the last exit, or every exit when the limit is unknown."""

    name = "untimed"

    def __init__(self, paths: Paths) -> None:
        self._straight = StaticExit(paths, len(paths.stages) - 1)
        self._every = EveryExit(paths)

    def decide(self, state: State) -> int:
        """The last exit, or the next one."""
        return (self._straight if state.known else self._every).decide(state)

    def commit(self, state: State) -> int | None:
        """The last exit, unless there is a limit."""
        return (self._straight if state.known else self._every).commit(state)
