"""Whether the probabilities that a bundle states come true, and how far that is luck of which images judged it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from benchmarks.int8_table import Errors, Stated
from calibration.beliefs import Beliefs, ExitBeliefs, HeldOut, add_reliability, learn_beliefs
from calibration.outputs import collect_outputs
from jetson.beliefs import Joint, Reliability
from jetson.bundle import Bundle
from jetson.engines import Engines
from toolkit.data.dataset import Part

DIVISIONS = 100
DIGITS = 6
Form = Literal["fp32", "int8"]


def held_out(outputs: np.ndarray, part: Part) -> HeldOut:
    """A part as the units answered it."""
    assert part.targets is not None, "roles of a data set have targets"
    return HeldOut(outputs, part.targets)


def confidence(bundle: Bundle, base: Engines, parts: Mapping[str, Part], test: Mapping[Form, HeldOut]) -> Stated:
    """Hold what a classifier states with no answer in hand against its test images.

    Args:
        bundle: whose temperatures and posteriors are meant.
        base: its units in fp32.
        parts: by role.
        test: the test images as the units answered them, in fp32 and where there is int8 in that.
    """
    # The build took as many images of each role as judged an exit, or all there were.
    judged = bundle.manifest.exits[0].quality[0].n
    most = judged if judged < len(parts["select"]) else len(parts["fit"])
    held = {}
    for role in ("fit", "select"):
        part = parts[role].head(most)
        held[role] = held_out(collect_outputs(bundle.manifest, base, part.images), part)
    beliefs = tuple(ExitBeliefs(e.temperature, e.posterior, e.interval, ()) for e in bundle.manifest.exits)
    learnt = Beliefs(beliefs, Joint(split="", edges=(), n=(), value=()))
    return Stated(
        fitted=len(held["fit"].targets),
        exits={form: _on(learnt, outputs) for form, outputs in test.items()},
        divided=dealt_anew(held | {"test": test["fp32"]}),
    )


def dealt_anew(held: Mapping[str, HeldOut]) -> tuple[Errors, ...]:
    """Learn and judge again and again, the same images being dealt to fit, select and test by chance.

    Args:
        held: by role; how many images each has stays as it is.

    Returns:
        By exit the expected calibration error on what was dealt to test.
    """
    outputs, targets = (np.concatenate([getattr(h, name) for h in held.values()]) for name in ("outputs", "targets"))
    ends = np.cumsum([len(h.targets) for h in held.values()])[:-1]
    rng, found = np.random.default_rng(0), []
    for _ in range(DIVISIONS):
        dealt = [HeldOut(outputs[i], targets[i]) for i in np.split(rng.permutation(len(targets)), ends)]
        fit, select, test = dealt
        found.append([r.after for r in _on(learn_beliefs("classification", fit, select), test)])
    errors = np.array(found)
    figures = zip(errors.mean(axis=0), errors.std(axis=0, ddof=1), strict=True)
    return tuple(Errors(mean=round(float(m), DIGITS), deviation=round(float(d), DIGITS)) for m, d in figures)


def _on(beliefs: Beliefs, test: HeldOut) -> tuple[Reliability, ...]:
    """By exit what `test` says of the probabilities stated."""
    return tuple(e.reliability[-1] for e in add_reliability(beliefs, test).exits)
