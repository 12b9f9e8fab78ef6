"""int8 beside a bundle's other precisions: where its ranges come from, what is written, what the gate removes."""

import msgspec
import numpy as np
import pytest
from PIL import Image

from calibration.int8 import chain
from jetson import Bundle
from jetson.bundle import MANIFEST
from jetson.errors import BadInput, DataError
from jetson.manifest import Preprocessing
from tests.bundles import tiny_bundle, with_half
from tests.toolkit.pictures import SEED, pictures, sort_out
from toolkit.data.dataset import Part
from toolkit.gate import hold_gate, still_held
from toolkit.quantise import CalibrationFrames, Int8Settings, calibration_frames, quantise_bundle

INT8 = {"int8", "int8-fp16"}
GREY = Preprocessing(height=8, width=8, channels=1, mean=(0.5,), std=(0.25,))
CLASSES = ("a", "b", "c")


def quiet(_title, _parts):
    return lambda: None


def part(n=64, seed=0):
    return Part(pictures(n, seed)[..., None], np.arange(n) % 3)


PARTS = {"fit": part(seed=1), "select": part(seed=2), "test": part(seed=3)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": "best"}, "--int8-method best: the methods are minmax, percentile, entropy, mse"),
        ({"max_drop": -0.1}, "--max-drop -0.1: must lie between 0 and 1"),
        ({"max_drop": 1.5}, "--max-drop 1.5: must lie"),
        ({"max_drop": float("nan")}, "--max-drop nan: must lie"),
        ({"frames": 31}, "--calibration-frames 31: int8 takes 32 at least"),
        ({"frames": -1}, "--calibration-frames -1: int8 takes"),
    ],
)
def test_settings_that_make_no_sense_name_the_option(changes, says):
    with pytest.raises(BadInput, match=says):
        Int8Settings(**changes).check()


def take(settings=Int8Settings(), **changes):  # noqa: B008
    given = {"parts": PARTS, "name": "photos", "spec": "/data/photos", "channels": 1} | changes
    return calibration_frames(settings, **given)


@pytest.mark.parametrize("spec", [None, "/data/photos"])
def test_without_other_data_the_fit_images_are_taken(spec):
    found = take(Int8Settings(data=spec, frames=40))
    assert found.data == "photos" and found.where == "/data/photos, its fit images"
    np.testing.assert_array_equal(found.part.images, PARTS["fit"].images[:40])


def test_the_data_of_the_build_under_another_name_gives_its_fit_images_too(tmp_path):
    images = np.concatenate([PARTS["fit"].images, PARTS["select"].images])
    np.save(tmp_path / "both.npy", images)
    found = take(Int8Settings(data=str(tmp_path / "both.npy")))
    assert found.whole is PARTS["fit"] and found.data == "photos"


def test_of_many_frames_some_are_taken_from_everywhere_and_always_the_same(tmp_path):
    images = pictures(1000, 5)
    np.save(tmp_path / "film.npy", images)
    spec = str(tmp_path / "film.npy")
    found = take(Int8Settings(data=spec, frames=50))
    assert len(found.part) == 50 and len(found.whole) == 1000 and found.data == found.where == spec
    assert found.part.sha256 == take(Int8Settings(data=spec, frames=50)).part.sha256
    place = {image.tobytes(): i for i, image in enumerate(images)}
    places = [place[image.tobytes()] for image in found.part.images]
    assert places == sorted(places) and len(set(places)) == 50
    assert np.histogram(places, bins=4, range=(0, 1000))[0].min() >= 5


def test_a_folder_of_classes_gives_its_calibration_part_in_grey(tmp_path):
    for index, image in enumerate(pictures(60, 6)):
        place = tmp_path / "site" / CLASSES[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index}.png")
    found = take(Int8Settings(data=str(tmp_path / "site")))
    assert found.where.endswith("site, its calibration part") and len(found.part) == 9
    assert found.part.images[0].shape == (8, 8, 1)
    with pytest.raises(DataError, match="site, its calibration part: 9 images are too few to calibrate with"):
        found.check(GREY, CLASSES)


