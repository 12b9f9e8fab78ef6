"""The pipeline from checkpoint to bundle. Units are exported for real once; then their files are handed out again."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from jetson import Bundle, Runtime
from jetson.errors import BadInput, BundleError, DataError, ModelError, OfframpError, ParityError, StorageError
from jetson.manifest import DataRecord
from tests.bundles import tiny_bundle
from tests.toolkit.building import both, kept, settings, tree, with_exits
from tests.toolkit.digits_model import EVERY_BRANCH, digits_checkpoint
from toolkit import data as data_sets
from toolkit.build import build
from toolkit.data.roles import record as role_record
from toolkit.data.roles import roles
from toolkit.models.checkpoint import load_checkpoint, save_checkpoint
from toolkit.models.record import TestScore, TrainingRecord

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_preflight")]
ROOT = Path(__file__).resolve().parents[2]


def changed_weights(built, folder, unit=1, seed=5):
    """The same model with other weights in one branch."""
    model = load_checkpoint(built.checkpoint).model
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.branch(unit).parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    save_checkpoint(folder, model)
    return folder


def by_role(spec: str) -> DataRecord:
    data = data_sets.load(spec)
    found = data.record()
    return msgspec.structs.replace(found, splits=found.splits | role_record(data, roles(data)).splits)


def test_the_bundle_is_whole_and_runs(built):
    bundle = Bundle.open(built.bundle)
    manifest = bundle.manifest
    assert manifest.task == "classification" and manifest.classes == tuple("0123456789")
    assert {p.name for p in built.bundle.iterdir()} == {"manifest.json", "units", "samples"}
    assert manifest.precisions == ("fp32", "fp16") and all(u.dynamic_batch for u in manifest.units)
    assert {p.name for p in (built.bundle / "units").iterdir()} == both(u.name for u in manifest.units)
    assert manifest.provenance.checkpoint == load_checkpoint(built.checkpoint).digest
    assert manifest.provenance.data == by_role("digits")
    assert manifest.provenance.command == "offramp build"
    assert set(manifest.provenance.versions) == {"offramp", "torch", "transformers", "onnx", "onnxruntime"}
    assert all(u.parameters > 0 and u.flops > 0 and u.source for u in manifest.units)
    assert [p for p in built.bundle.parent.iterdir() if p.name.startswith(".")] == []
    assert 0 <= Runtime.load(bundle).infer(np.zeros((8, 8, 1), np.uint8)).class_index < 10


def test_the_qualities_are_what_pytorch_scores(built):
    manifest = Bundle.open(built.bundle).manifest
    checkpoint, digits = load_checkpoint(built.checkpoint), data_sets.load("digits")
    pixels = (np.asarray(digits.test.images, np.float32) / 255 - 0.3) / 0.37
    with torch.inference_mode():
        answers = checkpoint.model(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
    for exit_, answer in zip(manifest.exits, answers, strict=True):
        believed, reported = exit_.quality
        assert (believed.split, reported.split) == ("select", "test")
        assert believed.n == len(roles(digits)["select"]) and reported.n == len(digits.test) == 300
        assert exit_.posterior is not None and [r.split for r in exit_.reliability] == ["select", "test"]
        right = (answer.argmax(dim=1).numpy() == digits.test.targets).mean()
        assert reported.value == pytest.approx(right, abs=1e-9)
        assert reported.low < reported.value < reported.high


def test_the_samples_reproduce_every_quality(built):
    bundle = Bundle.open(built.bundle)
    for number, role in enumerate(("select", "test")):
        found = bundle.samples(role)
        assert [w.mean() for w in found.worth.T] == [e.quality[number].value for e in bundle.manifest.exits]
        assert len(found) == bundle.manifest.samples[role].n == bundle.manifest.exits[0].quality[number].n
    assert len(bundle.samples("fit")) == bundle.manifest.provenance.data.splits["fit"].n


def test_a_second_build_does_nothing(built, place, exporter):
    before = (place / "manifest.json").stat().st_mtime_ns
    result = build(settings(built.checkpoint, place))
    assert result.up_to_date and result.exported == () and len(result.reused) == 11
    assert exporter.asked == [] and (place / "manifest.json").stat().st_mtime_ns == before


def test_other_frames_judge_again_but_export_nothing(built, place, exporter):
    result = build(settings(built.checkpoint, place, quality_frames=50, parity_frames=3))
    assert not result.up_to_date and result.exported == () and exporter.asked == []
    assert result.bundle.manifest.parity.frames == 3
    assert {q.n for e in result.bundle.manifest.exits for q in e.quality} == {50}


def test_a_changed_exit_exports_that_exit_alone(built, place, tmp_path, monkeypatch):
    """Exported for real: its file cannot be handed out again."""
    old = Bundle.open(place).manifest
    exits = [e.architecture for e in load_checkpoint(built.checkpoint).model.exits]
    checkpoint = changed_weights(built, tmp_path / "changed", exits.index("resmlp"))
    result = build(settings(checkpoint, place, parity_frames=5, quality_frames=20))
    assert result.exported == ("branch-1-resmlp",) and len(result.reused) == 10
    new = Bundle.open(place).manifest
    assert {u.name for u in new.units if u.sha256 != old.unit(u.name).sha256} == {"branch-1-resmlp"}
    assert all(u.source == old.unit(u.name).source for u in new.units if u.name != "branch-1-resmlp")
    assert new.identity != old.identity and [p.name for p in place.parent.iterdir()] == ["bundle"]


def test_an_exit_less_exports_nothing_and_leaves_no_file(built, place, exporter, tmp_path):
    fewer = ",".join(e for e in EVERY_BRANCH.split(",") if not e.endswith(":vit"))
    result = build(settings(with_exits(built, fewer, tmp_path / "fewer"), place))
    assert result.exported == () and exporter.asked == [] and len(result.reused) == 10
    assert "branch-2-vit" not in {u.name for u in Bundle.open(place).manifest.units}
    assert not (place / "units" / "branch-2-vit.onnx").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: (b / "units" / "head.onnx").write_bytes(b"x"),
        lambda b: (b / "manifest.json").write_bytes((b / "manifest.json").read_bytes()[:500]),
        lambda b: shutil.rmtree(b / "units"),
    ],
)
def test_a_damaged_bundle_is_built_again(built, place, exporter, damage):
    damage(place)
    with pytest.raises(BundleError):
        Bundle.open(place)
    result = build(settings(built.checkpoint, place, parity_frames=2, quality_frames=10))
    assert len(result.exported) == 11 and len(exporter.asked) == 11
    assert Bundle.open(place).manifest.exits[0].name == "1:mlp"
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]


def a_file(out):
    out.write_text("notes")


def a_folder_of_something(out):
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")


def a_web_page(out):
    out.mkdir()
    (out / "manifest.json").write_text('{"name": "my web app", "start_url": "/"}')


def a_bundle_with_notes(out):
    tiny_bundle(out)
    (out / "notes.txt").write_text("measured on Tuesday")


@pytest.mark.parametrize("make", [a_file, a_folder_of_something, a_web_page, a_bundle_with_notes])
def test_what_is_no_bundle_is_refused_and_not_touched(built, tmp_path, exporter, make):
    make(tmp_path / "out")
    before = tree(tmp_path)
    with pytest.raises(BadInput, match="choose another --out") as caught:
        build(settings(built.checkpoint, tmp_path / "out"))
    assert "\n" not in str(caught.value) and tree(tmp_path) == before and exporter.asked == []


def test_a_bundle_of_another_model_is_replaced(built, tmp_path, exporter):
    tiny_bundle(tmp_path / "place" / "bundle")
    result = build(settings(built.checkpoint, tmp_path / "place" / "bundle", parity_frames=2, quality_frames=10))
    assert len(result.exported) == 11
    assert {p.name for p in (tmp_path / "place" / "bundle" / "units").iterdir()} == both(result.exported)


def test_an_empty_folder_is_taken(built, tmp_path, exporter):
    (tmp_path / "out").mkdir()
    build(settings(built.checkpoint, tmp_path / "out", parity_frames=2, quality_frames=10))
    assert Bundle.open(tmp_path / "out")


def wrong_weights(content):
    """The same graph with every weight's last byte changed."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values * np.float32(1.5), tensor.name))
    return model.SerializeToString()


