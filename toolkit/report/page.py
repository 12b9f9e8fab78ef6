"""The page: charts, diagram and tables put into one HTML file that asks nothing of a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from jetson.errors import missing_extra
from jetson.files import check_writable, write_file
from jetson.scheduling.planner import Planner
from toolkit.report import (
    comparison_table,
    confidence_tables,
    facts,
    joint_tables,
    precision_tables,
    reliability_panels,
    tables,
)
from toolkit.report.charts import Chart
from toolkit.report.comparison import Comparison
from toolkit.report.diagram import cut_diagram
from toolkit.report.frame_charts import SVG_POINTS, frames_chart, used_chart
from toolkit.report.gather import Run, gather
from toolkit.report.history_chart import history_chart
from toolkit.report.latency_chart import latency_chart
from toolkit.report.plan_page import Section, section
from toolkit.report.plan_view import plan_view, usual_budgets
from toolkit.report.quality_chart import quality_chart

HERE = Path(__file__).parent
STYLES = ("colours.css", "report.css", "diagram.css", "confidence.css", "plan.css", "comparison.css", "print.css")
SCRIPTS = ("report.js", "choice.js")
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
Compare = Callable[[Run], Comparison | None]
"""Simulates policies on a run; None where that cannot be done."""


def write_report(run: Path, out: Path | None = None, compare: Compare | None = None) -> Path:
    """Write the report of a run as one self-contained HTML file.

    Args:
        run: folder with `bundle/` and `profile.json`; `frames.jsonl` and `checkpoint/training.json` if there are any.
        out: where the page goes; `report.html` in the run folder by default.
        compare: gives the comparison of policies; without it the page has no such section.

    Returns:
        The page's path. The same run always gives the same bytes.

    Raises:
        MissingExtra: plotly or jinja2 is not installed.
        BadInput: `run` is not a run, or one of its files cannot be used (BundleError, ProfileError, DataError).
        StorageError: a file cannot be read, or the page cannot be written.
    """
    _plotly()
    gathered, path = gather(run), run / "report.html" if out is None else out
    check_writable(path)
    write_file(path, render(gathered, compare))
    return path


def render(run: Run, compare: Compare | None = None) -> str:
    """The page of `run` as text.

    Args:
        run: as it was gathered.
        compare: as in `write_report`.

    Raises:
        MissingExtra: plotly or jinja2 is not installed.
    """
    plotly = _plotly()
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError:
        raise missing_extra("jinja2", "report") from None
    compared = compare(run) if compare is not None else None
    shown = charts(run)
    driver = "\n".join(_asset(name) for name in SCRIPTS)
    webgl = run.frames is not None and len(run.frames.frames) > SVG_POINTS
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        run=run,
        manifest=run.manifest,
        styles=run.styles,
        facts=facts,
        tables=tables,
        reliability=reliability_panels,
        confidence=confidence_tables,
        joint=joint_tables,
        precision=precision_tables,
        charts=shown,
        webgl=webgl,
        diagram=Markup(cut_diagram(run)),
        plan=plan(run),
        comparison=comparison_table.section(compared) if compared is not None else None,
        css=Markup("\n".join(_asset(name) for name in STYLES)),
        plotly=Markup(plotly),
        driver=Markup(driver),
        specs=Markup(embedded_json({name: chart.spec() for name, chart in shown.items()})),
        policy=_policy(plotly, driver, webgl=webgl),
    )


def plan(run: Run) -> Section:
    """What the planner would do on the device that was profiled, within three budgets."""
    planner = Planner(run.manifest, run.profile, run.samples)
    return section(plan_view(planner, usual_budgets(run.profile)))


def charts(run: Run) -> dict[str, Chart]:
    """Every chart this run has the data for, by the id of its element."""
    made = [quality_chart(run), latency_chart(run)]
    if run.frames is not None and run.frames.frames:
        made += [frames_chart(run, run.frames), used_chart(run, run.frames)]
    training = history_chart(run, run.history) if run.history else None
    if training is not None:
        made.append(training)
    return {chart.name: chart for chart in made}


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or start another."""
    text = msgspec.json.encode(value).decode()
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _policy(*scripts: str, webgl: bool) -> str:
    """The page's content security policy: these very scripts run, no other, and nothing is fetched.

    Plotly compiles code at run time for WebGL and for nothing else, so only such a page allows that.
    """
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join([*(f"'sha256-{h}'" for h in hashes), *(["'unsafe-eval'"] if webgl else [])])
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise missing_extra("plotly", "report") from None
    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
