"""Several frames at once on one device, of several cameras for example: which goes first, and how long it may take.

The frame with the shortest slack goes first: what is left of its time after the quickest way to an answer. That way is
the same for all, so this is the frame that is due first, which is the best order there is for frames that all can be in
time. What cannot be in time any more waits until the others are done. A frame may take an even share of the time up to
every deadline behind it: whoever waits keeps at least what its own quickest way needs, and what one frame leaves over
is shared out among the rest.

Where the profile says what batches cost, frames whose budgets are told are answered together when that is expected to
bring more: `jetson.scheduling.batching`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jetson.answer import Answer
from jetson.errors import EngineError, FrameError, OfframpError, StreamsError
from jetson.scheduling.batching import Batching
from jetson.scheduling.budget import Budget, Kind, clock
from jetson.scheduling.induction import Late
from jetson.scheduling.policy import Policy
from jetson.scheduling.ruled import Ruled
from jetson.together import UnfitFrame


class Shared(Budget):
    """One frame's budget while others wait: its own limit, and an end to the time that it may take of theirs."""

    __slots__ = ("_own", "_start", "_until")

    def __init__(self, own: Budget, start: float, until: float) -> None:
        """Limit a budget further.

        Args:
            own: the frame's; it may still be revised or cut.
            start: of its time, in seconds.
            until: the moment at which others need the device.
        """
        self._own, self._start, self._until = own, start, until

    @property
    def origin(self) -> Budget:
        """Its own."""
        return self._own

    @property
    def kind(self) -> Kind:
        """As of its own."""
        return self._own.kind

    @property
    def was_cut(self) -> bool:
        """As of its own."""
        return self._own.was_cut

    @property
    def cut_at(self) -> float:
        """As of its own."""
        return self._own.cut_at

    def deadline(self, start: float) -> float:
        """The earlier of the two moments; the time counts from the call, whenever the frame's turn comes."""
        return min(self._own.deadline(self._start), self._until)


class Turn(NamedTuple):
    """What comes next."""

    frame: int
    until: float
    """The moment, in seconds, at which those that wait need the device; infinite for never."""


class Needs(NamedTuple):
    """Seconds that an answer is expected to take now, preprocessing included."""

    least: float
    """By the quickest way; 0 where nobody knows."""
    most: float
    """By the longest; infinite where nobody knows."""


Share = Callable[[float, Needs, Sequence[float]], float]
"""From the time now, what answers take, and the deadlines still to be met in order, that of the frame whose turn it is
first, to the moment until which this frame may compute; in seconds."""


def even_share(now: float, needs: Needs, deadlines: Sequence[float]) -> float:
    """The same for every frame, as far as deadlines allow, and to none that waits more than it could use."""
    return min(
        deadline - waiting * min((deadline - now) / (waiting + 1), needs.most)
        for waiting, deadline in enumerate(deadlines)
    )


def needs_of(policy: Policy) -> Needs:
    """What answers take, by what the policy has measured of units and believes of the device's pace."""
    if not isinstance(policy, Ruled):
        return Needs(0.0, math.inf)
    rules, paths = policy.rules, policy.paths
    units_ms = rules.profiled_ms.tolist()
    ends = zip(paths.stages, paths.branches, strict=True)
    longest_ms = max(sum(units_ms[s] for s in paths.segments[:n]) + units_ms[branch] for n, branch in ends)
    scale = policy.slowdown / 1e3
    return Needs((rules.before_ms + rules.shortest_ms) * scale, (rules.before_ms + longest_ms) * scale)


def next_turn(budgets: dict[int, Budget], start: float, now: float, needs: Needs, share: Share = even_share) -> Turn:
    """Which of the waiting frames comes next.

    Args:
        budgets: by frame, in the order given.
        start: of the time of all of them.
        now: in seconds.
        needs: what answers take.
        share: how the time is shared out.
    """
    due: list[tuple[float, int]] = []
    for frame, budget in budgets.items():
        if budget.was_cut:
            return Turn(frame, math.inf)  # is answered by the quickest way
        if (deadline := budget.deadline(start)) < math.inf:
            due.append((deadline, frame))
    in_time: list[tuple[float, int]] = []
    for deadline, frame in sorted(due):
        if now + needs.least * (len(in_time) + 1) <= deadline:
            in_time.append((deadline, frame))
    if in_time:
        return Turn(in_time[0][1], share(now, needs, [deadline for deadline, _ in in_time]))
    if due:
        return Turn(min(due)[1], math.inf)
    # A limit that nobody knows may be near; no limit is not.
    return Turn(next((f for f, b in budgets.items() if b.kind == "unknown"), min(budgets)), math.inf)


class InBatches(NamedTuple):
    """How frames are answered together."""

    batching: Batching
    answer: Callable[[Sequence[Any], Sequence[Budget], int, float], list[Answer | EngineError]]
    """Frames, their budgets, the exit and the moment their turn begins; raises as `jetson.batches`."""