@pytest.mark.parametrize("unit", ["branch-1-cnn-project", "segment-2"])
def test_a_unit_that_differs_from_pytorch_stops_the_build_and_is_named(built, tmp_path, exporter, unit):
    exporter.spoil = {unit: wrong_weights}
    with pytest.raises(ParityError, match=f"unit {unit} does not compute what PyTorch computes") as caught:
        build(settings(built.checkpoint, tmp_path / "bundle"))
    assert caught.value.exit_code == 1 and list(tmp_path.iterdir()) == []


def fail_with(error):
    def fail(_content):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
)
def test_a_build_that_is_stopped_keeps_the_old_bundle(built, place, exporter, tmp_path, error, raised):
    before = tree(place)
    checkpoint = changed_weights(built, tmp_path / "changed")
    exits = [e.architecture for e in load_checkpoint(checkpoint).model.exits]
    exporter.spoil = {f"branch-1-{exits[1]}": fail_with(error)}
    with pytest.raises(raised):
        build(settings(checkpoint, place))
    assert exporter.asked == [f"branch-1-{exits[1]}"]
    kept(place, before)


def test_a_mismatch_keeps_the_old_bundle(built, place, exporter, tmp_path):
    before = tree(place)
    checkpoint = changed_weights(built, tmp_path / "changed")
    exporter.spoil = dict.fromkeys(("branch-1-mlp", "branch-1-cnn-project", "branch-1-resmlp"), wrong_weights)
    with pytest.raises(ParityError):
        build(settings(checkpoint, place))
    kept(place, before)


