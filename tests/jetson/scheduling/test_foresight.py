"""Looking ahead changes nothing but how often the policy is asked."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson import Budget
from jetson.scheduling.foresight import UNSURE, Runs
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import ADVANCE, END, STOP, State
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import FRAME, honest, values, virtual

FUZZ = settings(max_examples=60, deadline=None, derandomize=True)
EXITS = ((1, "mlp"), (2, "mlp"), (2, "cnn-add"), (4, "vit"), (5, "mlp"), (6, "head"))

PLANS = {}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder, count = tmp_path_factory.mktemp("foresight"), len(EXITS)
    looks = {role: honest(1200, count, seed=seed, depth=0.5) for seed, role in enumerate(("fit", "select"))}
    numbers = {role: values(1200, count, seed=seed) for seed, role in enumerate(("fit", "select"))}
    quality = [3.0, 2.4, 2.0, 1.2, 0.6, 0.3]
    return {
        "classification": tiny_bundle(folder / "c", exits=EXITS, samples=looks),
        "regression": tiny_bundle(
            folder / "r", task="regression", outputs=2, exits=EXITS, quality=quality, samples=numbers
        ),
    }


def planner_of(bundle, profile, **options):
    """A planner; its tables are solved once for all that are alike."""
    samples = {role: bundle.samples(role) for role in ("fit", "select")}
    key = repr((bundle.manifest.build, bundle.manifest.task, profile.units, options))
    made = Planner(bundle.manifest, profile, samples, plan=PLANS.get(key), **options)
    PLANS.setdefault(key, made.plan)
    return made


def play(bundle, profile, seed, noise, foresees, frames=30, options=None, late="lost"):
    """Answer frames whose budgets, pauses, outputs and latencies the seed deals out; tells what happened."""
    rng = np.random.default_rng(seed)
    planner = planner_of(bundle, profile, **(options or {}))
    asked = []
    decide = planner.decide
    planner.decide = lambda state: (asked.append(state.stage), decide(state))[1]
    if not foresees:
        planner.foresee = lambda *_: None
    whole_ms = profile.exits[-1].end_to_end_ms.median
    found = []
    with virtual(bundle, profile, planner, late=late) as fake:
        medians = dict(fake.engines.ms)
        pace = 1.0
        for _ in range(frames):
            pace *= math.exp(rng.normal(0.0, 0.02)) if rng.random() < 0.95 else rng.choice([0.6, 1.6])
            fake.engines.ms = {
                name: ms * pace * math.exp(rng.normal(0.0, noise)) * (4.0 if rng.random() < 0.02 else 1.0)
                for name, ms in medians.items()
            }
            for output in fake.engines.outputs:
                output[:] = rng.normal(0.0, 1.5, output.shape)
            kind = rng.choice(["within", "unbounded", "unknown", "revised", "cut"])
            ms = float(rng.uniform(0.2, 1.5) * whole_ms)
            budget = Budget.within(ms) if kind in ("within", "revised") else Budget.unbounded()
            if kind in ("unknown", "cut"):
                budget = Budget.unknown()
            at, other = int(rng.integers(1, 9)), float(rng.uniform(0.2, 1.5) * whole_ms)

            def after(_name, kind=kind, budget=budget, left=[at], other=other):  # noqa: B006
                left[0] -= 1
                if left[0] == 0 and kind == "cut":
                    budget.cut()
                if left[0] == 0 and kind == "revised":
                    budget.revise(other)

            fake.engines.after = after
            fake.clock.advance(float(rng.choice([0.1, 20.0, 2000.0])))
            found.append(fake.infer(FRAME, budget).to_dict())
        return SimpleNamespace(answers=found, memory=planner.memory.copy(), ran=fake.engines.ran, asked=len(asked))


@pytest.mark.parametrize("task", ["classification", "regression"])
@given(
    seed=st.integers(0, 10_000),
    noise=st.sampled_from([0.0, 0.004, 0.03, 0.12]),
    late=st.sampled_from(["lost", "best-so-far"]),
    careful=st.booleans(),
)
@FUZZ
def test_the_same_is_answered_learnt_and_run_as_when_every_boundary_asks(bundles, task, seed, noise, late, careful):
    bundle = bundles[task]
    profile = fake_profile(bundle, spread=0.03, medians={"head": 0.4, "branch-4-vit": 0.9})
    options = {"late": late, "miss_rate": 0.05 if careful else None}
    ways = [play(bundle, profile, seed, noise, foresees, options=options, late=late) for foresees in (True, False)]
    assert ways[0].ran == ways[1].ran
    assert ways[0].answers == ways[1].answers
    np.testing.assert_array_equal(ways[0].memory, ways[1].memory)
    assert ways[0].asked < ways[1].asked


def test_on_a_steady_device_a_frame_asks_once(bundles):
    bundle = bundles["classification"]
    profile = fake_profile(bundle)
    planner = planner_of(bundle, profile, confidence=False)
    asked = []
    decide = planner.decide
    planner.decide = lambda state: (asked.append(state.stage), decide(state))[1]
    with virtual(bundle, profile, planner) as fake:
        for budget in (Budget.unbounded(), Budget.within(100.0), Budget.within(3.3), Budget.unknown()):
            asked.clear()
            answer = fake.infer(FRAME, budget)
            assert asked == [0] and len(answer.trace) >= 3, budget


def test_who_is_told_of_answers_on_the_way_is_told_at_once(bundles):
    bundle = bundles["classification"]
    profile = fake_profile(bundle)
    with virtual(bundle, profile, planner_of(bundle, profile, confidence=False)) as fake:
        told = []
        fake.infer(FRAME, Budget.unknown(), on_answer=lambda a: told.append((a.exit, len(fake.engines.ran))))
    branches = [i + 1 for i, name in enumerate(fake.engines.ran) if not name.startswith("segment")]
    assert [ran for _, ran in told] == branches and len(told) > 2


def test_an_answer_that_is_no_number_costs_only_itself(bundles):
    bundle = bundles["classification"]
    profile = fake_profile(bundle)
    with virtual(bundle, profile, planner_of(bundle, profile, confidence=False)) as fake:
        clean = fake.infer(FRAME, Budget.unknown())
        assert len(clean.trace) > 6
        first = fake.runtime.paths.branches[0]
        fake.engines.outputs[first][:] = math.nan
        answer = fake.infer(FRAME, Budget.unknown())
    assert answer.exit > 1 and "gave NaN" in answer.error
    assert answer.trace[-1].unit == clean.trace[-1].unit


def test_an_engine_that_fails_further_on_keeps_the_answers_before(bundles):
    bundle = bundles["classification"]
    profile = fake_profile(bundle)
    with virtual(bundle, profile, planner_of(bundle, profile, confidence=False)) as fake:
        fake.engines.fails = {"segment-4"}
        answer = fake.infer(FRAME, Budget.unknown())
        told = fake.infer(FRAME, Budget.unbounded())
    assert answer.exit == 4 and "unit segment-4 failed" in answer.error
    assert [r.unit for r in told.trace][:3] == ["segment-1", "segment-2", "segment-3"] and told.exit == 4


def test_runs_are_where_actions_change_and_unsure_where_answers_matter(bundles):
    bundle = bundles["classification"]
    planner = planner_of(bundle, fake_profile(bundle, spread=0.05), confidence=True)
    rules, runs = planner.rules, Runs(planner.rules)
    for stage, answered in ((0, -1), (2, 1), (3, 3)):
        table = rules.known[0, stage, answered + 1]
        for column in range(0, table.shape[1], 7):
            action, first, last = runs.at(("known", 0, stage, answered, 1), column)
            assert (table[1, first : last + 1] == action).all() and first <= column <= last
            assert first == 0 or table[1, first - 1] != action
            assert last == table.shape[1] - 1 or table[1, last + 1] != action
            alike = len(set(table[:, column].tolist())) == 1
            anyhow = runs.at(("known", 0, stage, answered, -1), column)[0]
            assert anyhow == (int(table[0, column]) if alike else UNSURE)
    assert any(runs.at(("known", 0, 2, 1, -1), column)[0] == UNSURE for column in range(rules.known.shape[-1])), (
        "answers never matter to this planner"
    )


def test_windows_are_never_wider_than_what_holds_exactly(bundles):
    bundle = bundles["classification"]
    planner = planner_of(bundle, fake_profile(bundle, spread=0.02), confidence=False)
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        planner.begin(1.0)
        state = State(remaining_ms=float(rng.uniform(1.0, 9.0)), known=bool(rng.random() < 0.6))
        if not state.known:
            state.remaining_ms = math.inf
        action = planner.decide(state)
        way = planner.foresee(state, action, True) if action not in (STOP,) else None
        if way is None:
            continue
        ran, since = [], 0.0
        for place, (unit, least, most, earliest, latest) in enumerate(list(way.steps)):
            took = float(planner.profile.units[bundle.manifest.units[0].name].end_to_end_ms.median) / 1e3
            if math.isfinite(least):
                took = float(rng.uniform(max(least, 1e-6), most)) if most > max(least, 1e-6) else took
            before, since = since, since + took
            ran.append((place, before, before, since))
            if not (least <= took <= most and earliest <= since <= latest):
                break
            inside += 1
            assert way.holds(ran, 0.0)
            assert unit == END or unit >= 0
        planner.observe(0, 1.0 + 0.1 * float(rng.normal()))
    assert inside > 300 and ADVANCE < 0