@pytest.mark.parametrize("role", ["select", "test"])
def test_frames_with_another_role_are_refused(tmp_path, role):
    images = np.concatenate([pictures(50, 8)[..., None], PARTS[role].images[:3]])
    np.save(tmp_path / "mixed.npy", images)
    with pytest.raises(DataError, match=f"mixed.npy: 3 of its 53 images are {role} images of this model too"):
        take(Int8Settings(data=str(tmp_path / "mixed.npy")))


def test_frames_to_fit_to_may_be_given_again(tmp_path):
    np.save(tmp_path / "same.npy", PARTS["fit"].images)
    assert len(take(Int8Settings(data=str(tmp_path / "same.npy"))).part) == 64


REFUSED = {
    "too few": (part(31), "31 images are too few to calibrate with; give at least 32"),
    "one class": (Part(part().images, np.zeros(64, np.int64)), "all 64 images are of class 0"),
    "labels out of range": (Part(part().images, np.arange(64) % 4), "16 labels lie outside 0..2, the first is 3"),
    "repeated": (Part(np.repeat(part(32).images, 2, axis=0), None), "only 32 of 64 images differ"),
    "constant": (Part(np.arange(64, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2), None), "one even"),
    "noise": (Part(np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), np.uint8), None), "like random noise"),
    "channels": (Part(part().images.repeat(3, axis=3), None), "a frame is height x width x 1, this one has shape"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_frames_that_nothing_can_be_learnt_from_are_one_line(kind):
    frames, says = REFUSED[kind]
    with pytest.raises(DataError, match=says) as told:
        CalibrationFrames(frames, frames, "mine", "mine").check(GREY, CLASSES)
    assert str(told.value).startswith("mine: ") and "\n" not in str(told.value) and told.value.exit_code == 2


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    return with_half(tiny_bundle(tmp_path_factory.mktemp("half") / "bundle", seed=SEED))


@pytest.fixture
def draft(half, tmp_path):
    """A bundle in fp32 and fp16, in a folder of its own."""
    import shutil

    return Bundle.open(shutil.copytree(half.path, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def select(half):
    images = pictures(120, 9)
    return Part(images[..., None], sort_out(half, images))


def quantised(draft, select, **settings):
    frames = CalibrationFrames(PARTS["fit"], PARTS["fit"], "photos", "photos")
    return quantise_bundle(draft, frames, select, Int8Settings(**{"method": "minmax", **settings}), quiet)


def files(folder):
    return {p.name for p in (folder / "units").iterdir()}


def reads_as_written(folder, manifest):
    """What the manifest says, a reader finds."""
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle.open(folder)


def test_every_unit_is_written_in_both_forms_and_said_how(draft, select):
    made = quantised(draft, select, max_drop=1.0)
    units = made.manifest.units
    assert all([v.precision for v in u.variants] == ["fp16", "int8", "int8-fp16"] for u in units)
    assert files(draft.path) == {f"{u.name}{p}.onnx" for u in units for p in ("", ".fp16", ".int8", ".int8-fp16")}
    record = made.manifest.quantisation
    assert (record.method, record.frames, record.data, record.max_drop) == ("minmax", 64, "photos", 1.0)
    assert record.sha256 == PARTS["fit"].sha256 and record.kept == () and made.remarks == ()
    reads_as_written(draft.path, made.manifest)


def clip_hard(monkeypatch, *units):
    """These units' int8 holds next to nothing of what passes through them."""
    real = chain.quantise

    def spoilt(content, ranges, name):
        return real(content, {t: r / (1000 if name in units else 1) for t, r in ranges.items()}, name)

    monkeypatch.setattr(chain, "quantise", spoilt)


@pytest.mark.parametrize("bad", ["segment-3", "head"])
def test_a_unit_that_does_damage_goes_back_and_leaves_no_file(draft, select, monkeypatch, bad):
    clip_hard(monkeypatch, bad)
    made = quantised(draft, select, max_drop=0.2)
    (kept,) = made.manifest.quantisation.kept
    assert (kept.unit, kept.precision) == (bad, "fp32") and "exit 6:head lost" in kept.reason
    assert made.remarks == (f"{bad} stays in fp32: {kept.reason}",)
    assert {v.precision for v in made.manifest.unit(bad).variants} == {"fp16"}
    assert not files(draft.path).intersection({f"{bad}.int8.onnx", f"{bad}.int8-fp16.onnx"})
    bundle = reads_as_written(draft.path, made.manifest)
    for unit, precision in zip(bundle.manifest.units, bundle.manifest.nearest("int8-fp16"), strict=True):
        assert precision == ("fp16" if unit.name == bad else "int8-fp16")


def test_a_unit_whose_half_form_alone_is_bad_loses_both(draft, select, monkeypatch):
    """And the rest is held again without it, in either form."""
    from toolkit.export import half

    real = half.to_half

    def spoilt(content, name):
        return half_of_nothing if name == "head" else real(content, name)

    weights = chain.quantise(
        draft.file(draft.manifest.unit("head")).read_bytes(), {"mean": 1e-6, "tokens_in": 1e-6}, "head"
    )
    half_of_nothing = real(weights, "head")
    monkeypatch.setattr(half, "to_half", spoilt)
    made = quantised(draft, select, max_drop=0.2)
    (kept,) = made.manifest.quantisation.kept
    assert (kept.unit, kept.precision) == ("head", "fp16")
    assert {v.precision for v in made.manifest.unit("head").variants} == {"fp16"}


def test_when_nothing_is_allowed_the_gate_ends(draft, select, monkeypatch):
    clip_hard(monkeypatch, *[u.name for u in draft.manifest.units])
    made = quantised(draft, select, max_drop=0.0)
    assert {k.unit for k in made.manifest.quantisation.kept} == {u.name for u in draft.manifest.units}
    assert "no unit is left in int8" in made.remarks[-1] and not INT8.intersection(made.manifest.offered)
    assert files(draft.path) == {f"{u.name}{p}.onnx" for u in draft.manifest.units for p in ("", ".fp16")}
    assert reads_as_written(draft.path, made.manifest).manifest.quantisation.max_drop == 0.0


def test_what_runs_afterwards_is_what_passed_the_gate(draft, select):
    from calibration.gate import Gate
    from toolkit.gate import OutputsOf

    made = quantised(draft, select, max_drop=0.02)
    bundle = reads_as_written(draft.path, made.manifest)
    watch = OutputsOf(bundle, select, quiet)
    gate = Gate(bundle.manifest, select.targets, 0.02, watch)
    reference = watch(["fp32"] * len(bundle.manifest.units), len(select))
    for precision in INT8.intersection(bundle.manifest.offered):
        outputs = watch(bundle.manifest.nearest(precision), len(select))
        assert (gate.drops(reference, outputs) <= 1).all()


def test_the_gate_needs_targets_and_finite_answers(draft, select, monkeypatch):
    with pytest.raises(DataError, match="the select images have no targets"):
        hold_gate(draft, Part(select.images, None), 0.01, quiet)
    monkeypatch.setattr(
        "calibration.outputs.collect_outputs", lambda m, e, f, p: np.full((len(f), len(m.exits), m.outputs), np.nan)
    )
    with pytest.raises(DataError, match="are answered with NaN or infinite values in fp32") as told:
        hold_gate(draft, select, 0.01, quiet)
    assert "\n" not in str(told.value)


def test_an_activation_that_is_no_number_names_the_unit(draft, select, monkeypatch):
    real = chain.run

    def broken(content, batches):
        found = real(content, batches)
        found[-1][:] = np.nan
        return found

    monkeypatch.setattr(chain, "run", broken)
    with pytest.raises(DataError, match="unit segment-1 gives values that are no numbers") as told:
        quantised(draft, select)
    assert "\n" not in str(told.value) and told.value.exit_code == 2


def test_an_exit_that_loses_more_on_other_images_is_named(half):
    manifest = half.manifest
    assert still_held(manifest) == ()
    first, *others = manifest.exits
    worse = tuple(msgspec.structs.replace(q, value=q.value - 0.03) for q in first.quality)
    exits = (msgspec.structs.replace(first, variant_quality={"int8": worse}), *others)
    from jetson.manifest import Quantisation

    record = Quantisation(method="mse", frames=64, data="x", sha256="0" * 64, max_drop=0.02)
    (said,) = still_held(msgspec.structs.replace(manifest, exits=exits, quantisation=record))
    assert said.startswith("exit 2:mlp loses 3.0% of accuracy in int8 on the calibration images") and "2.0%" in said
    loose = msgspec.structs.replace(record, max_drop=0.03)
    assert still_held(msgspec.structs.replace(manifest, exits=exits, quantisation=loose)) == ()
