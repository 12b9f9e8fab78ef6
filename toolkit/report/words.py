"""What the report's terms mean, in plain words; those that a page does not use are left out."""

from __future__ import annotations

ALWAYS = (
    (
        "Backbone, segment, branch, exit",
        "The Vision Transformer is the backbone. It is cut into segments; behind a cut a small network, the branch, "
        "reads what the backbone knows so far and answers. Exit k: the segments up to the cut, then its branch.",
    ),
    ("Unit", "A segment or a branch: one file, one engine of its own."),
    (
        "Budget, late, miss rate",
        "The budget is the time an answer may take. An answer after it is late. The miss rate counts late answers "
        "among the budgets that the quickest exit can meet; the others are infeasible and counted apart.",
    ),
    (
        "Median, p95, quantile",
        "Half of all rounds took no longer than the median, 95% no longer than p95 (the 95% quantile).",
    ),
    (
        "Host time, end to end",
        "Host time: in the engine, from the call until the output is written. End to end: from the frame as an "
        "array to the answer as an array.",
    ),
)
CLASSIFY = (
    ("Accuracy", "The share of images that are answered rightly."),
    (
        "acc@D",
        "Right and in time: the share of all frames that were answered rightly within their budget (D: deadline).",
    ),
    (
        "Calibration, expected calibration error (ECE)",
        "An exit is calibrated when, of the answers of which it says “90% sure”, 90% are right. The error is how far "
        "it is off, on average over bins of stated probability.",
    ),
    (
        "Posterior",
        "The probability that an answer is right, given what all exits so far have said; the planner goes by it.",
    ),
)
REGRESS = (
    (
        "Mean absolute error",
        "How far off answers are on average, in the unit of what is estimated; lower is better.",
    ),
    (
        "Interval (split conformal)",
        "An answer plus or minus its half width holds the truth as often as its level says.",
    ),
)
PRECISE = (
    (
        "Precision: fp32, fp16, int8",
        "How many bits a number has in a unit: 32, 16 or 8. Fewer are smaller and mostly faster, and may cost quality. "
        "int8-fp16: products in int8, the rest in fp16. The gate keeps a unit out of int8 that costs too much.",
    ),
)
PLANNED = (
    (
        "Planner, policy, oracle",
        "A policy decides at each boundary whether to go on or to stop; the planner is the one that the runtime uses "
        "unless told otherwise. An oracle knows beforehand what no policy can know, and is a bound to compare with.",
    ),
    (
        "Slowdown",
        "The factor by which the device is slower now than when it was profiled, as far as the scheduler can tell.",
    ),
)


def glossary(classify: bool, precise: bool, planned: bool) -> list[tuple[str, str]]:
    """The words of a page.

    Args:
        classify: answers are classes.
        precise: precisions are compared.
        planned: there is a planner.
    """
    found = [*ALWAYS, *(CLASSIFY if classify else REGRESS)]
    return [*found, *(PRECISE if precise else ()), *(PLANNED if planned else ())]