class Group(NamedTuple):
    """Frames that come next, together."""

    frames: list[int]
    exit: int


def next_group(
    budgets: dict[int, Budget],
    alone: Collection[int],
    start: float,
    now: float,
    needs: Needs,
    share: Share,
    batching: Batching,
) -> Group | None:
    """The batch that comes next; None for one frame.

    Args:
        budgets: of the frames that wait.
        alone: frames that are not to be answered together with others.
        start: of the time of all of them.
        now: in seconds.
        needs: what answers take.
        share: how the time is shared out when frames are answered one by one.
        batching: decides.
    """
    if len(budgets) < batching.sizes[0] or any(b.was_cut for b in budgets.values()):
        return None
    due = sorted((budget.deadline(start), frame) for frame, budget in budgets.items())
    can = [(deadline, frame) for deadline, frame in due if now + needs.least <= deadline < math.inf]
    fitting = 0
    for _, frame in can:
        if frame in alone or budgets[frame].changes > 0:
            break
        fitting += 1
    deadlines = [deadline for deadline, _ in can]
    batch = batching.choose(now, deadlines, fitting, needs.least, lambda at, left: share(at, needs, left))
    return None if batch is None else Group([frame for _, frame in can[: batch.size]], batch.exit)


def answer_all(
    frames: Sequence[Any],
    budgets: Sequence[Budget],
    start: float,
    policy: Policy,
    answer: Callable[[Any, Budget, float], Answer],
    late: Late,
    share: Share = even_share,
    together: InBatches | None = None,
) -> list[Answer]:
    """Answer frames one by one or in batches, the order chosen anew after each.

    Args:
        frames: what `Runtime.infer` takes.
        budgets: one for each.
        start: of the time of all of them, in seconds.
        policy: that decides within every frame.
        answer: answers one frame: it, its budget as the others leave it, and the moment its turn begins.
        late: whether a late answer counts for nothing, or the best that was in hand in time.
        share: how the time is shared out.
        together: how frames are answered together; None for never.

    Returns:
        The answers in the order of the frames; their times count from `start`.

    Raises:
        StreamsError: a frame does not fit, or no exit could answer it; it holds the others' answers.
    """
    waiting = dict(enumerate(budgets))
    answers: list[Answer | None] = [None] * len(frames)
    errors: dict[int, OfframpError] = {}
    failed: dict[int, str] = {}  # in a batch, of frames that are then answered alone

    def take(frame: int, found: Answer, began: float) -> None:
        deadline = waiting.pop(frame).deadline(start)
        answers[frame] = since_call(found, began - start, deadline - start, late)

    while waiting:
        began, needs = clock(), needs_of(policy)
        group = None
        if together is not None:
            group = next_group(waiting, failed, start, began, needs, share, together.batching)
        if together is not None and group is not None:
            given = [Shared(waiting[f], start, math.inf) for f in group.frames]
            try:
                made = together.answer([frames[f] for f in group.frames], given, group.exit, began)
            except UnfitFrame as unfit:
                errors[group.frames[unfit.place]] = unfit.error
                del waiting[group.frames[unfit.place]]
            except EngineError as error:
                failed |= dict.fromkeys(group.frames, str(error))
                together = None
            else:
                for frame, found in zip(group.frames, made, strict=True):
                    if isinstance(found, Answer):
                        take(frame, found, began)
                    else:
                        failed[frame] = str(found)
            continue
        turn = next_turn(waiting, start, began, needs, share)
        try:
            answer_alone = answer(frames[turn.frame], Shared(waiting[turn.frame], start, turn.until), began)
        except (FrameError, EngineError) as error:
            errors[turn.frame] = error
            del waiting[turn.frame]
        else:
            error_before = answer_alone.error or failed.get(turn.frame)
            take(turn.frame, replace(answer_alone, error=error_before), began)
    if errors:
        raise StreamsError(answers, errors)
    return [a for a in answers if a is not None]


def since_call(answer: Answer, waited: float, limit: float, late: Late) -> Answer:
    """An answer whose times count from its turn, with times that count from the call.

    Args:
        answer: of one frame.
        waited: seconds from the call to its turn.
        limit: seconds from the call to its own deadline; infinite for none.
        late: as of `answer_all`.
    """
    waited_ms, limit_ms = waited * 1e3, limit * 1e3
    elapsed_ms, answered_ms = answer.elapsed_ms + waited_ms, answer.answered_ms + waited_ms
    counts_ms = answered_ms if late == "best-so-far" else elapsed_ms
    known = limit_ms < math.inf
    return replace(
        answer,
        elapsed_ms=elapsed_ms,
        answered_ms=answered_ms,
        waited_ms=waited_ms,
        budget_ms=limit_ms if known else None,
        met_deadline=counts_ms <= limit_ms if known else None,
    )
