"""Profiles beside one another, power mode by power mode: a table, and a chart of every exit's latency in each."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from toolkit.report import svg
from toolkit.report.axes import Axis, level_axis
from toolkit.report.charts import Chart, Size, bar, canvas, chart, group, mark, reach
from toolkit.report.formats import NA, NOT_MEASURED, decimals_for, fixed, milliseconds, moment, significant
from toolkit.report.gather import Run
from toolkit.report.naming import device_name, engine_name, precision_name
from toolkit.report.palette import Style, style_of
from toolkit.report.readings import circumstances, conditions, energy_mj, from_to, power, reading_name
from toolkit.report.svg import px
from toolkit.report.tables import Cell, Table

TOP, LINE, BETWEEN, FOOT = 8.0, 20.0, 14.0, 48.0
HEAD = 20.0


def profile_styles(run: Run) -> list[Style]:
    """How each profile looks, where profiles are drawn beside one another."""
    return [
        Style(m.label, f"profile-{i}", s.colour, s.dash, s.path)
        for i, m in enumerate(run.profiles)
        for s in [style_of(i, m.label)]
    ]


def conditions_table(run: Run) -> Table:
    """A column per profile: what it was measured on, and how the device stood."""
    profiles = [m.profile for m in run.profiles]
    keys = [key for key, _ in conditions(profiles[0].start)]
    rows: list[tuple[str, list[str]]] = [
        ("Device", [device_name(p) for p in profiles]),
        ("Power mode", [p.device.power_mode or NOT_MEASURED for p in profiles]),
        ("Engine", [engine_name(p) for p in profiles]),
        ("Precision", [precision_name(p) for p in profiles]),
        *((f"{reading_name(key)}, start → end", [from_to(p, key) for p in profiles]) for key in keys),
        ("Board power while units run", [power(p) for p in profiles]),
        ("Measured", [moment(p.created) for p in profiles]),
        ("Rounds", [f"{p.exits[0].end_to_end_ms.n:,}" for p in profiles]),
    ]
    styles = profile_styles(run) if len(profiles) > 1 else [None]
    header = (
        Cell("", numeric=False),
        *(Cell(m.label, style=s, numeric=False) for m, s in zip(run.profiles, styles, strict=True)),
    )
    cells = tuple((Cell(name, numeric=False), *(Cell(t, numeric=False) for t in texts)) for name, texts in rows)
    return Table("", header, cells)


def exits_by_profile(run: Run) -> Table:
    """A row per exit; per profile the median, p95 below it, and the energy where the power is known."""
    found = [{e.name: e.end_to_end_ms for e in m.profile.exits} for m in run.profiles]
    energies = [{n: energy_mj(m.profile, n) for n in sketches} for m, sketches in zip(run.profiles, found, strict=True)]
    known = any(e is not None for energy in energies for e in energy.values())
    decimals = decimals_for(s.median for sketches in found for s in sketches.values())
    first = found[0]
    rows = []
    for name in run.names:
        cells = []
        for place, sketches in enumerate(found):
            if name not in sketches:
                cells.append(Cell(NA))
                continue
            median = sketches[name].median
            ratio = (
                f", {significant(median / first[name].median, 2)}×"
                if place and name in first and first[name].median > 0
                else ""
            )
            p95 = fixed(float(sketches[name].quantile(0.95)), decimals)
            cells.append(Cell(fixed(median, decimals), f"p95 {p95}{ratio}"))
        if known:
            cells += [
                Cell(NOT_MEASURED if (mj := energy.get(name)) is None else f"{significant(mj)} mJ")
                for energy in energies
            ]
        rows.append((Cell(name, style=run.styles[name], numeric=False), *cells))
    styles = profile_styles(run) if len(run.profiles) > 1 else [None]
    header = (
        Cell("Exit", numeric=False),
        *(Cell(m.label, "median, ms", style=s) for m, s in zip(run.profiles, styles, strict=True)),
        *(Cell("Energy", m.label) for m in run.profiles if known),
    )
    caption = "Time of an answer when inference goes straight to the exit; below the median the 95% quantile"
    caption += ", and how many times as long as in the first profile." if len(run.profiles) > 1 else "."
    if known:
        caption += (
            " Energy of an answer: what the board's sensors told of the units on the way, or else its mean power while "
            "units run times the exit's mean time."
        )
    else:
        caption += " Energy: not measured, since no profile knows the power that the board draws."
    return Table(caption, header, tuple(rows))


def circumstances_table(run: Run) -> Table | None:
    """Every exit when the device is not warm and idle; None where that was not measured."""
    rows = []
    for m in run.profiles:
        warm = {e.name: e.end_to_end_ms.median for e in m.profile.exits}
        named = [("warm", "as everywhere on this page", warm), *circumstances(m.profile)]
        if len(named) > 1:
            label = f"{m.label}: " if len(run.profiles) > 1 else ""
            rows += [
                (Cell(label + name, what, numeric=False), *(Cell(milliseconds(found.get(n))) for n in run.names))
                for name, what, found in named
            ]
    if not rows:
        return None
    header = (Cell("Circumstances", numeric=False), *(Cell(n, "median", style=run.styles[n]) for n in run.names))
    return Table("", header, tuple(rows))


def profiles_chart(run: Run) -> Chart:
    """Every exit's latency in every profile."""
    told = "Latency of every exit in each profile; the figures are in the table"
    return chart("fig-profiles", told, lambda size: _draw(run, size, told), profile_styles(run))


def _draw(run: Run, size: Size, told: str) -> ET.Element:
    styles = profile_styles(run)
    rows = HEAD + LINE * len(run.profiles) + BETWEEN
    foot = TOP + rows * len(run.names)
    root = canvas(size, foot + FOOT, told)
    sketches = [{e.name: e.end_to_end_ms for e in m.profile.exits} for m in run.profiles]
    high = max(float(s.quantile(0.99)) for found in sketches for s in found.values())
    x = Axis(0.0, 1.02 * high, 8.0, size.right - 74)
    level_axis(root, x, foot, TOP, "time of an answer, ms", 4 if size.small else 8)
    for place, name in enumerate(run.names):
        top = TOP + rows * place
        svg.text(root, name, 14, top + 14, "strong")
        for number, (m, style, found) in enumerate(zip(run.profiles, styles, sketches, strict=True)):
            if name not in found:
                continue
            s, y = found[name], top + HEAD + LINE * (number + 0.5)
            levels = (("p5", 0.05), ("median", 0.5), ("p95", 0.95), ("p99", 0.99))
            lines = [f"{word} {milliseconds(float(s.quantile(level)))}" for word, level in levels]
            energy = energy_mj(m.profile, name)
            lines.append("energy " + (NOT_MEASURED if energy is None else f"{significant(energy)} mJ"))
            part = group(root, style.group, "\n".join([f"{name}, {m.label}", *lines]))
            reach(part, 0, y - LINE / 2, size.width, LINE)
            start, end = (x.at(float(s.quantile(level))) for level in (0.05, 0.95))
            bar(part, start, y - 3, max(1.0, end - start), 6, style.colour, 0.5)
            mark(part, style, x.at(s.median), y)
            svg.text(part, milliseconds(s.median), size.right, y + 4, "name", anchor="end")
    svg.path(root, f"M{px(8)} {px(TOP)}V{px(foot)}", "axis")
    return root
