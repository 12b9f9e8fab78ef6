"""The page as a browser shows it: drawn, quiet, inside its width, in light and dark."""

import functools
import itertools

import pytest

from tests.browser import ARGUMENTS, NO_BROWSER, find_browser
from tests.toolkit.report.comparisons import made_up
from tests.toolkit.report.conftest import Recipe, write_run
from toolkit.report import write_report
from toolkit.report.gather import gather
from toolkit.report.page import charts
from toolkit.simulate.scenarios import NAMES

BRANCHES = ("mlp", "cnn-ignore", "cnn-add", "cnn-project", "vit", "mlp-mixer", "resmlp")
RECIPES = {
    "three exits": {"frames": 150, "beliefs": True, "int8": True},
    "fourteen exits": {
        "layers": tuple(range(1, 13)),
        "exits": (
            *sorted([*((n, BRANCHES[n % 7]) for n in range(1, 12)), (6, "vit"), (7, "vit")]),
            (12, "head"),
        ),
        "frames": 200,
        "gpu": True,
        "beliefs": True,
    },
    "seven branches, regression": {
        "layers": (6, 12),
        "exits": (*((6, b) for b in BRANCHES), (12, "head")),
        "task": "regression",
        "frames": 100,
        "beliefs": True,
        "int8": True,
    },
}
DRAWN = """() => Object.fromEntries([...document.querySelectorAll('.plot')].map((element) => [element.id, {
    traces: element.data.length,
    drawn: element.querySelectorAll('.scatterlayer > .trace, .barlayer > .trace').length,
    svg: element.querySelectorAll('svg.main-svg').length,
    labels: element.querySelectorAll('.annotation').length,
    tick: getComputedStyle(element.querySelector('.xtick text')).fill,
}]))"""
TICK_CHANGED = """(was) => {
    const tick = document.querySelector('#fig-quality .xtick text');
    return tick !== null && getComputedStyle(tick).fill !== was;
}"""
SHOWN = "() => [...document.querySelectorAll('.chosen')].filter((e) => e.offsetHeight > 0).map((e) => e.id)"
PANELS = """(selector) => [...document.querySelectorAll(selector)].map((figure) => {
    const size = (e) => { const { left, right, top, bottom } = e.getBoundingClientRect();
                          return { left, right, top, bottom }; };
    const svg = figure.querySelector('svg[role=img]');
    return { figure: size(figure), svg: size(svg), texts: [...svg.querySelectorAll('text')]
        .filter((e) => getComputedStyle(e).display !== 'none').map(size) };
})"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser():
    found = find_browser()
    if found is None:
        pytest.skip(NO_BROWSER)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def visit(browser):
    """A function that opens a file and returns the page and the list of everything that went wrong on it."""
    contexts = []

    def opened(file, width=1280):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="light")
        contexts.append(context)
        page, wrong = context.new_page(), []
        page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: wrong.append(f"error: {e}"))
        page.on("request", lambda r: wrong.append(f"request: {r.url}") if not r.url.startswith("file:") else None)
        page.on("dialog", lambda d: (wrong.append(f"dialog: {d.message}"), d.dismiss()))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-drawn]")
        return page, wrong

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def show(visit, tmp_path_factory):
    """A function that visits the report of one of the recipes; gives its run too. A page is opened once a width."""

    @functools.cache
    def report(name):
        run = write_run(tmp_path_factory.mktemp("shown") / "run", Recipe(**RECIPES[name]))
        return run, write_report(run)

    @functools.cache
    def shown(name, width):
        run, file = report(name)
        return run, *visit(file, width)

    return lambda name, width=1280: shown(name, width)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_page_is_drawn_and_quiet(show, recipe):
    run, page, wrong = show(recipe)
    expected = charts(gather(run))
    found = page.evaluate(DRAWN)
    assert set(found) == set(expected)
    for name, chart in expected.items():
        assert found[name]["svg"] > 0
        assert found[name]["traces"] == found[name]["drawn"] == len(chart.data), name
        if chart.labels:
            assert found[name]["labels"] == len(chart.labels)
    assert page.evaluate(OVERFLOW) == 0
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(TICK_CHANGED, arg=found["fig-quality"]["tick"])
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    dark = page.evaluate(DRAWN)
    assert {name: f["drawn"] for name, f in dark.items()} == {name: f["drawn"] for name, f in found.items()}
    page.emulate_media(color_scheme="light")
    page.wait_for_function(TICK_CHANGED, arg=dark["fig-quality"]["tick"])
    assert wrong == []


@pytest.mark.slow
def test_a_phone_and_a_key_of_the_legend(show):
    _, page, wrong = show("fourteen exits", width=390)
    assert page.evaluate(OVERFLOW) == 0
    key = page.locator("button.key[data-chart=fig-frames][data-group^=exit]").first
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    page.wait_for_function("() => document.getElementById('fig-frames').data.some((t) => t.visible === false)")
    assert wrong == []


def meet(a, b):
    across = min(a["right"], b["right"]) - max(a["left"], b["left"])
    down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
    return across > 0.5 and down > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 800, 390])
def test_no_two_words_of_a_reliability_diagram_meet(show, width):
    _, page, wrong = show("fourteen exits", width=width)
    panels = page.evaluate(PANELS, "figure.panel")
    assert len(panels) == 14
    for a, b in itertools.combinations(panels, 2):
        assert not meet(a["figure"], b["figure"])
    for panel in panels:
        assert panel["svg"]["right"] - panel["svg"]["left"] > 140
        assert all(t["left"] >= 0 and t["right"] <= width for t in panel["texts"])
        assert not [p for p in itertools.combinations(panel["texts"], 2) if meet(*p)]
    assert page.evaluate(OVERFLOW) == 0
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_two_words_of_a_plan_meet(show, recipe, width):
    _, page, wrong = show(recipe, width=width)
    page.evaluate("() => document.querySelectorAll('#plan details').forEach((d) => { d.open = true; })")
    panels = page.evaluate(PANELS, ".plans figure")
    assert len(panels) >= 3
    for a, b in itertools.combinations(panels, 2):
        assert not meet(a["figure"], b["figure"])
    for panel in panels:
        assert all(t["left"] >= 0 and t["right"] <= width for t in panel["texts"])
        assert not [p for p in itertools.combinations(panel["texts"], 2) if meet(*p)]
    assert page.evaluate(OVERFLOW) == 0
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("classify", [True, False])
def test_no_two_words_of_a_comparison_meet(make_run, visit, classify, width):
    run = make_run(frames=None, history=False)
    page, wrong = visit(write_report(run, compare=lambda _run: made_up(classify)), width)
    panels = page.evaluate(PANELS, "#policies figure")
    assert len(panels) == 3
    for a, b in itertools.combinations(panels, 2):
        assert not meet(a["figure"], b["figure"])
    for panel in panels:
        assert len(panel["texts"]) > len(NAMES)
        assert all(panel["svg"]["left"] <= t["left"] and t["right"] <= panel["svg"]["right"] for t in panel["texts"])
        assert not [p for p in itertools.combinations(panel["texts"], 2) if meet(*p)]
    assert page.evaluate(OVERFLOW) == 0
    colour = "() => getComputedStyle(document.querySelectorAll('#policies .spot')[1]).fill"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != light, "replan has the colour of ink"
    assert wrong == []


@pytest.mark.slow
def test_one_joint_table_is_shown_and_paper_has_all(make_run, visit):
    page, wrong = visit(write_report(make_run(beliefs=True, frames=None, history=False)))
    assert page.evaluate(SHOWN) == ["given-0"]
    page.locator("fieldset.choice label").nth(2).click()
    assert page.evaluate(SHOWN) == ["given-2"]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(SHOWN) == ["given-1"]
    colour = "(cell) => getComputedStyle(cell).backgroundColor"
    cells = page.locator("#given-1 td.shaded").all()
    shades = {cell.get_attribute("style"): cell.evaluate(colour) for cell in cells}
    assert len(set(shades.values())) == len(shades) > 3
    page.emulate_media(media="print")
    assert page.evaluate(SHOWN) == ["given-0", "given-1", "given-2"]
    assert not page.locator("fieldset.choice").is_visible()
    assert wrong == []


@pytest.mark.slow
def test_a_hostile_name_stays_text(make_run, visit):
    hostile = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    run = make_run(
        classes=(hostile, "cat"), exits=((4, hostile), (12, "head")), checkpoint=hostile, frames=20, beliefs=True
    )
    page, wrong = visit(write_report(run))
    assert page.locator("img").count() == 0
    assert page.locator("#exits tbody th").first.inner_text() == f"4:{hostile}"
    assert page.locator("#confidence figure.panel figcaption").first.inner_text() == f"4:{hostile}"
    page.locator("#fig-quality .annotation").first.wait_for()
    assert hostile in page.locator("#fig-quality .annotation").first.text_content()
    assert wrong == []
