"""From outputs to the manifest's records, and that the runtime then says what the records were made from."""

import msgspec
import numpy as np
import pytest

from calibration.beliefs import LEAST, HeldOut, add_reliability, learn_beliefs
from calibration.outputs import collect_outputs
from calibration.posterior import joined_features, predict
from calibration.reliability import reliability
from jetson import Budget, Runtime
from jetson.bundle import Bundle
from jetson.confidence import believe
from jetson.engines import load_engines
from jetson.errors import DataError
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import StaticExit, Untimed
from tests.bundles import edit_manifest, tiny_bundle

FRAMES = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), dtype=np.uint8)


def classified(n=200, exits=3, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    noise = rng.normal(0, 1.5, (n, 1, classes)) + rng.normal(0, 1, (n, exits, classes))
    strength = 2 + np.arange(exits)[:, None]
    return HeldOut((strength * np.eye(classes)[labels][:, None] + noise).astype(np.float32), labels)


def valued(n=200, exits=3, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.normal(10, 3, (n, outputs)).astype(np.float32)
    noise = rng.normal(0, 1, (n, exits, outputs)) / (1 + np.arange(exits))[:, None]
    return HeldOut((targets[:, None] + noise).astype(np.float32), targets)


def into_manifest(bundle, beliefs):
    """The bundle opened anew, with these beliefs in its manifest: the reader's own rules have then passed."""

    def change(data):
        data["joint"] = msgspec.to_builtins(beliefs.joint)
        for exit_, found in zip(data["exits"], beliefs.exits, strict=True):
            names = ("temperature", "posterior", "interval", "reliability")
            exit_.update({name: msgspec.to_builtins(getattr(found, name)) for name in names})

    edit_manifest(bundle.path, change)
    return Bundle.open(bundle.path)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A bundle that knows how sure its answers may be, and the frames that said so."""
    bundle = tiny_bundle(tmp_path_factory.mktemp("beliefs") / "bundle")
    outputs = collect_outputs(bundle.manifest, load_engines(bundle), FRAMES)
    rng = np.random.default_rng(1)
    wrong = rng.random(len(FRAMES)) < 0.3
    labels = np.where(wrong, rng.integers(0, 3, len(FRAMES)), outputs[:, -1].argmax(axis=1))
    fit, select = HeldOut(outputs[:60], labels[:60]), HeldOut(outputs[60:], labels[60:])
    beliefs = learn_beliefs("classification", fit, select)
    return into_manifest(bundle, beliefs), beliefs, fit, select


def test_the_runtime_states_what_the_reliability_was_made_from(learnt):
    bundle, beliefs, _, select = learnt
    paths, engines = Paths.of(bundle.manifest), load_engines(bundle)
    for k, exit_ in enumerate(beliefs.exits):
        runtime = Runtime(bundle, engines, StaticExit(paths, k))
        answers = [runtime.infer(frame, Budget.unbounded()) for frame in FRAMES[60:]]
        stated = np.array([a.confidence for a in answers])
        right = np.array([a.class_index for a in answers]) == select.targets
        plain = np.array([believe(output, 1.0).confidence for output in select.outputs[:, k]])
        assert exit_.reliability == (reliability(plain, stated, right, "select"),)
        bucket = np.searchsorted(beliefs.joint.edges[k], stated, side="right")
        assert tuple(np.bincount(bucket, minlength=len(beliefs.joint.n[k])).tolist()) == beliefs.joint.n[k]
        values = [row[k] for row in beliefs.joint.value[k]]
        assert values == pytest.approx([right[bucket == b].mean() for b in range(len(values))], abs=1e-4)


def test_the_runtime_agrees_with_what_was_fitted_along_the_whole_chain(learnt):
    """A numpy version of the formula, all frames at once as the fit sees them, beside the runtime's own."""
    bundle, beliefs, _, select = learnt
    runtime = Runtime(bundle, load_engines(bundle), Untimed(Paths.of(bundle.manifest)))
    answers = [runtime.infer(frame, Budget.unknown()) for frame in FRAMES[60:]]
    outputs, chain = select.outputs.astype(np.float64), None
    for k, exit_ in enumerate(beliefs.exits):
        scaled = outputs[:, k] / exit_.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        said = np.log(1 / (powers.sum(axis=1) - 1))
        if chain is None:
            chain = exit_.posterior.alone[0] + exit_.posterior.alone[1] * said
        else:
            same = outputs[:, k].argmax(axis=1) == outputs[:, k - 1].argmax(axis=1)
            chain = predict(joined_features(said, chain, same), exit_.posterior.joined)
    assert [a.exit for a in answers] == [4] * 60
    assert [a.confidence for a in answers] == pytest.approx((1 / (1 + np.exp(-chain))).tolist(), rel=1e-9)
    for answer, frame in zip(answers, select.outputs, strict=True):
        held = None
        for output, exit_ in zip(frame, beliefs.exits, strict=True):
            held = believe(output, exit_.temperature, exit_.posterior, held)
        assert answer.confidence == held.confidence, "to the last bit"


def test_every_part_of_a_belief_is_there(learnt):
    _, beliefs, fit, select = learnt
    assert [e.posterior.joined is None for e in beliefs.exits] == [True, False, False, False]
    assert all(e.temperature > 0 and e.interval is None for e in beliefs.exits)
    assert (beliefs.joint.split, [r.n for e in beliefs.exits for r in e.reliability]) == ("select", [60] * 4)
    assert learn_beliefs("classification", fit, select) == beliefs


def test_the_test_part_adds_its_reliability_and_changes_nothing_else():
    before = learn_beliefs("classification", classified(), classified(seed=1))
    after = add_reliability(before, classified(500, seed=2))
    assert after.joint == before.joint
    for old, new in zip(before.exits, after.exits, strict=True):
        assert new.reliability[0] == old.reliability[0] and (new.temperature, new.posterior) == (
            old.temperature,
            old.posterior,
        )
        assert [(r.split, r.n) for r in new.reliability] == [("select", 200), ("test", 500)]


def test_values_get_intervals_and_a_table_of_errors(tmp_path):
    fit, select = valued(exits=4), valued(seed=1, exits=4)
    beliefs = learn_beliefs("regression", fit, select)
    for k, exit_ in enumerate(beliefs.exits):
        assert exit_.temperature is exit_.posterior is None and exit_.reliability == ()
        assert (exit_.interval.n, exit_.interval.split, exit_.interval.level) == (200, "fit", 0.9)
        inside = np.abs(select.outputs[:, k] - select.targets) <= np.array(exit_.interval.half_width)
        assert inside.mean(axis=0) == pytest.approx(0.9, abs=0.08)
    assert beliefs.joint.n[0] == (25,) * 8
    errors = np.abs(select.outputs - select.targets[:, None]).mean(axis=2)
    for j in range(4):
        weights = np.array(beliefs.joint.n[j]) / 200
        assert weights @ np.array(beliefs.joint.value[j]) == pytest.approx(errors.mean(axis=0), rel=1e-3)
    assert add_reliability(beliefs, valued(seed=2, exits=4)) == beliefs
    bundle = into_manifest(tiny_bundle(tmp_path / "bundle", task="regression", outputs=2), beliefs)
    assert bundle.manifest.exits[0].interval == beliefs.exits[0].interval and bundle.manifest.joint == beliefs.joint


def test_a_manifest_of_twelve_exits_stays_small():
    beliefs = learn_beliefs("classification", classified(1000, 12), classified(1000, 12, seed=1))
    beliefs = add_reliability(beliefs, classified(1000, 12, seed=2))
    assert len(msgspec.json.encode(beliefs.joint)) < 12_000
    assert len(msgspec.json.encode([(e.posterior, e.interval) for e in beliefs.exits])) < 2_000
    assert len(msgspec.json.encode([e.reliability for e in beliefs.exits])) < 60_000


def changed(held, **changes):
    return HeldOut(changes.get("outputs", held.outputs), changes.get("targets", held.targets))


def spoilt(held, value):
    outputs = held.outputs.copy()
    outputs[5, 1, 0] = value
    return changed(held, outputs=outputs)


C, R = classified(), valued()
SELECT = {"classification": classified(seed=1), "regression": valued(seed=1)}


@pytest.mark.parametrize(
    ("task", "fit", "says"),
    [
        (
            "classification",
            classified(LEAST - 1),
            r"the fit half .* has 31 frames, too few .* it needs 32, so bring more",
        ),
        ("regression", valued(8), r"the fit half .* has 8 frames, too few"),
        ("classification", changed(C, targets=np.zeros(200, np.int64)), "frames of one class only; mix the classes"),
        ("classification", changed(C, targets=C.targets + 1), r"the fit part has labels outside 0\.\.3"),
        ("classification", changed(C, targets=C.targets - 1), r"the fit part has labels outside 0\.\.3"),
        ("classification", changed(C, targets=C.targets[:-1]), r"targets of shape \(199,\); its outputs need \(200,\)"),
        ("classification", changed(C, outputs=C.outputs[:, 0]), "frames x exits x outputs are needed"),
        ("classification", changed(C, outputs=C.outputs[:, :0]), "frames x exits x outputs are needed"),
        ("classification", changed(C, outputs=C.outputs[:, :2]), "not answered by the same exits"),
        (
            "classification",
            spoilt(C, np.nan),
            "1 of 200 frames of the fit part are answered with NaN or infinite values",
        ),
        ("classification", spoilt(C, -np.inf), "look for broken frames among them"),
        ("regression", spoilt(R, np.inf), "1 of 200 frames of the fit part"),
        (
            "regression",
            changed(R, targets=R.targets[:, :1]),
            r"targets of shape \(200, 1\); its outputs need \(200, 2\)",
        ),
        (
            "regression",
            changed(R, targets=R.targets * np.nan),
            "targets that are NaN or infinite; leave these frames out",
        ),
    ],
)
def test_what_nothing_can_be_learnt_from_is_one_line(task, fit, says):
    with pytest.raises(DataError, match=says) as told:
        learn_beliefs(task, fit, SELECT[task])
    assert "\n" not in str(told.value)


def test_the_other_parts_are_looked_at_as_closely():
    with pytest.raises(DataError, match="the select half of the calibration data has 31 frames"):
        learn_beliefs("classification", C, classified(31))
    with pytest.raises(DataError, match="1 of 200 frames of the select part"):
        learn_beliefs("classification", C, spoilt(C, np.nan))
    beliefs = learn_beliefs("classification", C, SELECT["classification"])
    with pytest.raises(DataError, match="the test part has labels outside"):
        add_reliability(beliefs, changed(C, targets=C.targets + 9))
    assert add_reliability(beliefs, classified(3, seed=4)).exits[0].reliability[1].n == 3


def test_a_select_half_of_one_class_is_judged_all_the_same():
    held = classified(400, seed=5)
    one = HeldOut(held.outputs[held.targets == 2], held.targets[held.targets == 2])
    assert len(learn_beliefs("classification", C, one).exits) == 3


@pytest.mark.slow
def test_digits_are_stated_better_than_by_the_softmax():
    """Three small models as exits, the first of which is far too sure; the posteriors must hold on frames unseen."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels, labels = pixels[order] / 16, labels[order]
    train, fit, select, test = (slice(*ends) for ends in ((0, 300), (300, 700), (700, 1100), (1100, 1797)))
    stages = [(GaussianNB(var_smoothing=1e-2), 4), (LogisticRegression(C=0.1), 2), (LogisticRegression(C=1.0), 1)]
    outputs = np.stack(
        [m.fit(pixels[train, ::s], labels[train]).predict_log_proba(pixels[:, ::s]) for m, s in stages], axis=1
    )
    held = [HeldOut(outputs[part].clip(-60).astype(np.float32), labels[part]) for part in (fit, select, test)]
    beliefs = add_reliability(learn_beliefs("classification", *held[:2]), held[2])
    for exit_ in beliefs.exits:
        for record in exit_.reliability:
            by_chance = 0.4 * np.sqrt(15 / record.n)
            assert record.after < by_chance + 0.02 and record.after < record.before
    logits = []
    for k in range(3):
        alone, joined = [], []
        for frame, label in zip(held[2].outputs, held[2].targets, strict=True):
            first, own = (believe(frame[i], beliefs.exits[i].temperature, beliefs.exits[i].posterior) for i in (0, k))
            after = believe(frame[k], beliefs.exits[k].temperature, beliefs.exits[k].posterior, first) if k else own
            for found, belief in ((alone, own), (joined, after)):
                found.append(np.log(belief.confidence if belief.class_index == label else 1 - belief.confidence))
        logits.append((np.mean(alone), np.mean(joined)))
    assert logits[2][1] > logits[2][0], "the last exit is the surer of its answer for knowing the first's"
