"""A runtime on engines that take the time they are told to, on a clock that stands still in between."""

from types import SimpleNamespace

import pytest

from jetson import Runtime
from jetson.scheduling.paths import Paths
from jetson.scheduling.replan import Replan
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    return {
        "classification": tiny_bundle(folder / "c"),
        "regression": tiny_bundle(folder / "r", task="regression", outputs=2),
    }


@pytest.fixture
def make(bundles, monkeypatch):
    """A function that makes a runtime; a segment takes 1 ms, a branch 0.25 ms, preparing a frame 0.1 ms."""

    def runtime(task="classification", policy=Replan, preprocess_ms=0.1, **options):
        bundle, clock = bundles[task], VirtualClock()
        profile = fake_profile(bundle, **options)
        engines = FakeEngines(bundle, clock, profile)
        monkeypatch.setattr("jetson.runtime.clock", clock)
        monkeypatch.setattr("jetson.walk.clock", clock)
        monkeypatch.setattr("jetson.streams.clock", clock)
        monkeypatch.setattr("jetson.scheduling.budget.clock", clock)
        chosen = policy(bundle.manifest, profile) if policy is Replan else policy(Paths.of(bundle.manifest))
        made = Runtime(bundle, engines, chosen, timed=policy is Replan)
        prepare = made.preprocessor
        made.preprocessor = lambda frame, out: (prepare(frame, out), clock.advance(preprocess_ms))
        return SimpleNamespace(runtime=made, engines=engines, clock=clock, infer=made.infer)

    return runtime
