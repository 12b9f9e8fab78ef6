"""Builds with int8: what is made, what a second build does, what stops it."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from calibration.int8 import chain, statistics
from jetson import Bundle, Runtime
from jetson.engines import load_batches, load_engines
from jetson.errors import BadInput, DataError
from jetson.profiling.measure import measure
from tests.bundles import edit_manifest
from tests.toolkit.building import kept, settings, tree
from tests.toolkit.pictures import pictures
from tests.toolkit.small_site import small_site
from toolkit.build import build
from toolkit.cli import main
from toolkit.data import load
from toolkit.data.roles import roles
from toolkit.quantise import Int8Settings

pytestmark = pytest.mark.slow
UNITS = ("segment-1", "branch-1-mlp", "segment-2", "head")
INT8 = ("int8", "int8-fp16")
LOOSE = Int8Settings(max_drop=1.0, method="minmax")


@pytest.fixture(scope="module")
def made(tmp_path_factory, quick_exports):
    """A checkpoint, its data, and bundles of it without int8 and with: exported once."""
    folder = tmp_path_factory.mktemp("int8")
    site = small_site(folder)
    result = build(settings(site.checkpoint, folder / "plain", data=str(site.data), parity_frames=5))
    assert result.exported == UNITS
    shutil.copytree(folder / "plain", folder / "mixed")
    changes = {"precisions": ("int8",), "int8": LOOSE, "parity_frames": 5}
    build(settings(site.checkpoint, folder / "mixed", data=str(site.data), **changes))
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch, no_preflight):
    """A function that copies one of the bundles to where nothing else may appear. Nothing may be exported again."""

    def export(*_args, **_options):
        raise AssertionError("exported again")

    monkeypatch.setattr("toolkit.export.onnx.export_module", export)
    (tmp_path / "place").mkdir()
    return lambda which: Path(shutil.copytree(made / which, tmp_path / "place" / "bundle"))


def test_several_frames_at_once_give_what_each_gives_alone(made):
    bundle = Bundle.open(made / "mixed")
    engines = load_engines(bundle, precisions=bundle.manifest.nearest("int8"))
    assert "int8" in engines.precisions
    batches, size = load_batches(bundle, engines, 3), 3
    frames = np.random.default_rng(0).normal(size=(size, *engines.input.shape[1:])).astype(np.float32)
    batches.input(size)[:] = frames
    units = range(len(bundle.manifest.units))
    for unit in units:
        batches.run(unit, size)
    for place, frame in enumerate(frames):
        engines.input[0] = frame
        for unit in units:
            engines.run(unit)
        for unit in (i for i in units if bundle.manifest.units[i].kind == "branch"):
            np.testing.assert_allclose(batches.output(unit, size)[place], engines.output(unit)[0], atol=1e-5, rtol=0)


def again(made, place, **changes):
    given = {"data": str(made / "site"), "parity_frames": 5, "precisions": ("int8",), "int8": LOOSE} | changes
    return build(settings(made / "checkpoint", place, **given))


def files(place):
    return {p.name.removesuffix(".onnx") for p in (place / "units").iterdir()}


def test_int8_comes_in_both_forms_beside_the_other_precisions(made):
    bundle = Bundle.open(made / "mixed")
    manifest = bundle.manifest
    assert manifest.precisions == ("fp32", "fp16", *INT8)
    assert files(bundle.path) == {f"{u}{p}" for u in UNITS for p in ("", ".fp16", ".int8", ".int8-fp16")}
    fit = roles(load(str(made / "site")))["fit"]
    record = manifest.quantisation
    assert (record.data, record.frames, record.sha256) == ("site", len(fit), fit.sha256)
    assert manifest.provenance.data.splits["fit"].sha256 == fit.sha256
    for exit_ in manifest.exits:
        assert set(exit_.variant_quality) == set(INT8)
        assert all([q.split for q in found] == ["select", "test"] for found in exit_.variant_quality.values())
    sizes = [[v.size_bytes for v in u.files] for u in manifest.units if u.kind == "segment"]
    assert all(full > 1.5 * half > 1.5 * eight for full, half, eight, _ in sizes)


@pytest.mark.parametrize("precision", INT8)
def test_it_runs_and_is_measured(made, precision):
    runtime = Runtime.load(made / "mixed", precision=precision)
    assert set(runtime.engines.precisions) == {precision}
    assert 0 <= runtime.infer(pictures(1)[0]).class_index < 3
    profile = measure(made / "mixed", precision=precision, rounds=1, warm_up=0)
    assert {u.precision for u in profile.units.values()} == {precision}
    Runtime.load(made / "mixed", profile)


def test_a_second_build_does_nothing(made, place):
    bundle = place("mixed")
    before = (bundle / "manifest.json").stat().st_mtime_ns
    assert again(made, bundle, precisions=("fp32", "int8")).up_to_date
    assert (bundle / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("precisions", [("int8-fp16",), ("fp16", "int8")])
def test_either_form_brings_the_other(made, place, precisions):
    bundle = place("plain")
    result = again(made, bundle, precisions=precisions, quality_frames=32)
    assert result.exported == () and result.bundle.manifest.precisions == ("fp32", "fp16", *INT8)


def test_without_int8_nothing_of_it_is_left(made, place):
    bundle = place("mixed")
    manifest = again(made, bundle, precisions=("fp32",), int8=None, quality_frames=32).bundle.manifest
    assert manifest.offered == ("fp32",) and files(bundle) == set(UNITS) and manifest.quantisation is None
    assert not any(e.variant_quality for e in manifest.exits)


def test_where_half_precision_strays_int8_is_made_without_it(made, place, monkeypatch):
    bundle = place("plain")
    again(made, bundle, precisions=("fp32",), int8=None, quality_frames=32)
    from toolkit.export import half

    def spoilt(content, name):
        model = onnx.load_from_string(real(content, name))
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT16:
                values = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array((values * 1.5).astype(np.float16), tensor.name))
        return model.SerializeToString()

    real = half.to_half
    monkeypatch.setattr(half, "to_half", spoilt)
    result = again(made, bundle, quality_frames=32)
    assert result.bundle.manifest.offered == ("fp32", "int8")
    assert any(r.startswith("fp16 was left out: unit segment-1") for r in result.remarks)


def test_changed_options_make_it_again_without_exporting(made, place):
    bundle = place("mixed")
    before = Bundle.open(bundle).manifest
    result = again(made, bundle, int8=Int8Settings(max_drop=0.9))
    assert not result.up_to_date and result.exported == ()
    assert result.bundle.manifest.quantisation.method == "mse" and result.bundle.manifest.identity == before.identity
    assert result.bundle.manifest.unit("head").at("int8") != before.unit("head").at("int8")


def test_other_frames_of_the_same_name_make_it_again(made, place, tmp_path):
    bundle, film = place("mixed"), tmp_path / "film.npy"
    int8 = Int8Settings(data=str(film), max_drop=1.0, method="minmax")
    np.save(film, pictures(60, 501))
    first = again(made, bundle, int8=int8, quality_frames=32).bundle.manifest
    assert first.quantisation.frames == 60 and first.quantisation.data == str(film)
    assert again(made, bundle, int8=int8, quality_frames=32).up_to_date
    np.save(film, pictures(60, 502))
    second = again(made, bundle, int8=int8, quality_frames=32)
    assert not second.up_to_date and second.bundle.manifest.quantisation.sha256 != first.quantisation.sha256


@pytest.fixture
def bad_segment(monkeypatch):
    """int8 holds next to nothing of what passes through segment-2."""
    real = chain.quantise

    def clipped(content, ranges, name):
        return real(content, {t: r / (1000 if name == "segment-2" else 1) for t, r in ranges.items()}, name)

    monkeypatch.setattr(chain, "quantise", clipped)


def test_a_bad_unit_goes_back_alone_and_the_rest_runs_beside_it(made, place, bad_segment):
    bundle = place("plain")
    result = again(made, bundle, int8=Int8Settings(max_drop=0.3, method="minmax"))
    manifest = Bundle.open(bundle).manifest
    (unit,) = manifest.quantisation.kept
    assert (unit.unit, unit.precision) == ("segment-2", "fp32") and "exit 2:head lost" in unit.reason
    assert f"segment-2 stays in fp32: {unit.reason}" in result.remarks
    assert files(bundle) == {f"{u}{p}" for u in UNITS for p in ("", ".fp16", ".int8", ".int8-fp16")} - {
        "segment-2.int8",
        "segment-2.int8-fp16",
    }
    assert manifest.nearest("int8") == ("int8", "int8", "fp32", "int8")
    assert Runtime.load(bundle, precision="int8").engines.precisions == manifest.nearest("int8")
    profile = measure(bundle, precision="int8-fp16", rounds=1, warm_up=0)
    assert profile.units["segment-2"].precision == "fp16" and profile.units["head"].precision == "int8-fp16"
    for exit_ in manifest.exits:
        for found in exit_.variant_quality.values():
            assert exit_.quality[0].value - found[0].value <= 0.3


def test_engines_are_planned_for_what_each_unit_has(made, place, bad_segment, monkeypatch, capsys):
    bundle = place("plain")
    again(made, bundle, int8=Int8Settings(max_drop=0.3, method="minmax"), quality_frames=32)
    seen = []
    from jetson.engines.tensorrt import build as builder

    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(builder, "build", lambda tasks, *_: seen.extend(tasks) or [])
    assert main(["engines", str(bundle), "--precision", "int8-fp16", "--target", "sm86", "--json"]) == 0
    capsys.readouterr()
    assert [t.source.precision for t in seen] == ["int8-fp16", "int8-fp16", "fp16", "int8-fp16"]


def test_nothing_allowed_ends_too(made, place, bad_segment):
    bundle = place("plain")
    result = again(made, bundle, int8=Int8Settings(max_drop=0.0, method="minmax"), quality_frames=32)
    record = result.bundle.manifest.quantisation
    assert "segment-2" in {k.unit for k in record.kept} and record.max_drop == 0.0
    for exit_ in result.bundle.manifest.exits:
        assert all(q[0].value >= exit_.quality[0].value for q in exit_.variant_quality.values())


def test_a_build_says_what_of_calibrate_it_undoes(made, place):
    bundle = place("mixed")
    data = {"name": "the harbour", "splits": {}}
    edit_manifest(bundle, lambda m: m["provenance"].update(calibrated=data))
    edit_manifest(bundle, lambda m: m.update(plans={"onnxruntime": ["int8"] * 4}, build="00" * 32))
    result = again(made, bundle, quality_frames=32)
    manifest = result.bundle.manifest
    assert manifest.plans == {} and manifest.provenance.calibrated is None
    said = "\n".join(result.remarks)
    assert "what offramp calibrate had learnt from the harbour is gone" in said
    assert "the plan of precisions for onnxruntime is gone; to have it back: offramp calibrate --profile" in said


def broken_run(monkeypatch):
    real = chain.run
    monkeypatch.setattr(chain, "run", lambda *args: [np.full_like(v, np.nan) for v in real(*args)])


def broken_activation(monkeypatch):
    real = statistics.Session.run
    monkeypatch.setattr(
        statistics.Session, "run", lambda *args: [np.where(v > v.mean(), np.inf, v) for v in real(*args)]
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (broken_run, "unit segment-1 gives values that are no numbers on the calibration frames"),
        (broken_activation, "unit segment-1: .* holds NaN or infinite values on the calibration frames"),
    ],
)
def test_activations_that_are_no_numbers_stop_it_and_keep_the_old_bundle(made, place, monkeypatch, spoil, says):
    bundle = place("mixed")
    before = tree(bundle)
    spoil(monkeypatch)
    with pytest.raises(DataError, match=says) as told:
        again(made, bundle, quality_frames=32)
    assert "\n" not in str(told.value) and told.value.exit_code == 2
    kept(bundle, before)


FRAMES = {
    "few": (pictures(20, 601), "20 images are too few to calibrate with"),
    "equal": (np.repeat(pictures(2, 601), 40, axis=0), "only 2 of 80 images differ"),
    "colour": (pictures(40, 601)[..., None].repeat(3, axis=3), "a frame is height x width x 1, this one has shape"),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_that_will_not_do_stop_it_before_anything_is_made(made, place, tmp_path, monkeypatch, kind):
    images, says = FRAMES[kind]
    np.save(tmp_path / "frames.npy", images)
    bundle = place("plain")
    before = tree(bundle)
    monkeypatch.setattr("toolkit.build.write_units", None)
    with pytest.raises(DataError, match=f"frames.npy: {says}") as told:
        again(made, bundle, int8=Int8Settings(data=str(tmp_path / "frames.npy")))
    assert "\n" not in str(told.value) and told.value.exit_code == 2
    kept(bundle, before)


@pytest.mark.parametrize(("part", "role"), [("train", "train"), ("test", "test"), ("calibration", "select")])
def test_frames_with_another_role_stop_it(made, place, tmp_path, part, role):
    (tmp_path / "some").mkdir()
    for index, file in enumerate(sorted((made / "site" / part).rglob("*.png"))[1:]):
        shutil.copy(file, tmp_path / "some" / f"{index}.png")
    bundle = place("plain")
    with pytest.raises(DataError, match=rf"some: \d+ of its \d+ images are {role} images of this model too"):
        again(made, bundle, int8=Int8Settings(data=str(tmp_path / "some")))


def test_options_that_make_no_sense_are_refused(made, place):
    bundle = place("plain")
    before = tree(bundle)
    with pytest.raises(BadInput, match="say how int8 is made: give --precision int8 too"):
        again(made, bundle, precisions=None)
    with pytest.raises(BadInput, match="--int8-method best: the methods are"):
        again(made, bundle, int8=Int8Settings(method="best"))
    kept(bundle, before)


def test_a_regression_is_built_in_int8(tmp_path, capsys):
    site = small_site(tmp_path, "regression")
    words = ["build", str(site.checkpoint), "--data", str(site.data), "--out", str(tmp_path / "bundle"), "--json"]
    assert main([*words, "--precision", "int8", "--parity-frames", "5", "--max-drop", "0.5"]) == 0
    bundle = json.loads(capsys.readouterr().out)["bundle"]
    assert bundle["quantisation"]["max_drop"] == 0.5 and bundle["joint"] is not None
    for exit_ in bundle["exits"]:
        assert exit_["interval"]["n"] == 40 and exit_["posterior"] is None
        for found in exit_["variant_quality"].values():
            assert found[0]["value"] <= 1.5 * exit_["quality"][0]["value"]
