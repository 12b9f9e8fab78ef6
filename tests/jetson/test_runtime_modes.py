"""The power mode changes while the runtime runs: between two frames another profile holds."""

import msgspec
import numpy as np
import pytest

from jetson import Budget, Runtime
from jetson.errors import ProfileError
from jetson.power import watch
from jetson.profiling import check, modes
from jetson.scheduling.memory import CUTS, FRAMES, LEFT, LOG, REVISED, SEEN
from jetson.scheduling.planner import Planner
from tests.bundles import fake_profile, tiny_bundle

replace = msgspec.structs.replace
FRAME = np.zeros((8, 8), np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("m") / "bundle")


@pytest.fixture
def board(bundle, monkeypatch, tmp_path):
    """A board with power modes; its nvpmodel is asked only when the runtime looks, and that is when we say so."""
    here = modes.this_device()
    monkeypatch.setattr(watch, "ROOT", tmp_path)
    monkeypatch.setattr(watch, "LOOK_S", 1e6)
    monkeypatch.setattr("jetson.following.LOOK_S", 1e6)

    class Board:
        mode = "MAXN"

        def profile(self, mode, **options):
            base = fake_profile(bundle, **options)
            return replace(base, device=replace(base.device, power_mode=mode))

        def change(self, mode, runtime):
            self.mode = mode
            (tmp_path / "var" / "lib" / "nvpmodel").mkdir(parents=True, exist_ok=True)
            (tmp_path / "var" / "lib" / "nvpmodel" / "status").write_text(mode)
            runtime._following._watch.look()

    made = Board()
    monkeypatch.setattr(watch.nvpmodel, "current", lambda: made.mode)
    for module in (modes, check):
        monkeypatch.setattr(module, "this_device", lambda: replace(here, power_mode=made.mode))
    return made


@pytest.fixture
def load(bundle, board):
    loaded = []

    def start(*profiles, **options):
        loaded.append(Runtime.load(bundle, profiles, **options))
        return loaded[-1]

    yield start
    for runtime in loaded:
        runtime.close()


def test_the_planner_becomes_that_of_the_other_mode(load, board):
    fast, slow = board.profile("MAXN"), board.profile("15W", segment_ms=3.0)
    runtime = load(fast, slow)
    assert runtime.profile is fast and runtime.infer(FRAME, Budget.within(100)).exit == 4
    first = runtime.policy
    board.change("15W", runtime)
    assert runtime.policy is first  # not in the middle of anything
    runtime.infer(FRAME, Budget.within(100))
    assert runtime.profile is slow and runtime.policy.profile is slow and runtime.notice is None
    assert isinstance(runtime.policy, Planner) and runtime.policy is not first
    board.change("MAXN", runtime)
    runtime.infer_many([FRAME], [Budget.within(100)])
    assert runtime.profile is fast


def test_what_was_learnt_of_the_device_is_forgotten_and_of_budgets_kept(load, board):
    runtime = load(board.profile("MAXN"), board.profile("15W", segment_ms=2.0, branch_ms=0.5))
    memory = runtime.policy.memory
    memory[LOG], memory[SEEN], memory[FRAMES], memory[REVISED] = 0.7, 500.0, 40.0, 12.0
    memory[CUTS + 20], memory[LEFT + 63] = 6.0, 2.0
    board.change("15W", runtime)
    fresh = runtime._following._next[1].memory.copy()
    runtime._follow()
    after = runtime.policy.memory
    assert (after[LOG], after[SEEN]) == (fresh[LOG], fresh[SEEN]) == (0.0, 0.0)
    assert (after[FRAMES], after[REVISED]) == (40.0, 12.0)
    # All takes twice as long here, so what ended at bin 20 of 64 ends at bin 10.
    assert after[CUTS + 10] == 6.0 and after[CUTS : CUTS + 64].sum() == 6.0 and after[LEFT : LEFT + 64].sum() == 2.0


def test_a_mode_without_a_profile_is_said_and_the_planner_stays(load, board):
    runtime = load(board.profile("MAXN"), board.profile("15W"))
    first = runtime.policy
    board.change("7W", runtime)
    runtime.infer(FRAME, Budget.within(100))
    assert runtime.policy is first and "power mode 7W holds, and the profiles are of MAXN, 15W" in runtime.notice
    board.change("MAXN", runtime)
    runtime.infer(FRAME, Budget.within(100))
    assert runtime.notice is None


def test_one_profile_is_watched_too(load, board):
    runtime = load(board.profile("MAXN"))
    board.change("15W", runtime)
    assert "power mode 15W holds, and the profiles are of MAXN" in runtime.notice


def test_a_profile_that_does_not_fit_what_is_loaded_is_said(load, board):
    slow = board.profile("15W")
    slow = replace(slow, engine=replace(slow.engine, threads=slow.engine.threads + 1))
    runtime = load(board.profile("MAXN"), slow)
    board.change("15W", runtime)
    runtime.infer(FRAME, Budget.within(100))
    assert runtime.profile.device.power_mode == "MAXN"
    assert "power mode 15W holds, and its profile is not taken: " in runtime.notice and "threads" in runtime.notice


def test_other_policies_change_too(load, board):
    runtime = load(board.profile("MAXN"), board.profile("15W", segment_ms=3.0), policy="replan")
    board.change("15W", runtime)
    runtime.infer(FRAME, Budget.within(100))
    assert runtime.policy.name == "replan" and runtime.profile.device.power_mode == "15W"


def test_no_profile_of_the_mode_that_holds(bundle, board):
    board.mode = "7W"
    with pytest.raises(ProfileError, match="power mode 7W holds, and the profiles are of MAXN, 15W"):
        Runtime.load(bundle, [board.profile("MAXN"), board.profile("15W")])


def test_closing_ends_the_watch(load, board):
    runtime = load(board.profile("MAXN"))
    thread = runtime._following._watch._thread
    assert thread.is_alive()
    runtime.close()
    assert not thread.is_alive()
