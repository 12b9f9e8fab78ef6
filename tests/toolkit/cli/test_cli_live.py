"""The live view, drawn into a string, at a clock that stands still."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from jetson.answer import Answer
from jetson.frames.frame import Frame
from jetson.replay import Answered
from jetson.scheduling.trace import FrameBudget
from jetson.tally import Tally
from tests.bundles import VirtualClock, tiny_bundle
from toolkit.cli import live
from toolkit.cli.live import View, live_view


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("live") / "bundle").manifest


@pytest.fixture
def clock(monkeypatch):
    clock = VirtualClock()
    monkeypatch.setattr(live, "clock", clock)
    return clock


def answered(manifest, number, elapsed_ms=12.0, exit_=3, dropped=0, budget_ms=33.3, correct=None, value=None):
    met = None if budget_ms is None else elapsed_ms <= budget_ms
    answer = Answer(
        exit=exit_,
        exit_name=manifest.exits[exit_ - 1].name,
        output=np.array([2.0, 1.0, 0.0], np.float32),
        class_index=None if value else 0,
        label=None if value else "tabby [cat]",
        value=value,
        confidence=None if value else 0.873,
        elapsed_ms=elapsed_ms,
        answered_ms=elapsed_ms,
        budget_ms=budget_ms,
        met_deadline=met,
        preprocess_ms=0.1,
        trace=(),
        slowdown=1.31,
    )
    record = answer.to_dict() | {
        "correct": correct,
        "error_abs": None,
        "feasible": True,
        "branches": 1,
        "t_ms": 33.3 * number,
        "dropped": dropped,
    }
    frame = Frame(np.zeros((1, 1, 1), np.uint8), number, dropped=dropped)
    return Answered(record, answer, frame, FrameBudget(0.0, budget_ms or float("inf")))


def view_of(manifest, clock, frames, **options):
    view = View(manifest, "clip.mp4", Tally())
    for number in range(frames):
        clock.advance(33.3)
        found = answered(manifest, number, **options)
        view.tally.add(found.record)
        view.add(found)
    return view


def test_before_the_first_frame(manifest, clock):
    text = View(manifest, "camera:0", Tally()).render(80, 24).plain
    assert text.splitlines()[0].startswith("camera:0 ") and text.endswith("waiting for the first frame ...")


def test_all_there_is_to_see(manifest, clock):
    view = view_of(manifest, clock, 90, dropped=1, correct=True)
    text = view.render(100, 30).plain
    assert "tabby [cat]  87.3 % sure" in text and "12.0 of 33.3 ms" in text and "1.31" in text
    assert "60.1 came, 30.0 answered/s; 90 dropped, 0 late" in text
    assert "100.0% answered in time and right" in text and "p50 12.0  p95 12.0 ms" in text
    assert "▸ 4:vit" in text and "90 100.0%" in text and text.splitlines()[0].endswith("0:02  Ctrl-C ends")
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("width", [20, 39, 60, 100, 300])
@pytest.mark.parametrize("height", [2, 5, 40])
def test_it_fits_into_every_terminal(manifest, clock, width, height):
    view = view_of(manifest, clock, 70, elapsed_ms=1234567.8)
    lines = view.render(width, height).plain.splitlines()
    assert len(lines) <= max(1, height - 1) and all(len(line) <= min(width, 100) for line in lines)


def test_late_frames_no_budget_and_values(manifest, clock):
    assert "45.0 of 33.3 ms  late" in view_of(manifest, clock, 3, elapsed_ms=45.0).render(100, 30).plain
    text = view_of(manifest, clock, 3, budget_ms=None, value=(4.25,)).render(100, 30).plain
    assert "12.0 ms" in text and " of " not in text and "4.25" in text and "acc@D" not in text


def test_a_source_that_has_gone_silent(manifest, clock):
    view = view_of(manifest, clock, 5)
    clock.advance(4000.0)
    assert "none for 4 s; 0 dropped" in view.render(100, 30).plain


def test_a_terminal_without_unicode(manifest, clock):
    view_of(manifest, clock, 5).render(80, 30, ascii_only=True).plain.encode("ascii")


def test_it_is_drawn_ten_times_a_second_at_most_and_seldom_while_frames_wait(manifest, clock):
    drawn = []
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    view = View(manifest, "clip.mp4", Tally())
    view.render = lambda *_args: drawn.append(clock.now) or ""
    source = SimpleNamespace(comes=True, waiting=False)
    with live_view(view, source, console) as show:
        for number in range(300):  # three seconds
            clock.advance(10.0)
            show(answered(manifest, number))
        assert 20 <= len(drawn) <= 32
        source.waiting, before = True, len(drawn)
        for number in range(300):
            clock.advance(10.0)
            show(answered(manifest, number))
        assert 2 <= len(drawn) - before <= 4


def test_no_colour_where_none_is_wanted(manifest, clock, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    console.print(view_of(manifest, clock, 5, elapsed_ms=40.0).render(80, 24))
    text = console.file.getvalue()
    assert "late" in text and "\x1b[3" not in text and "\x1b[4" not in text


def test_without_a_terminal_it_is_a_line_now_and_then(manifest, clock, capsys):
    view = View(manifest, "clip.mp4", Tally())
    with live_view(view, SimpleNamespace(comes=True, waiting=False)) as show:
        for number in range(30):
            clock.advance(400.0)
            found = answered(manifest, number, dropped=1)
            view.tally.add(found.record)
            show(found)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "5 s: 13 answered (2.5/s of 5.0/s); 13 dropped, 0 late; slowdown 1.31; exits 4:vit 13"
    assert second.startswith("10 s: 26 answered")
