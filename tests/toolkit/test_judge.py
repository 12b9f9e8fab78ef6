"""What exits are worth and how sure they may be, from the roles of a data set."""

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from calibration.beliefs import LEAST
from jetson import Bundle
from jetson.bundle import MANIFEST
from jetson.confidence import posterior_logits
from jetson.errors import DataError
from tests.bundles import tiny_bundle
from tests.toolkit.pictures import SEED, pictures, sort_out
from toolkit.data.dataset import Part
from toolkit.judge import check_fits, judge
from toolkit.quantise import with_int8


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("j") / "bundle", seed=SEED)


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """A bundle of a regression."""
    return tiny_bundle(tmp_path_factory.mktemp("r") / "bundle", task="regression", outputs=2, seed=SEED)


def parts(bundle, n=40, **sizes):
    """Every role, and in each its own pictures."""
    found = {}
    for number, role in enumerate(("fit", "select", "test")):
        images = pictures(sizes.get(role, n), seed=number)
        if bundle.manifest.task == "classification":
            targets = sort_out(bundle, images, seed=number)
            targets[:3] = range(3)
        else:
            rng = np.random.default_rng(number)
            targets = rng.normal(size=(len(images), 2)).astype(np.float32)
        found[role] = Part(images[..., None], targets)
    return found


def told():
    titles = []

    def begin(title, n):
        titles.append((title, n))
        return lambda: None

    return titles, begin


def quiet(_title, _parts):
    return lambda: None


def written(folder, manifest):
    """As a reader finds it: decoding checks that the records belong together."""
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle.open(folder).manifest


def reproduced(bundle, manifest):
    """The samples in the folder give every exit's quality exactly, frame by frame."""
    opened = Bundle(bundle.path, manifest)
    assert set(manifest.samples) == {"fit", "select", "test"}
    for role, stated in manifest.samples.items():
        found = opened.samples(role)
        assert len(found) == stated.n and found.exits == len(manifest.exits)
        for exit_, worth in zip(manifest.exits, found.worth.T, strict=True):
            for quality in exit_.quality:
                assert quality.split != role or (worth.mean() == quality.value and len(worth) == quality.n)


def test_select_is_believed_and_test_reported(bundle):
    titles, begin = told()
    manifest, remarks = judge(bundle, parts(bundle, test=35), 2000, begin, strict=True)
    assert remarks == () and written(bundle.path, manifest) == manifest
    assert titles == [("exits on fit frames", 40), ("exits on select frames", 40), ("exits on test frames", 35)]
    for number, exit_ in enumerate(manifest.exits):
        assert [(q.split, q.n) for q in exit_.quality] == [("select", 40), ("test", 35)]
        assert all(len(q.per_class) == 3 for q in exit_.quality)
        assert [(r.split, r.n) for r in exit_.reliability] == [("select", 40), ("test", 35)]
        assert 1e-3 < exit_.temperature < 1e3 and (exit_.posterior.joined is None) == (number == 0)
        assert exit_.interval is None and exit_.variant_quality == {}
    assert manifest.joint.split == "select" and len(manifest.joint.edges) == 4
    assert manifest.exits[-1].quality[0].value > 0.7 > manifest.exits[0].quality[0].value
    reproduced(bundle, manifest)


def test_what_the_joint_table_counts_follows_from_the_samples(bundle):
    manifest, _ = judge(bundle, parts(bundle), 2000, quiet, strict=True)
    found = Bundle(bundle.path, manifest).samples("select")
    for k, exit_ in enumerate(manifest.exits):
        logits = posterior_logits(found.score[:, k], found.class_index[:, k], exit_.posterior)
        bucket = np.searchsorted(manifest.joint.edges[k], 1 / (1 + np.exp(-logits)), side="right")
        assert np.bincount(bucket, minlength=len(manifest.joint.n[k])).tolist() == list(manifest.joint.n[k])


def test_at_most_so_many_frames_of_each_are_looked_at(bundle):
    manifest, _ = judge(bundle, parts(bundle), 33, quiet, strict=True)
    assert {q.n for e in manifest.exits for q in e.quality} == {33}
    assert {s.n for s in manifest.samples.values()} == {33}