def test_a_disk_that_fills_up_keeps_the_old_bundle(built, place, exporter, tmp_path, monkeypatch):
    before, real = tree(place), os.fsync
    checkpoint = changed_weights(built, tmp_path / "changed")

    def fsync(handle):
        if os.fstat(handle).st_size > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr("jetson.files.os.fsync", fsync)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        build(settings(checkpoint, place))
    assert "\n" not in str(caught.value)
    kept(place, before)


def wait_for(holds, process):
    for _ in range(1200):
        if holds():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("nothing came of it within a minute")


def test_a_killed_build_keeps_the_old_bundle(place, tmp_path, digits_file):
    before = tree(place)
    checkpoint = digits_checkpoint(tmp_path / "other", seed=9)
    words = [sys.executable, "-m", "toolkit", "build", str(checkpoint), "--out", str(place), "--data", digits_file]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(place.parent.glob(".bundle.*.part")), process)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and errors.splitlines()[-1] == "offramp build: terminated"
    kept(place, before)


def record(seed, data_record, spec="digits"):
    return TrainingRecord(
        strategy="end-to-end",
        seed=seed,
        data_spec=spec,
        data=data_record,
        limit=None,
        epochs=1,
        batch_size=32,
        learning_rate=1e-3,
        weight_decay=0.0,
        distillation=0.0,
        label_smoothing=0.0,
        augment=False,
        versions={},
        processes=1,
        seconds=1.0,
        history=(),
        test=(TestScore(exit="3:head", metric="accuracy", value=0.1, n=300),),
    )


@pytest.fixture
def trained(built, tmp_path):
    """A function that makes the checkpoint one that was trained with the given seed on the given data."""

    def make(seed=3, data_record=None, spec="digits"):
        found = data_record or data_sets.load(spec).record()
        model = load_checkpoint(built.checkpoint).model
        save_checkpoint(tmp_path / "trained", model, record(seed, found, spec))
        return tmp_path / "trained"

    return make


def test_a_trained_checkpoint_is_judged_on_what_was_held_out_from_it(trained, place, exporter):
    """Whatever the seed of its training: the parts of the data do not depend on it."""
    result = build(settings(trained(seed=3), place, data=None, parity_frames=2, quality_frames=10))
    assert result.bundle.manifest.provenance.data == by_role("digits")
    again = build(settings(trained(seed=3), place, data="digits", parity_frames=2, quality_frames=10))
    assert again.up_to_date


def test_data_that_changed_since_training_is_refused(trained, place, exporter):
    before = tree(place)
    other = data_sets.load("digits", seed=1).record()
    with pytest.raises(DataError, match="the data digits has changed since the checkpoint was trained"):
        build(settings(trained(data_record=other), place, data=None))
    kept(place, before)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"data": None}, BadInput, "not trained here: name labelled images that it has not seen with --data"),
        ({"data": "counting"}, DataError, r"counting \(regression, 1 outputs\) does not fit the checkpoint"),
        ({"data": "mnits"}, DataError, "no data set of that name"),
        ({"parity_frames": 0}, BadInput, "at least one frame each"),
        ({"quality_frames": -1}, BadInput, "at least one frame each"),
        ({"checkpoint": Path("no/such")}, ModelError, "no such folder"),
    ],
)
def test_what_cannot_be_built_is_one_line(built, place, exporter, changes, error, says):
    before = tree(place)
    with pytest.raises(error, match=says) as caught:
        build(settings(**{"checkpoint": built.checkpoint, "out": place, **changes}))
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value) and exporter.asked == []
    kept(place, before)


def test_data_of_other_classes_is_refused(built, tmp_path, exporter):
    rng = np.random.default_rng(0)
    images = {f"{part}_images": rng.integers(0, 256, (20, 8, 8, 1), dtype=np.uint8) for part in ("train", "test")}
    labels = {f"{part}_labels": np.arange(20) % 4 for part in ("train", "test")}
    np.savez(tmp_path / "four.npz", **images, **labels)
    with pytest.raises(OfframpError) as caught:
        build(settings(built.checkpoint, tmp_path / "bundle", data=f"cifar10:{tmp_path / 'four.npz'}"))
    assert caught.value.exit_code == 2 and not (tmp_path / "bundle").exists()


def test_a_link_to_the_bundle_stays_a_link(built, place, exporter, tmp_path):
    (tmp_path / "link").symlink_to(place)
    build(settings(built.checkpoint, tmp_path / "link", parity_frames=2, quality_frames=10))
    assert (tmp_path / "link").is_symlink() and Bundle.open(place).manifest.parity.frames == 2
