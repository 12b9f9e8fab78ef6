"""Engines that run ahead of the host: a known budget is given its whole path at once."""

import math
from collections import Counter

import numpy as np
import pytest

from jetson import Budget, Runtime
from jetson.errors import EngineError
from jetson.profiling.profile import Sketch
from jetson.scheduling.policy import StaticExit, Untimed
from jetson.scheduling.replan import Replan
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle

FRAME = np.zeros((8, 8), np.uint8)
SYNC_MS = 0.2


class Ahead(FakeEngines):
    """A unit takes the GPU what the profile says, and every wait of the host 0.2 ms more."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.ahead, self.paths_run, self.took = True, [], {}

    def run(self, unit):
        self.took[unit] = self.ms[self.names[unit]] * self.slow
        super().run(unit)
        self.clock.advance(SYNC_MS)

    def run_path(self, units):
        self.paths_run.append([self.names[u] for u in units])
        super().run_path(units)
        self.clock.advance(-SYNC_MS * (len(units) - 1))

    def gpu_ms(self, unit):
        return self.took[unit]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("ahead") / "bundle")


@pytest.fixture
def make(bundle, monkeypatch):
    def runtime(policy=None, ahead=True):
        clock = VirtualClock()
        monkeypatch.setattr("jetson.runtime.clock", clock)
        monkeypatch.setattr("jetson.walk.clock", clock)
        profile = gpu_profile(bundle)
        engines = Ahead(bundle, clock, fake_profile(bundle))
        made = Runtime(bundle, engines, policy or Replan(bundle.manifest, profile, ahead=ahead), ahead=ahead)
        made.preprocessor = lambda frame, out: None
        return made, engines, clock

    return runtime


def gpu_profile(bundle):
    """As measured on engines like these: units with a wait each, exits with one in all."""
    import msgspec

    replace = msgspec.structs.replace
    plain = fake_profile(bundle, preprocess_ms=0.0)
    shift = lambda sketch, ms: Sketch.of([sketch.median + ms])  # noqa: E731
    units = {
        n: replace(u, end_to_end_ms=shift(u.end_to_end_ms, SYNC_MS), gpu_ms=u.end_to_end_ms)
        for n, u in plain.units.items()
    }
    exits = tuple(replace(e, end_to_end_ms=shift(e.end_to_end_ms, SYNC_MS)) for e in plain.exits)
    return replace(plain, units=units, exits=exits)


@pytest.mark.parametrize(
    ("budget_ms", "path"),
    [
        (math.inf, ["segment-1", "segment-2", "segment-3", "head"]),
        (3.45, ["segment-1", "segment-2", "segment-3", "head"]),  # 3.25 and one wait
        (3.44, ["segment-1", "segment-2", "branch-4-vit"]),
        (1.5, ["segment-1", "branch-2-cnn-add"]),
        (0.1, ["segment-1", "branch-2-cnn-add"]),
    ],
)
def test_a_known_budget_is_one_path_and_one_wait(make, budget_ms, path):
    runtime, engines, _ = make()
    answer = runtime.infer(FRAME, Budget.within(budget_ms) if budget_ms < math.inf else None)
    assert engines.paths_run == [path] and [run.unit for run in answer.trace] == path
    assert answer.elapsed_ms == pytest.approx(sum(engines.ms[u] for u in path) + SYNC_MS)
    assert sum(run.host_ms for run in answer.trace) == pytest.approx(answer.elapsed_ms)
    assert [run.gpu_ms for run in answer.trace] == [engines.ms[u] for u in path]


def test_an_unknown_budget_waits_at_every_boundary(make):
    runtime, engines, _ = make()
    answer = runtime.infer(FRAME, Budget.unknown())
    assert engines.paths_run == [] and Counter(engines.ran).total() == len(answer.trace) > 4
    assert all(run.host_ms == pytest.approx(run.gpu_ms + SYNC_MS) for run in answer.trace)


def test_who_wants_revisions_seen_at_once_says_so(make):
    runtime, engines, _ = make(ahead=False)
    budget = Budget.within(100)
    engines.after = lambda name: budget.revise(ms=2.0) if name == "segment-1" else None
    assert runtime.infer(FRAME, budget).exit < 4 and engines.paths_run == []
    runtime, engines, _ = make()
    budget = Budget.within(100)
    engines.after = lambda name: budget.revise(ms=2.0) if name == "segment-1" else None
    answer = runtime.infer(FRAME, budget)
    assert answer.exit == 4 and answer.met_deadline is False, "the revision is seen at the end, and told"


def test_the_slowdown_is_learnt_from_gpu_times(make):
    runtime, engines, _ = make()
    engines.slow = 2.0
    for _ in range(10):
        answer = runtime.infer(FRAME, Budget.within(3.5))
    assert answer.slowdown == pytest.approx(2.0, rel=0.05) and answer.exit < 4 and answer.met_deadline


@pytest.mark.parametrize("policy", [Untimed, lambda paths: StaticExit(paths, 1)])
def test_policies_without_a_profile_commit_too(make, bundle, policy):
    from jetson.scheduling.paths import Paths

    runtime, engines, _ = make(policy(Paths.of(bundle.manifest)))
    runtime.infer(FRAME)
    assert len(engines.paths_run) == 1


@pytest.mark.parametrize(
    ("fails", "exit_", "trace"),
    [
        ({"segment-2"}, 2, ["branch-2-cnn-add"]),
        ({"segment-3"}, 3, ["branch-4-vit"]),
        ({"segment-2", "branch-2-cnn-add"}, 1, ["branch-2-mlp"]),
    ],
)
def test_a_path_that_breaks_ends_in_the_branch_before_the_break(make, fails, exit_, trace):
    runtime, engines, _ = make()
    engines.fails = fails
    answer = runtime.infer(FRAME, Budget.within(100))
    assert answer.exit == exit_ and f"unit {min(fails - set(trace), key=len)} failed" in answer.error
    assert [run.unit for run in answer.trace] == trace


@pytest.mark.parametrize("fails", [{"segment-1"}, {"head"}, {"segment-3", "branch-4-vit"}])
def test_a_path_that_leaves_no_branch_is_an_error_that_names_the_unit(make, fails):
    runtime, engines, _ = make()
    engines.fails = fails
    with pytest.raises(EngineError, match=f"unit {max(fails)} failed"):
        runtime.infer(FRAME, Budget.within(100))


def test_an_exit_at_the_end_of_a_path_that_gives_nan_is_a_failure(make):
    runtime, engines, _ = make()
    engines.outputs[-1][0, 0] = math.nan
    with pytest.raises(EngineError, match="unit head gave NaN"):
        runtime.infer(FRAME, Budget.within(100))
