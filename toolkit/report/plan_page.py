"""The planner's picture as one file: a page of its own, or one SVG; and what the report's section is filled with."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from jetson.errors import BadInput, missing_extra
from jetson.files import write_file
from jetson.scheduling.explain import Explanation
from jetson.scheduling.wording import budget_words
from toolkit.report import svg
from toolkit.report.palette import COLOURS, Style
from toolkit.report.plan_picture import LETTER, draw_mark, draw_panel, panel_size
from toolkit.report.plan_view import PlanView, left_out, panel_title, plan_table, remarks
from toolkit.report.svg import px
from toolkit.report.tables import Table

HERE = Path(__file__).parent
ENDINGS = (".html", ".svg")
STYLES = ("colours.css", "report.css", "confidence.css", "plan.css", "print.css")
COLUMNS, GAP, EDGE, LINE = 3, 28.0, 20.0, 20.0
"""Of the one SVG: panels beside one another, between them, around them, and height of a line of text."""


@dataclass(frozen=True)
class Drawn:
    """One panel of a section."""

    title: str
    drawing: str


@dataclass(frozen=True)
class Section:
    """What `plan.html.j2` is filled with."""

    view: PlanView
    table: Table
    remarks: list[str]
    line: str
    ends: str
    panels: list[Drawn]
    """For what is in hand on the most likely ways,"""
    more: list[Drawn]
    """and for the rest."""
    caption: str

    @property
    def marked(self) -> bool:
        """Whether marks tell exits apart, since colours do not suffice."""
        return len(self.view.styles) > COLOURS

    def budget(self, told: Explanation) -> str:
        """A budget's name."""
        words = budget_words(told)
        return words[0].upper() + words[1:]


def section(view: PlanView) -> Section:
    """Draw everything."""
    drawn = [Drawn(panel_title(view, p), ET.tostring(draw_panel(view, p), encoding="unicode")) for p in view.panels]
    likely, more = drawn[: view.likely], drawn[view.likely :]
    return Section(view, plan_table(view), remarks(view), *_lines(view), likely, more, _caption(view))


def check_ending(path: Path) -> None:
    """Refuse a file that would not be drawn, before any work.

    Raises:
        BadInput: the file ends in neither .html nor .svg.
        MissingExtra: a page is wanted and jinja2 is not installed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise BadInput(f"{path}: give a name that ends in {' or '.join(ENDINGS)}")
    if path.suffix.lower() == ".html":
        try:
            import jinja2  # noqa: F401
        except ImportError:
            raise missing_extra("jinja2", "report") from None


def write_plan(view: PlanView, path: Path, title: str) -> None:
    """Write one self-contained file, whole or not at all.

    Args:
        view: what is drawn.
        path: ends in .html or .svg.
        title: of the picture.

    Raises:
        BadInput: another ending.
        MissingExtra: a page is wanted and jinja2 is not installed.
        StorageError: the file cannot be written.
    """
    check_ending(path)
    write_file(path, one_svg(view, title) if path.suffix.lower() == ".svg" else one_page(view, title))


def one_page(view: PlanView, title: str) -> str:
    """A page of its own."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup("\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES))
    return environment.get_template("plan_page.html.j2").render(plan=section(view), title=title, css=css)


def one_svg(view: PlanView, title: str) -> str:
    """All panels in one picture, with their legend."""
    panels = view.panels
    columns = min(COLUMNS, len(panels))
    wide = panel_size(panels[0])[0]
    width = 2 * EDGE + columns * wide + (columns - 1) * GAP
    root = svg.picture("plan", title, width, 0.0)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    ET.SubElement(root, "style").text = _svg_style()
    ET.SubElement(root, "rect", {"width": "100%", "height": "100%", "style": "fill:var(--page)"})
    y = EDGE + 12.0
    svg.text(root, title, EDGE, y, "strong")
    y = _legend(root, view, y + 1.3 * LINE, width - 2 * EDGE) + LINE
    for first in range(0, len(panels), columns):
        row = panels[first : first + columns]
        for place, panel in enumerate(row):
            x = EDGE + place * (wide + GAP)
            svg.text(root, panel_title(view, panel), x, y + 12, "strong")
            drawing = draw_panel(view, panel)
            drawing.attrib.update(x=px(x), y=px(y + LINE))
            root.append(drawing)
        y += max(panel_size(p)[1] for p in row) + LINE + GAP
    for words in filter(None, (left_out(view), *remarks(view))):
        for part in _wrapped(words, int((width - 2 * EDGE) / LETTER)):
            svg.text(root, part, EDGE, y, "row")
            y += LINE
    root.set("height", px(y + EDGE - LINE / 2))
    root.set("viewBox", f"0 0 {px(width)} {px(y + EDGE - LINE / 2)}")
    return ET.tostring(root, encoding="unicode") + "\n"


def _legend(root: ET.Element, view: PlanView, y: float, room: float) -> float:
    """Keys in lines; gives the baseline of the last one."""
    line, ends = _lines(view)
    keys: list[tuple[str, Style | None, str]] = [("on", None, "go on")]
    keys += [("", style, f"run {style.name}") for style in view.styles]
    keys += [("stop", None, "stop"), ("way", None, line), *([("until", None, ends)] if ends else [])]
    x = EDGE
    for kind, style, words in keys:
        needs = 24 + 8 + LETTER * len(words) + 18
        if x > EDGE and x + needs > EDGE + room:
            x, y = EDGE, y + LINE
        if kind in ("way", "until"):
            svg.path(root, f"M{px(x)} {px(y - 4)}h24", kind)
        else:
            high = 3 if kind == "on" else 12
            place = {"x": px(x), "y": px(y - 4 - high / 2), "width": "24", "height": str(high)}
            looks = {"class": kind} if style is None else {"style": f"fill:{style.colour}"}
            ET.SubElement(root, "rect", place | looks)
            if style is not None and len(view.styles) > COLOURS:
                draw_mark(root, style, x + 12, y - 4)
        svg.text(root, words, x + 32, y)
        x += needs
    return y


def _svg_style() -> str:
    css = (HERE / "colours.css").read_text(encoding="utf-8") + (HERE / "plan.css").read_text(encoding="utf-8")
    # Of the page's rules a picture on its own has no use for those of its place on the page.
    css = css.replace("width: 100%;\n  max-width: 27rem;\n  height: auto;\n  ", "")
    return css + "svg { font-family: system-ui, sans-serif; }\n"


def _lines(view: PlanView) -> tuple[str, str]:
    """What the lines in the panels are."""
    if view.hidden:
        ends = "where a budget ends" if any(t.budget_ms is not None for t in view.told) else ""
        return "time that has passed, when every unit takes its median", ends
    return "time that a budget leaves, when every unit takes its median", ""


def _caption(view: PlanView) -> str:
    axis = (
        "the time since the frame came, which is all that the planner knows of a budget that nobody tells it"
        if view.hidden
        else "the time that is left"
    )
    return (
        "One panel for each answer that may be in hand. Rows: the boundaries between units, from the start to the last "
        f"layer. To the right, on a logarithmic scale: {axis}. A line goes down to the first boundary where something "
        f"else is done than going on; from there another panel goes on. {left_out(view)}"
    ).strip()


def _wrapped(words: str, letters: int) -> list[str]:
    import textwrap

    return textwrap.wrap(words, max(letters, 20))