def test_units_in_int8_are_judged_beside(bundle):
    from calibration.int8.chain import quantise_units

    made = with_int8(bundle, {q.unit: q.content for q in quantise_units(bundle, pictures(40)[..., None], "minmax")})
    some = tuple(msgspec.structs.replace(u, variants=()) if u.name == "head" else u for u in made.manifest.units)
    mixed = Bundle(bundle.path, msgspec.structs.replace(made.manifest, units=some))
    manifest, _ = judge(mixed, parts(bundle), 2000, quiet, strict=True)
    for exit_ in manifest.exits:
        assert set(exit_.variant_quality) == {"int8"}
        assert [(q.split, q.n) for q in exit_.variant_quality["int8"]] == [("select", 40), ("test", 40)]
    told = Bundle(bundle.path, manifest).samples("select")
    assert told.worth[:, -1].mean() == manifest.exits[-1].quality[0].value, "of the units' own precision"
    for file in (bundle.path / "units").glob("*.int8.onnx"):
        file.unlink()


@pytest.mark.parametrize("short", ["fit", "select"])
def test_a_build_goes_on_with_the_softmax_where_frames_are_too_few(bundle, short):
    manifest, (remark,) = judge(bundle, parts(bundle, **{short: LEAST - 1}), 2000, quiet, strict=False)
    reproduced(bundle, manifest)
    assert written(bundle.path, manifest) == manifest and manifest.joint is None
    assert all(e.temperature and e.posterior is None and e.reliability == () for e in manifest.exits)
    assert remark.startswith(f"{LEAST - 1} frames to fit and to select on are too few") and "\n" not in remark
    with pytest.raises(DataError, match=f"the {short} half of the calibration data has {LEAST - 1} frames"):
        judge(bundle, parts(bundle, **{short: LEAST - 1}), 2000, quiet, strict=True)


def test_a_regression_gets_intervals(values):
    manifest, remarks = judge(values, parts(values), 2000, quiet, strict=True)
    assert remarks == () and written(values.path, manifest) == manifest
    for exit_ in manifest.exits:
        assert exit_.temperature is exit_.posterior is None and len(exit_.interval.half_width) == 2
        assert [q.metric for q in exit_.quality] == ["mean_absolute_error"] * 2
        assert {q.per_class for q in exit_.quality} == {None}
    reproduced(values, manifest)
    few, (remark,) = judge(values, parts(values, 5), 2000, quiet, strict=False)
    assert few.exits[0].interval is None and few.joint is None and "offramp calibrate" in remark
    assert written(values.path, few) == few
    reproduced(values, few)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("role", ["fit", "select", "test"])
def test_answers_that_are_no_numbers_are_one_line(bundle, values, monkeypatch, task, n, role):
    from calibration.outputs import collect_outputs

    of = bundle if task == "classification" else values
    held = parts(of, n)

    def broken(manifest, engines, frames, progress):
        found = collect_outputs(manifest, engines, frames, progress)
        if np.array_equal(frames, held[role].images):
            found[3, 1, 0] = np.nan
        return found

    monkeypatch.setattr("toolkit.judge.collect_outputs", broken)
    with pytest.raises(DataError, match=f"1 of {n} {role} frames are answered with NaN or infinite values") as said:
        judge(of, held, 2000, quiet, strict=False)
    assert "\n" not in str(said.value)


def test_frames_without_targets_are_refused(bundle):
    held = parts(bundle)
    with pytest.raises(DataError, match="the test frames have no targets, so no exit can be judged on them"):
        judge(bundle, held | {"test": Part(held["test"].images, None)}, 2000, quiet, strict=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"task": "regression", "classes": None}, r"the data d \(regression, 3 outputs\) does not fit the bundle"),
        ({"outputs": 4}, r"the data d \(classification, 4 outputs\) does not fit the bundle \(classification, 3"),
        ({"classes": ("class 0", "class 1", "cat")}, "the classes of d are not the bundle's: cat is in one of them"),
        ({"classes": ("class 1", "class 0", "class 2")}, "the classes of d are the bundle's in another order"),
    ],
)
def test_data_of_another_task_or_other_classes_does_not_fit(bundle, changes, says):
    about = bundle.manifest
    same = {"task": about.task, "outputs": about.outputs, "classes": about.classes}
    check_fits(SimpleNamespace(**same), "d", about, "bundle")
    with pytest.raises(DataError, match=says):
        check_fits(SimpleNamespace(**same | changes), "d", about, "bundle")
