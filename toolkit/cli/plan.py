"""`offramp plan`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson.bundle import Bundle
from jetson.errors import BadInput
from jetson.files import check_writable
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.budget import Budget
from jetson.scheduling.induction import Late, Prices, check_prices
from jetson.scheduling.memory import LOG
from toolkit.cli.console import out, print_json, print_table, say
from toolkit.cli.options import BUNDLE, JSON, LIKE, PRICE_PER_MJ, expected_budgets

if TYPE_CHECKING:
    from toolkit.report.plan_view import PlanView

SLOWEST = 100.0
LATE = "What happens to an answer that is not finished in time: it is lost, or the one before it counts."


@click.command("plan")
@BUNDLE
@click.option(
    "--profile", "profile_file", required=True, type=click.Path(path_type=Path), help="Of BUNDLE, any device."
)
@click.option("--budget-ms", help="One or several, with commas [default: three across the profile's range].")
@click.option("--hidden", is_flag=True, help="Nobody tells the planner the budget; without --budget-ms it is unknown.")
@LIKE
@click.option("--miss-rate", type=click.FloatRange(0, 1, True, True), help="What the planner is to promise.")
@click.option("--price-per-ms", default=0.0, show_default=True, help="Of computing, in right answers.")
@PRICE_PER_MJ
@click.option("--late", default="lost", show_default=True, type=click.Choice(["lost", "best-so-far"]), help=LATE)
@click.option("--slowdown", default=1.0, show_default=True, help="The device is so many times as slow as profiled.")
@click.option("--out", "file", type=click.Path(path_type=Path), help="Draw it too: a file that ends in .html or .svg.")
@JSON
def command(
    bundle: Path,
    profile_file: Path,
    budget_ms: str | None,
    hidden: bool,
    like: Path | None,
    miss_rate: float | None,
    price_per_ms: float,
    price_per_mj: float,
    late: Late,
    slowdown: float,
    file: Path | None,
    as_json: bool,
) -> None:
    """Tell what the planner would do with BUNDLE within a budget, what is to be expected of it, and why.

    Nothing of BUNDLE runs, so the profile may come from any device. The figures follow the planner's own tables
    forward, for a device that goes on at one pace.
    """
    from jetson.scheduling.planner import Planner
    from toolkit.report.gather import check_profile
    from toolkit.report.plan_page import check_ending, write_plan
    from toolkit.report.plan_view import plan_view, usual_budgets

    budgets = _budgets(budget_ms)
    _check(miss_rate, slowdown)
    check_prices(price_per_ms, price_per_mj)
    expected = expected_budgets(like, hidden)
    if file is not None:
        check_ending(file)
        check_writable(file)
    opened, profile = Bundle.open(bundle, verify=False), LatencyProfile.load(profile_file)
    check_profile(profile_file, profile, opened.manifest, bundle)
    prices = Prices.of(profile, price_per_ms, price_per_mj)
    planner = Planner.of(opened, profile, miss_rate=miss_rate, prices=prices, late=late, budgets_ms=expected)
    planner.memory[LOG] = math.log(slowdown)
    if not budgets and not hidden:
        budgets = [float(f"{slowdown * ms:.3g}") for ms in usual_budgets(profile)]
        say(f"no budgets given: {', '.join(f'{ms:g}' for ms in budgets)} ms are taken")
    view = plan_view(planner, budgets, hidden)
    if file is not None:
        write_plan(view, file, f"What the planner does: {opened.path.resolve().name}")
        say(f"plan -> {file}")
    if as_json:
        print_json(_data(view, miss_rate))
    else:
        _show(view)


def _budgets(text: str | None) -> list[float]:
    if text is None:
        return []
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        raise BadInput(f"--budget-ms {text!r}: give milliseconds, several with commas, e.g. 5,10,33") from None
    for ms in found:
        Budget.within(ms)
    return found


def _check(miss_rate: float | None, slowdown: float) -> None:
    if miss_rate is not None and math.isnan(miss_rate):
        raise BadInput("--miss-rate: a promised miss rate lies between 0 and 1, not at nan")
    if not 1.0 / SLOWEST <= slowdown <= SLOWEST:
        raise BadInput(f"--slowdown: a device is {1 / SLOWEST:g} to {SLOWEST:g} times as slow, not {slowdown:g}")


def _data(view: PlanView, miss_rate: float | None) -> dict[str, Any]:
    planner, first = view.planner, view.told[0]
    return {
        "task": view.manifest.task,
        "hidden": view.hidden,
        "miss_rate": miss_rate,
        "tau": first.tau,
        "slowdown": first.slowdown,
        "late": planner.late,
        "price_per_ms": planner.prices.per_ms,
        "looks": first.looks,
        "budgets": [told.to_dict() for told in view.told],
    }


def _show(view: PlanView) -> None:
    """Table, remarks, reasons and picture, on stdout."""
    from toolkit.cli.plan_text import text_picture
    from toolkit.report.plan_view import plan_table, remarks

    table = plan_table(view)
    columns = [c.text + (" (ms)" if "ms" in c.note else "") for c in table.header]
    print_table("Within a budget", columns, [[c.text for c in row] for row in table.rows])
    for words in (table.caption, *remarks(view)):
        out.print(words, markup=False)
    for line in ("", *view.told[0].text().splitlines(), "", *text_picture(view, out.width)):
        out.print(line, markup=False)
