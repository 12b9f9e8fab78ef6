"""The page as a browser shows it: drawn, quiet, inside its width, in light and dark."""

import functools
import itertools

import pytest

from tests.browser import ARGUMENTS, NO_BROWSER, find_browser
from tests.toolkit.report.comparisons import made_up
from tests.toolkit.report.conftest import Recipe, write_run
from tests.toolkit.report.records import powered
from toolkit.report import write_report
from toolkit.report.gather import gather
from toolkit.report.outlook import outlooks
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
CHARTS = """() => [...document.querySelectorAll('.plot svg')].filter((e) => e.checkVisibility()).map((svg) => {
    const size = (e) => { const { left, right, top, bottom } = e.getBoundingClientRect();
                          return { left, right, top, bottom }; };
    return { name: svg.parentElement.id, svg: size(svg), texts: [...svg.querySelectorAll('text')]
        .filter((e) => e.textContent).map((e) => ({ ...size(e), words: e.textContent })) };
})"""
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
SHOWN = "() => [...document.querySelectorAll('#confidence .chosen')].filter((e) => e.offsetHeight > 0).map((e) => e.id)"
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
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_page_is_drawn_and_quiet_and_no_two_words_of_a_chart_meet(show, recipe, width):
    run, page, wrong = show(recipe, width)
    found = {chart["name"]: chart for chart in page.evaluate(CHARTS)}
    assert set(found) == {*charts(gather(run)), "fig-outlook-0"}, "each in one of its sizes"
    for name, chart in found.items():
        assert all(t["left"] >= -1 and t["right"] <= width + 1 for t in chart["texts"]), name
        met = [(a["words"], b["words"]) for a, b in itertools.combinations(chart["texts"], 2) if meet(a, b)]
        assert not met, name
    assert page.evaluate(OVERFLOW) == 0
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(BACKGROUND) == DARK
    page.emulate_media(color_scheme="light")
    assert wrong == []


@pytest.mark.slow
def test_the_slider_says_what_a_budget_buys(show):
    run, page, wrong = show("three exits")
    slider = page.locator("#outlook-0-slider")
    field = {n: page.locator(f"#outlook-0 [data-field={n}]") for n in ("budget", "exit", "worth", "late", "note")}
    slider.focus()
    page.keyboard.press("End")
    assert field["exit"].inner_text() == "head" and field["note"].inner_text() == ""
    (told,) = outlooks(gather(run))
    assert field["budget"].inner_text() == told.data["budget"][-1]
    assert field["worth"].inner_text() == told.data["worth"][-1]
    page.keyboard.press("Home")
    assert "Not to be relied on" in field["note"].inner_text()
    assert "late 100.0%" in slider.get_attribute("aria-valuetext")
    cursor = page.locator("#fig-outlook-0 svg:visible .cursor")
    assert cursor.get_attribute("transform") == f"translate({told.data['at'][0][0]:g} 0)"
    box = page.locator("#fig-outlook-0 svg:visible").bounding_box()
    page.locator("#fig-outlook-0 svg:visible").click(position={"x": box["width"] * 0.9, "y": 40})
    assert field["exit"].inner_text() == "head"
    assert wrong == []


@pytest.mark.slow
def test_pointer_and_arrow_keys_read_values(show):
    _, page, wrong = show("three exits")
    tip = page.locator("#tip")
    page.locator("#fig-quality svg:visible [data-tip]").first.hover()
    assert "4:mlp" in tip.inner_text() and "accuracy" in tip.inner_text()
    page.locator("#fig-latency-0 svg:visible").focus()
    page.keyboard.press("ArrowDown")
    assert tip.inner_text().startswith("preprocess")
    assert page.locator("#spoken").inner_text().startswith("preprocess")
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.locator("#fig-frames-0 svg:visible").focus()
    page.keyboard.press("ArrowRight")
    assert "frame 0" in tip.inner_text() and "budget" in tip.inner_text()
    page.locator("#provenance dd[data-tip]").first.focus()
    assert len(tip.inner_text()) == 64, "the whole of a hash"
    assert wrong == []


