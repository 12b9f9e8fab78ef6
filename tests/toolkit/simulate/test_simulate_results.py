"""What a simulation says of policies: by hand where that can be done, by what must hold elsewhere."""

import math

import numpy as np
import pytest

from jetson.beliefs import Posterior
from jetson.confidence import believe
from jetson.errors import BadInput, BudgetError
from jetson.samples import Samples
from jetson.scheduling.baselines import make
from jetson.scheduling.induction import Prices
from jetson.scheduling.ruled import Ruled
from jetson.scheduling.trace import FrameBudget
from toolkit.simulate import scenarios
from toolkit.simulate.blocks import blocks, choose_samples, recorded_of
from toolkit.simulate.contest import Entrant, run_contest
from toolkit.simulate.contestants import Rewards, check_names, contestant, usual
from toolkit.simulate.loop import say, simulate
from toolkit.simulate.result import over_seeds

KEYS = {
    *("policy", "acc_at_d", "mean_abs_error", "value", "miss_rate", "infeasible_share", "regret_latency_oracle"),
    *("regret_full_oracle", "compute_ms", "branches_per_frame", "decision_us", "model_gap", "frames", "exits"),
}


def test_the_figures_are_there_and_hang_together(contest):
    found = contest(frames=600, names=("planner", "replan", "static-1", "static-4", "threshold"))
    for name, row in found.items():
        assert set(row) == KEYS and row["policy"] == name and row["frames"] == 600 == sum(row["exits"].values())
        assert row["mean_abs_error"] is None and 0 <= row["acc_at_d"] <= found["oracle-full"]["acc_at_d"]
        assert row["regret_full_oracle"] == pytest.approx(found["oracle-full"]["acc_at_d"] - row["acc_at_d"])
        assert (row["model_gap"] is None) == (name != "planner")
        assert (row["decision_us"] is None) == name.startswith("oracle")
    latency = found["oracle-latency"]
    assert latency["miss_rate"] == latency["regret_latency_oracle"] == found["oracle-full"]["miss_rate"] == 0.0
    assert all(0 <= found[n]["regret_latency_oracle"] < 0.15 for n in ("planner", "replan"))
    assert abs(found["planner"]["model_gap"]) < 0.05 and 0.2 < found["planner"]["decision_us"] < 1000
    assert found["static-4"]["exits"] == {"2:mlp": 0, "2:cnn-add": 0, "4:vit": 0, "6:head": 600}
    assert found["static-4"]["miss_rate"] > 0.5 > 0.05 > found["static-1"]["miss_rate"]
    assert len({row["infeasible_share"] for row in found.values()}) == 1


def test_regression_has_errors_in_place_of_accuracy(contest, worlds):
    found = contest(task="regression", frames=400)
    assert set(found) == {*usual(worlds["regression"].bundle.manifest)} and "threshold" not in found
    for row in found.values():
        assert row["acc_at_d"] is None and row["mean_abs_error"] > 0
        assert row["regret_full_oracle"] == pytest.approx(found["oracle-full"]["value"] - row["value"])
        assert row["regret_full_oracle"] >= 0


class EveryExit(Ruled):
    """A threshold that is never reached, and nothing takes too long for it: all exits in turn."""

    def __init__(self, manifest, profile):
        made = make("threshold", manifest, profile)
        rules = made.rules._replace(level=math.inf, needed_ms=np.zeros_like(made.rules.needed_ms))
        super().__init__("every", manifest, profile, rules)


def walk_through(world, budgets, name="static-4", late="lost", hidden=False):
    """One policy through a few frames whose latencies are the profile's: exit, the one that counts, and when."""
    manifest = world.bundle.manifest
    course = scenarios.from_trace([FrameBudget(10.0 * i, *b) for i, b in enumerate(budgets)])
    course = scenarios.hide(course) if hidden else course
    order = choose_samples(len(world.samples["test"]), len(course), 0)
    units = [u.name for u in manifest.units]
    (block,) = blocks(course, world.profile, units, order, 0)
    medians = [world.profile.preprocess_ms.median, *(world.profile.units[u].end_to_end_ms.median for u in units)]
    block = block._replace(draws_ms=np.tile(np.array(medians, np.float32), (len(course), 1)))
    if name == "every":
        policy = EveryExit(manifest, world.profile)
    else:
        policy = contestant(name, manifest, world.profile, world.samples, Rewards(late=late))
    entrant = Entrant(name, policy)
    return entrant.run(simulate, block, recorded_of(manifest, world.samples["test"]), late == "lost")


def test_what_counts_by_hand(worlds):
    world = worlds["classification"]  # exits at about 0.65, 0.85, 1.45 and 1.65 ms
    went = walk_through(world, [(5.0,), (1.0,), (0.3,), (math.inf,), (5.0, 1.0, 1.5), (5.0, 2.0, 0.1)])
    assert went.exit.tolist() == [3] * 6 and went.counted.tolist() == [3, -1, -1, 3, -1, 3]
    assert went.feasible.tolist() == [True, True, False, True, True, True]
    assert went.elapsed_ms == pytest.approx(np.full(6, 1.65), rel=0.02)
    assert went.elapsed_ms - went.compute_ms == pytest.approx(np.full(6, 0.05), rel=0.01)


