"""What a policy remembers from unit to unit and frame to frame: one array of float64, by these places.

Rules of decision are plain functions over numbers and arrays, so that the very code which a device runs can be compiled
for a simulation of millions of frames. An array is what both sides can hold.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LOG = 0
"""Logarithm of the slowdown."""
VARIANCE = 1
"""How unsure that is."""
STREAK = 2
"""Surprising units in a row, with the sign of their surprise."""
BOOST = 3
"""What the pause before this frame still adds to the logarithm; halves with every unit."""
PAUSE = 4
"""Which of `PAUSES` kinds of pause came before this frame."""
FIRST = 5
"""1 until the frame's first unit has run."""
TAU = 6
"""Logarithm of the factor by which time is taken for shorter than it is, so that promises hold; under `least_tau` it is
credit, and that counts."""
IDLE = 7
"""Where the effect of each kind of pause stands."""
PAUSES = 5
SEEN = 12
"""Units that ran."""
LEVEL = 13
"""Slow mean of the logarithm of measured over profiled time."""
SPREAD = 14
"""Slow mean of its squared distance from there."""
TARGET = 15
"""The exit that a policy which decides once a frame has chosen; -1 before it has."""
KALMAN = 16
"""Mean, variance and process noise of the slowdown in ALERT's filter."""
FRAMES = 19
"""Frames that ended, the older the less."""
REVISED = 20
"""Revisions seen in them."""
EXPOSED = 21
"""In how much time a revision could have come: by how many powers of e the time left shrank."""
RATIOS = 22
"""Where the histogram of time left after over time left before a revision stands."""
RATIO_BINS = 16
CUTS = 38
"""Where the histogram of moments stands at which a budget that nobody knew ran out."""
LEFT = 102
"""The same of moments at which such a frame was answered before that: it ran out later."""
CUT_BINS = 64
HELD = 166
"""The logarithm that was last held for a spike."""
PROFILED = 167
"""What the units of this frame take together as profiled, milliseconds."""
STALLED = 168
"""Stalls of late: units that took much longer than those before and after them,"""
STALLED_MS = 169
"""what they lost together, as profiled,"""
RAN_MS = 170
"""and the milliseconds, as profiled, in which they were seen."""
PENDING_MS = 171
"""What the last unit lost, when that may have been a stall; 0 when it was none."""
STALL_LEVEL = 172
"""Which of the tables holds for stalls as frequent as these."""
DEADLINE = 173
"""Of this frame as it was told first, milliseconds from its start; negative before."""
TOOK = 174
"""What they took in this frame, milliseconds."""
BEGAN = 175
"""Logarithm of the slowdown when this frame began."""
BEFORE_MS = 176
"""When the last budget that nobody knew ran out, from its frame's start; infinite when it was answered before that,
negative before there was one."""
HIDDEN_LEVEL = 177
"""Which of the tables for unknown budgets holds: 0 for any, else 1 and more for what came before."""
AFTER = 178
"""Where moments stand again, by what came before: for each kind the histograms of `CUTS` and `LEFT`."""
AFTER_KINDS = 12
"""Ends of the budget before, on a logarithmic scale; the last kind is for one that had not run out."""
SIZE = AFTER + AFTER_KINDS * 2 * CUT_BINS


def blank() -> npt.NDArray[np.float64]:
    """What is remembered before the first frame."""
    memory = np.zeros(SIZE)
    memory[VARIANCE] = 0.04
    memory[TARGET] = -1.0
    memory[BEFORE_MS] = -1.0
    memory[KALMAN : KALMAN + 3] = (1.0, 0.1, 0.1)
    return memory