@pytest.mark.slow
def test_a_phone_and_a_key_of_the_legend(show):
    _, page, wrong = show("fourteen exits", width=390)
    assert page.evaluate(OVERFLOW) == 0
    key = page.locator("#frames button.key[data-group^=exit]").first
    group = f"#fig-frames-0 svg:visible [data-of={key.get_attribute('data-group')}]"
    assert page.locator(group).count() == 1
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    assert page.locator(group).count() == 0 or not page.locator(group).first.is_visible()
    key.click()
    column = page.locator("#precisions [data-of=precision-int8]")
    assert column.count() == 0, "this one has a single precision"
    assert wrong == []


@pytest.mark.slow
def test_a_theme_that_is_chosen_is_remembered(make_run, visit):
    page, wrong = visit(write_report(make_run(frames=None, history=False)))
    assert page.evaluate(BACKGROUND) == LIGHT
    page.locator("#theme").select_option("dark")
    assert page.evaluate(BACKGROUND) == DARK
    page.reload()
    page.wait_for_selector("html[data-drawn]")
    assert page.evaluate(BACKGROUND) == DARK and page.locator("#theme").input_value() == "dark"
    page.emulate_media(media="print")
    assert page.evaluate("() => getComputedStyle(document.documentElement).getPropertyValue('--page')") == "#ffffff"
    page.emulate_media(media="screen")
    page.locator("#theme").select_option("auto")
    assert page.evaluate(BACKGROUND) == LIGHT
    assert wrong == []


@pytest.mark.slow
def test_without_scripts_everything_can_be_read(make_run, browser):
    file = write_report(make_run(beliefs=True, int8=True, frames=60))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    for name in ("fig-quality", "fig-outlook-0", "fig-latency-0", "fig-frames-0", "fig-history"):
        assert page.locator(f"#{name} svg:visible").count() == 1
    assert page.locator("#given-0").is_visible() and page.locator("#given-2").is_visible()
    assert not page.locator(".budget-control").is_visible() and not page.locator("#theme").is_visible()
    context.close()


@pytest.mark.slow
def test_keys_hide_a_precision_and_a_policy(make_run, visit):
    run = make_run(int8=True, frames=None, history=False)
    page, wrong = visit(write_report(run, compare=lambda _run: made_up()))
    page.locator("#precisions button.key", has_text="int8-fp16").click()
    assert page.locator("#precisions [data-of=precision-int8-fp16]:visible").count() == 0
    assert page.locator("#precisions [data-of=precision-int8]:visible").count() > 3
    page.locator("#policies button.key", has_text="alert").click()
    assert page.locator("#policies [data-of=alert]:visible").count() == 0
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_profiles_and_runs_are_chosen(make_run, visit, width):
    run = make_run(frames=40, history=False)
    powered(run, "profile-15w.json", power_w=9.5, scale=2.0, power_mode="15W")
    (run / "frames-again.jsonl").write_bytes((run / "frames.jsonl").read_bytes())
    page, wrong = visit(write_report(run), width)
    for part, chosen in (("plan", "outlook-1"), ("profiles", "units-1"), ("frames", "run-1")):
        assert not page.locator(f"#{chosen}").is_visible()
        page.locator(f"#{part} fieldset.choice label").nth(1).click()
        assert page.locator(f"#{chosen}").is_visible()
    for chart in page.evaluate(CHARTS):
        met = [(a["words"], b["words"]) for a, b in itertools.combinations(chart["texts"], 2) if meet(a, b)]
        assert not met, chart["name"]
    assert page.evaluate(OVERFLOW) == 0
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
    panels = page.evaluate(PANELS, "#plan .plans figure")
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
    assert page.locator("#fig-quality svg:visible text.name").first.text_content().startswith("4:<img src=x")
    page.locator("#fig-quality svg:visible [data-tip]").first.hover()
    assert hostile in page.locator("#tip").inner_text()
    assert page.locator("#tip img").count() == 0
    assert wrong == []