def test_the_answer_in_hand_counts_where_that_is_so(worlds):
    world = worlds["classification"]
    every = [(5.0,), (1.9,), (1.0,), (0.7,), (0.3,)]  # exits in turn at about 0.65, 0.95, 1.85 and 2.45 ms
    hidden = walk_through(world, every, "every", hidden=True)
    assert hidden.counted.tolist() == [3, 2, 1, 0, -1]
    assert hidden.exit.tolist() == [3, 2, 1, 0, 0], "what comes too late is not the answer"
    shrinking = [(5.0, 0.9, 1.0)]
    assert walk_through(world, shrinking, "every", "lost").counted.tolist() == [-1]
    assert walk_through(world, shrinking, "every", "best-so-far").counted.tolist() == [1]


def test_what_an_answer_says_is_what_the_runtime_believes(worlds):
    world = worlds["classification"]
    exits, outputs = world.bundle.manifest.exits, world.outputs["test"]
    recorded = recorded_of(world.bundle.manifest, world.samples["test"])
    for sample in range(60):
        chain, hand, before = None, -1, 0.0
        for k in range(4):
            alone = believe(outputs[sample, k], 1.5, exits[k].posterior)
            chain = believe(outputs[sample, k], 1.5, exits[k].posterior, chain)
            assert say(recorded, sample, k, -1, 0.0) == pytest.approx(alone.logit, abs=1e-5)
            before = say(recorded, sample, k, hand, before)
            assert before == pytest.approx(chain.logit, abs=1e-5)
            hand = k
    # After a later exit of the same layer, an earlier one stands alone.
    assert say(recorded, 0, 0, 1, 3.0) == say(recorded, 0, 0, -1, 0.0)


@pytest.mark.parametrize("posterior", [None, Posterior(alone=(0.1, 0.8), joined=None)])
def test_exits_that_do_not_join(worlds, posterior):
    import msgspec

    world = worlds["classification"]
    exits = tuple(msgspec.structs.replace(e, posterior=posterior) for e in world.bundle.manifest.exits)
    recorded = recorded_of(msgspec.structs.replace(world.bundle.manifest, exits=exits), world.samples["test"])
    output = world.outputs["test"][0]
    before = believe(output[0], 1.5, posterior)
    assert say(recorded, 0, 1, 0, before.logit) == pytest.approx(believe(output[1], 1.5, posterior, before).logit)


def test_policies_meet_the_same_latencies_whoever_else_takes_part(contest):
    few = contest("contention", names=("replan",))
    many = contest("contention", names=("static-1", "replan", "alert"))
    for row in (few["replan"], many["replan"]):
        row.pop("decision_us")
    assert few["replan"] == many["replan"]


def test_blocks_join_without_a_seam(contest, monkeypatch):
    whole = contest("stationary", 100, names=("planner", "replan"))
    monkeypatch.setattr("toolkit.simulate.contest.FIRST_REFRESH", 7)
    parts = contest("stationary", 100, names=("planner", "replan"))
    assert whole["replan"]["value"] == parts["replan"]["value"]


def test_a_price_saves_compute_and_a_promise_holds(contest):
    free, dear = contest(frames=500), contest(frames=500, prices=Prices(per_ms=0.3))
    assert dear["planner"]["compute_ms"] < 0.9 * free["planner"]["compute_ms"]
    assert dear["replan"]["compute_ms"] == free["replan"]["compute_ms"]
    promised = contest("contention", frames=2000, miss_rate=0.02, names=("planner",))
    assert promised["planner"]["miss_rate"] < 0.05
    with pytest.raises(BudgetError, match="cannot be promised"):
        contest(miss_rate=0.0001)


def test_thrift_keeps_a_device_cool(contest):
    found = contest("thermal", frames=3000, names=("static-1", "static-4"))
    assert found["static-4"]["compute_ms"] / found["static-4"]["frames"] > 0
    assert found["static-1"]["infeasible_share"] < found["static-4"]["infeasible_share"]


def test_seeds_are_summed_up(contest):
    runs = [contest(seed=seed, frames=200, names=("replan",))["replan"] for seed in range(3)]
    found = over_seeds(runs)
    values = [r["acc_at_d"] for r in runs]
    assert found["acc_at_d"] == pytest.approx(np.mean(values)) and found["spread"]["acc_at_d"] == (
        min(values),
        max(values),
    )
    assert found["frames"] == 600 == sum(found["exits"].values()) and found["model_gap"] is None
    assert over_seeds(runs[:1]) == runs[0]


def test_wrong_names_are_told_the_right_ones(worlds):
    world = worlds["classification"]
    check_names(("planner-plain", "oracle-full", "static-4", "threshold-.5"), world.bundle.manifest)
    with pytest.raises(BadInput, match=r"no policy is called 'best'; there are planner, planner-plain.*oracle-full"):
        check_names(("planner", "best"), world.bundle.manifest)
    with pytest.raises(BadInput, match="exits 1 to 4"):
        check_names(("static-5",), world.bundle.manifest)
    with pytest.raises(BadInput, match="threshold: regression"):
        check_names(("threshold",), worlds["regression"].bundle.manifest)


def test_a_bundle_with_one_role_of_samples_is_enough(worlds):
    world = worlds["classification"]
    manifest, samples = world.bundle.manifest, {"test": world.samples["test"]}
    assert isinstance(samples["test"], Samples)
    course = scenarios.make("stationary", world.profile, 50, np.random.default_rng(0))
    tallies = run_contest(simulate, ("planner",), manifest, world.profile, samples, course, Rewards())
    assert tallies["planner"].frames == 50
