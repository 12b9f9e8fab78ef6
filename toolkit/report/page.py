"""The page: charts, diagram and tables put into one HTML file that asks nothing of a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    profile_tables,
    reliability_panels,
    run_tables,
    tables,
)
from toolkit.report.charts import Chart
from toolkit.report.comparison import Comparison
from toolkit.report.diagram import cut_diagram
from toolkit.report.diagram_narrow import narrow_diagram
from toolkit.report.frame_charts import MOST, frame_columns, frames_chart
from toolkit.report.gather import Parts, Run, gather
from toolkit.report.history_chart import history_chart
from toolkit.report.latency_chart import latency_chart
from toolkit.report.naming import device_name
from toolkit.report.outlook import outlooks
from toolkit.report.plan_page import Section, section
from toolkit.report.plan_view import plan_view, usual_budgets
from toolkit.report.quality_chart import quality_chart
from toolkit.report.words import glossary

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent
STYLES = (
    "colours.css",
    "report.css",
    "charts.css",
    "diagram.css",
    "confidence.css",
    "plan.css",
    "comparison.css",
    "print.css",
)
THEME = "theme.js"
SCRIPTS = ("report.js", "budget.js", "frames.js")
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
Compare = Callable[[Run], Comparison | None]
"""Simulates policies on a run; None where that cannot be done."""


def write_report(
    run: Path | None, out: Path | None = None, compare: Compare | None = None, parts: Parts | None = None
) -> Path:
    """Write the report of a run as one self-contained HTML file.

    Args:
        run: folder with any of `bundle/`, `profile*.json`, `frames*.jsonl` and `checkpoint/training.json`.
        out: where the page goes; `report.html` in the run folder by default, or here without one.
        compare: gives the comparison of policies; without it the page has no such section.
        parts: files that take the place of those in the folder.

    Returns:
        The page's path. The same files always give the same bytes.

    Raises:
        MissingExtra: jinja2 is not installed.
        BadInput: there is nothing to report, or a file cannot be used (BundleError, ProfileError, DataError).
        StorageError: a file cannot be read, or the page cannot be written.
    """
    gathered = gather(run, parts)
    return write_page(gathered, out, compare(gathered) if compare is not None else None)


def write_page(run: Run, out: Path | None = None, compared: Comparison | None = None) -> Path:
    """As `write_report`, of what has been gathered and compared."""
    path = check_page(run, out)
    write_file(path, render(run, compared))
    return path


def check_page(run: Run, out: Path | None = None) -> Path:
    """Where the page goes, found to be possible before any work.

    Raises:
        MissingExtra: jinja2 is not installed.
        StorageError: nothing can be written there.
    """
    path = run.path / "report.html" if out is None else out
    _environment()
    check_writable(path)
    return path


def render(run: Run, compared: Comparison | None = None) -> str:
    """The page of `run` as text.

    Args:
        run: as it was gathered.
        compared: the policies, where they were compared.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    environment = _environment()
    from markupsafe import Markup

    def embedded(value: Any) -> Markup:
        return Markup(embedded_json(value))

    shown, looks, planned = charts(run), outlooks(run) if run.bundle is not None else [], run.bundle is not None
    logged = [m for m in run.logs if m.log.frames]
    confident = planned and _confident(run)
    precise = planned and (precision_tables.sizes_table(run) is not None or run.manifest.quantisation is not None)
    trained = "fig-history" in shown or tables.scores_table(run) is not None
    theme, driver = _asset(THEME), "\n".join(_asset(name) for name in SCRIPTS)
    contents = [
        ("cut", "The model", planned),
        ("exits", "Exits", planned),
        ("plan", "What a budget buys", bool(looks)),
        ("tables", "Planner", bool(looks)),
        ("confidence", "Calibration", confident),
        ("precisions", "Precisions", precise),
        ("profiles", "Time", bool(run.profiles)),
        ("policies", "Policies", compared is not None),
        ("frames", "Runs", bool(logged)),
        ("training", "Training", trained),
        ("provenance", "Provenance", True),
        ("words", "Words", True),
    ]
    page: str = environment.get_template("report.html.j2").render(
        run=run,
        manifest=run.bundle,
        styles=run.styles,
        facts=facts,
        tables=tables,
        profiles=profile_tables,
        runs=run_tables,
        reliability=reliability_panels,
        confidence=confidence_tables,
        joint=joint_tables,
        precision=precision_tables,
        charts=shown,
        device=device_name(run.profile) if run.profiles else "",
        diagram=Markup(cut_diagram(run) + narrow_diagram(run)) if planned else "",
        outlooks=looks,
        plan=plan(run) if looks else None,
        confident=confident,
        precise=precise,
        trained=trained,
        logged=logged,
        most=MOST,
        columns={f"fig-frames-{i}": frame_columns(run, m.log) for i, m in enumerate(logged)},
        run_options=[(f"run-{i}", m.label, None) for i, m in enumerate(logged)],
        unit_options=[(f"units-{i}", s.name, s) for i, s in enumerate(profile_tables.profile_styles(run))],
        comparison=comparison_table.section(compared, run.bundle_path.name, run.profiles[0].file.name)
        if compared is not None
        else None,
        words=glossary(run.classify, precise, planned),
        contents=[(name, words) for name, words, there in contents if there],
        embedded=embedded,
        css=Markup("\n".join(_asset(name) for name in STYLES)),
        theme=Markup(theme),
        driver=Markup(driver),
        policy=_policy(theme, driver),
    )
    # The name of a file need not be text.
    return page.encode("utf-8", "replace").decode()


def _confident(run: Run) -> bool:
    """Whether the bundle tells how sure its exits may be."""
    found = (
        reliability_panels.reliability_panels(run),
        confidence_tables.intervals_table(run),
        joint_tables.joint_tables(run),
    )
    return any(found)


def plan(run: Run) -> Section:
    """What the planner would do on the device that was profiled, within three budgets."""
    planner = Planner(run.manifest, run.profile, run.samples)
    return section(plan_view(planner, usual_budgets(run.profile)))


def charts(run: Run) -> dict[str, Chart]:
    """Every chart this run has the data for, but for those of budgets, by the id of its element."""
    made = [quality_chart(run)] if run.bundle is not None and run.profiles else []
    made += [latency_chart(run, m.profile, f"fig-latency-{i}") for i, m in enumerate(run.profiles)]
    if len(run.profiles) > 1:
        made.append(profile_tables.profiles_chart(run))
    logged = [m for m in run.logs if m.log.frames]
    made += [frames_chart(run, m.log, f"fig-frames-{i}") for i, m in enumerate(logged)]
    training = history_chart(run, run.history) if run.history else None
    return {chart.name: chart for chart in [*made, *([training] if training is not None else [])]}


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or start another."""
    text = msgspec.json.encode(value).decode()
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _policy(*scripts: str) -> str:
    """The page's content security policy: these very scripts run, no other, and nothing is fetched."""
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _environment() -> jinja2.Environment:
    try:
        import jinja2
    except ImportError:
        raise missing_extra("jinja2", "report") from None
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
