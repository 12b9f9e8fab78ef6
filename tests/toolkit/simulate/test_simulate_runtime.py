"""The simulated walk is the runtime's: on engines with a virtual clock frames have the same exits and times."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from jetson import Budget, Runtime
from tests.bundles import FakeEngines, VirtualClock
from toolkit.simulate import scenarios
from toolkit.simulate.blocks import blocks, choose_samples, recorded_of
from toolkit.simulate.contest import Entrant
from toolkit.simulate.contestants import Rewards, contestant
from toolkit.simulate.course import WEARS_OFF
from toolkit.simulate.loop import simulate

FRAMES = 150
PICTURE = np.zeros((8, 8), np.uint8)


class Stage(FakeEngines):
    """Engines that take the time a course says, and let its revisions and cuts happen."""

    def __init__(self, world, clock, course):
        super().__init__(world.bundle, clock, world.profile)
        self.course, self.world = course, world
        self.said = world.outputs["test"]

    def begin(self, i, budget):
        self.frame, self.budget, self.count = i, budget, 0
        self.start = self.course.t_ms[i]
        self.clock.now = self.start / 1e3
        self.told = True
        for exit_, unit in enumerate(self.paths.branches):
            self.outputs[unit][0] = self.said[self.course.sample[i], exit_]

    def take(self, column, wake=0.0):
        c, now = self.course, self.clock.now * 1e3
        pace = c.pace[np.searchsorted(c.change_ms, now, side="right") - 1]
        self.clock.advance(float(c.draws_ms[self.frame, column]) * pace * (1.0 + wake))
        gone = self.clock.now * 1e3 - self.start
        if c.hidden[self.frame] and gone > c.budget_ms[self.frame]:
            after, self.clock.now = self.clock.now, (self.start + c.budget_ms[self.frame]) / 1e3
            self.budget.cut()
            self.clock.now = after
        if self.told and not c.hidden[self.frame] and gone >= c.revise_at_ms[self.frame]:
            self.budget.revise(float(c.revised_ms[self.frame]))
            self.told = False

    def run(self, unit):
        self.take(unit + 1, self.course.wake[self.frame] * WEARS_OFF**self.count)
        self.count += 1


def on_device(monkeypatch, world, policy, course, late):
    """Exits and times of every frame, as the runtime has them."""
    clock = VirtualClock(0.0)
    for module in ("jetson.runtime", "jetson.walk", "jetson.scheduling.budget"):
        monkeypatch.setattr(f"{module}.clock", clock)
    engines = Stage(world, clock, course)
    runtime = Runtime(world.bundle, engines, policy, late=late)
    runtime.preprocessor = lambda _frame, _out: engines.take(0)
    found = SimpleNamespace(exit=[], elapsed_ms=[], branches=[], slowdown=[])
    for i in range(len(course.t_ms)):
        budget = Budget.unknown() if course.hidden[i] else Budget.within(float(course.budget_ms[i]))
        engines.begin(i, budget)
        if not math.isnan(course.gap_ms[i]):
            runtime._last_answer = clock.now - course.gap_ms[i] / 1e3
        answer = runtime.infer(PICTURE, budget)
        found.exit.append(answer.exit - 1)
        found.elapsed_ms.append(answer.elapsed_ms)
        found.branches.append(sum(run.unit == "head" or run.unit.startswith("branch") for run in answer.trace))
        found.slowdown.append(answer.slowdown)
    return found


POLICIES = ("planner", "planner-confident", "replan", "deepest-p95", "alert", "threshold", "static-4")


@pytest.mark.parametrize("late", ["lost", "best-so-far"])
@pytest.mark.parametrize("scenario", ["contention", "revised", "hidden", "adversarial", "idle", "spikes"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_frame_by_frame(monkeypatch, worlds, task, scenario, late):
    world = worlds[task]
    manifest, profile = world.bundle.manifest, world.profile
    made = scenarios.make(scenario, profile, FRAMES, np.random.default_rng(3))
    names = [u.name for u in manifest.units]
    order = choose_samples(len(world.samples["test"]), FRAMES, 3)
    (course,) = blocks(made, profile, names, order, 3)
    used = set()
    for name in POLICIES[: 7 if task == "classification" else 5]:
        makers = [contestant(name, manifest, profile, world.samples, Rewards(late=late)) for _ in range(2)]
        entrant = Entrant(name, makers[0])
        went = entrant.run(simulate, course, recorded_of(manifest, world.samples["test"]), late == "lost")
        device = on_device(monkeypatch, world, makers[1], course, late)
        assert went.exit.tolist() == device.exit, name
        assert went.branches.tolist() == device.branches, name
        assert went.elapsed_ms == pytest.approx(np.array(device.elapsed_ms), rel=1e-9), name
        assert makers[0].memory == pytest.approx(makers[1].memory, rel=1e-6, abs=1e-9), name
        used |= {(name, e) for e in device.exit}
    assert len(used) >= 10, "too few exits were used for this to say much"
