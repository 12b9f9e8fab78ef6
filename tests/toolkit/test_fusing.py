"""Which branches are fused: both sides of the rule, on bundles whose answers and times are made up."""

import msgspec
import numpy as np
import pytest

from jetson.errors import ProfileError
from jetson.profiling.profile import EngineInfo, Sketch
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import honest
from toolkit.fusing import branch_time, cost_of_call, decide, pays_from, shares_taken, weigh

EXITS = ((2, "mlp"), (4, "vit"), (6, "head"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("fusing") / "bundle", exits=EXITS, quality=(0.5, 0.7, 0.9))


@pytest.fixture(scope="module")
def samples():
    return {"fit": honest(600, 3, seed=1), "select": honest(600, 3, seed=2)}


def measured(bundle, call_ms=0.1, **medians):
    names = {
        u.name: medians.get(u.name.replace("-", "_"), 1.0 if u.kind == "segment" else 0.3)
        for u in bundle.manifest.units
    }
    return msgspec.structs.replace(fake_profile(bundle, medians=names, spread=0.02), call_ms=call_ms)


@pytest.mark.parametrize(
    ("share", "boundary", "skipping", "fuse"),
    [(1.0, 0.1, 0.0, True), (0.5, 0.05, 0.1, False), (0.0, 0.0, 0.2, False), (0.7, 0.07, 0.06, True)],
)
def test_both_sides_are_of_all_frames_that_run_the_segment(share, boundary, skipping, fuse):
    found = weigh(share, call_ms=0.1, branch_ms=0.3)
    assert found == pytest.approx((boundary, skipping)) and found.fuse is fuse


def test_a_tie_leaves_the_branch_apart():
    assert not weigh(0.0, 0.1, 0.1).fuse and not weigh(0.5, 0.1, 0.2).fuse


@pytest.mark.parametrize(("call_ms", "branch_ms"), [(0.1, 0.3), (0.002, 0.7), (0.2, 0.1), (0.0, 0.3)])
def test_fusing_pays_above_a_share_and_not_below(call_ms, branch_ms):
    share = pays_from(call_ms, branch_ms)
    assert 0.0 <= share <= 1.0
    assert not weigh(max(share - 1e-6, 0.0), call_ms, branch_ms).fuse
    if share < 1.0:
        assert weigh(share + 1e-6, call_ms, branch_ms).fuse


def test_without_a_gpu_a_call_is_what_was_measured(bundle):
    profile = measured(bundle, call_ms=0.004)
    assert cost_of_call(bundle.manifest, profile) == 0.004
    assert branch_time(profile, "head", 0.004) == profile.units["head"].host_ms.median


def test_with_a_gpu_it_is_what_the_gpu_did_not_do(bundle):
    profile = measured(bundle, call_ms=None)
    host = {name: unit.host_ms.median for name, unit in profile.units.items()}
    units = {
        n: msgspec.structs.replace(u, gpu_ms=Sketch.of([0.8 * u.host_ms.median])) for n, u in profile.units.items()
    }
    profile = msgspec.structs.replace(profile, units=units)
    exits = [host[u] for u in bundle.manifest.exits[1].units]
    expected = 0.2 * sum(exits) / len(exits)
    assert cost_of_call(bundle.manifest, profile) == pytest.approx(expected, rel=0.05)
    assert branch_time(profile, "head", 0.1) == pytest.approx(0.1 + 0.8 * host["head"], rel=1e-4)


def test_an_old_profile_is_refused(bundle):
    with pytest.raises(ProfileError, match="measure again with: offramp profile"):
        cost_of_call(bundle.manifest, measured(bundle, call_ms=None))


def test_a_branch_that_ends_the_way_is_always_taken(bundle, samples):
    early, middle, last = shares_taken(bundle.manifest, measured(bundle), samples)
    assert last > 0.95 and early < last and 0.0 <= middle <= 1.0


def test_an_engine_that_runs_ahead_takes_one_branch_a_frame(bundle, samples):
    engine = EngineInfo(name="tensorrt", version="10.3.0", threads=1)
    profile = msgspec.structs.replace(measured(bundle), engine=engine)
    early, middle, last = shares_taken(bundle.manifest, profile, samples)
    assert last == 1.0
    # All frames run the first segment; those that leave there do not run the second.
    assert 0.0 < early < 1.0 and 0.0 < middle < 1.0


def test_the_head_is_fused_and_a_dear_branch_that_is_often_skipped_is_not(bundle, samples):
    choices = decide(bundle.manifest, measured(bundle, branch_4_vit=0.8), samples)
    assert [c.branch for c in choices] == ["branch-2-mlp", "branch-4-vit", "head"]
    assert [c.segment for c in choices] == ["segment-1", "segment-2", "segment-3"]
    assert [c.fused for c in choices][1:] == [False, True]
    for choice in choices:
        assert choice.fused == (choice.boundary_ms > choice.skipping_ms) and choice.segment in choice.reason


def test_a_call_that_costs_more_than_all_branches_fuses_all_that_are_taken(bundle, samples):
    choices = decide(bundle.manifest, measured(bundle, call_ms=0.299), samples)
    taken = shares_taken(bundle.manifest, measured(bundle), samples)
    assert [c.fused for c in choices] == [share > 0.01 for share in taken]
    assert not any(c.fused for c in decide(bundle.manifest, measured(bundle, call_ms=0.0), samples))


def test_without_recorded_answers_nothing_is_decided(bundle):
    with pytest.raises(ProfileError, match="records no answers"):
        decide(bundle.manifest, measured(bundle), {})


def test_the_same_input_gives_the_same_choices(bundle, samples):
    profile = measured(bundle)
    assert decide(bundle.manifest, profile, samples) == decide(bundle.manifest, profile, samples)
    assert np.isfinite(shares_taken(bundle.manifest, profile, samples)).all()
