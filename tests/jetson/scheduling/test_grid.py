"""The tables laid out: what is drawn at a place is what the planner does there."""

import math

import numpy as np
import pytest

from jetson.scheduling.grid import NEVER, grid
from jetson.scheduling.memory import LOG, TAU
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import State
from jetson.scheduling.rules import STOP
from tests.jetson.scheduling.planning import made


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    bundle, profile, samples = made(tmp_path_factory.mktemp("grid") / "bundle")
    found = Planner(bundle.manifest, profile, {"fit": samples, "select": samples}, confidence=True)
    found.memory[LOG], found.memory[TAU] = math.log(1.3), math.log(1.1)
    return found


@pytest.mark.parametrize("hidden", [False, True])
def test_the_picture_is_what_is_done(planner, hidden):
    drawn = grid(planner, hidden)
    assert drawn.layers == (0, 2, 4, 6) and drawn.times_ms[0] == 0.0
    rng = np.random.default_rng(0)
    for panel in drawn.panels:
        said = {"nothing": math.nan, "least": -50.0, "most": 50.0, "anything": 0.0}[panel.said]
        for stage in range(4):
            if panel.actions[stage, 0] == NEVER:
                continue
            for ms in rng.uniform(0.0, drawn.times_ms[-1] * 1.2, 40):
                column = int(np.searchsorted(drawn.times_ms, ms, side="right")) - 1
                answered = -1 if panel.exit is None else panel.exit
                state = State(stage, answered, said=said, remaining_ms=ms, elapsed_ms=ms, known=not hidden)
                assert planner.decide(state) == panel.actions[stage, column]


def test_panels(planner):
    drawn = grid(planner)
    first, *others = drawn.panels
    assert first.exit is None and first.said == "nothing" and not first.always_stops
    assert not (first.actions == NEVER).any()
    for panel in others:
        needs = planner.paths.stages[panel.exit]
        assert (panel.actions[:needs] == NEVER).all() and np.isnan(panel.spent_ms[:needs]).all()
        assert (np.diff(panel.spent_ms[needs:]) > 0.0).all()
    assert others[-1].exit == 3 and others[-1].always_stops
    assert set(np.unique(others[-1].actions)) == {STOP, NEVER}
    assert any(p.said == "least" for p in others)
    worth = {(p.exit, p.said): p.worth for p in others}
    assert worth[0, "least"] < worth[0, "most"]


def test_without_a_look_at_answers_there_is_one_panel_for_each(planner):
    plain = Planner(planner.manifest, planner.profile)
    assert [p.said for p in grid(plain).panels] == ["nothing"] + ["anything"] * 4
