"""`calibrate`: what changes and what does not; int8 and plans of precisions."""

import msgspec
import numpy as np
import pytest
from PIL import Image

from jetson import Bundle, Runtime
from jetson.bundle import MANIFEST
from jetson.errors import ProfileError
from jetson.manifest import VERSION, DataRecord
from jetson.profiling.measure import measure
from tests.bundles import edit_manifest, tiny_bundle
from tests.toolkit.building import kept, tree
from tests.toolkit.calibrating import LOOSE, refuses, run, units
from tests.toolkit.pictures import SEED, SIZES, pictures
from toolkit import data as data_sets
from toolkit.calibrate import CalibrateSettings, calibrate
from toolkit.data.roles import record, roles
from toolkit.quantise import Int8Settings

LEARNT = {"temperature", "quality", "posterior", "interval", "reliability", "variant_quality"}


@pytest.fixture
def place(calibrated):
    return calibrated


def test_beliefs_are_replaced_and_nothing_else(place):
    before, held = Bundle.open(place).manifest, units(place)
    result = run(place, data="site")
    now = Bundle.open(place).manifest
    assert result.remarks == () and result.bundle.manifest == now and units(place) == held
    assert before.samples == {} and {r: s.n for r, s in now.samples.items()} == {"fit": 36, "select": 36, "test": 40}
    for number, role in enumerate(("select", "test")):
        worth = result.bundle.samples(role).worth
        assert [w.mean() for w in worth.T] == [e.quality[number].value for e in now.exits]
    assert now.build != before.build and now.identity == before.identity
    data = data_sets.load("site")
    parts = {role: part for role, part in roles(data).items() if role != "train"}
    assert now.provenance == msgspec.structs.replace(before.provenance, calibrated=record(data, parts))
    for key in ("units", "task", "classes", "preprocessing", "parity", "plans", "quantisation"):
        assert getattr(now, key) == getattr(before, key)
    for was, is_ in zip(before.exits, now.exits, strict=True):
        assert {k for k in LEARNT | {"name", "units"} if getattr(was, k) != getattr(is_, k)} == {
            *("temperature", "quality", "posterior", "reliability")
        }
        assert [q.split for q in is_.quality] == ["select", "test"]
    assert before.joint is None and now.joint.split == "select"
    assert 0 <= Runtime.load(place).infer(pictures(1)[0]).confidence <= 1
    kept(place, tree(place))


def test_other_data_gives_other_beliefs_and_the_last_counts(place):
    run(place, data="site")
    first = Bundle.open(place).manifest
    run(place, data="other")
    second = Bundle.open(place).manifest
    assert second.provenance.calibrated.name == "other" and second.build != first.build
    assert second.exits[0].posterior != first.exits[0].posterior
    assert all(second.samples[role].sha256 != first.samples[role].sha256 for role in ("fit", "select", "test"))
    run(place, data="other")


def test_int8_is_made_from_the_same_data(place):
    done = []
    settings = CalibrateSettings(bundle=place, data="site", precisions=("int8",), int8=LOOSE)
    result = calibrate(settings, lambda title, n: lambda: done.append((title, n)))
    manifest = result.bundle.manifest
    assert manifest.offered == ("fp32", "fp16", "int8", "int8-fp16")
    assert all(set(e.variant_quality) == {"int8", "int8-fp16"} for e in manifest.exits)
    fit = roles(data_sets.load("site"))["fit"]
    assert (manifest.quantisation.data, manifest.quantisation.frames) == ("site", len(fit))
    assert manifest.quantisation.sha256 == manifest.provenance.calibrated.splits["fit"].sha256 == fit.sha256
    assert ("int8 ranges from 36 frames", 7) in done
    for precision in ("int8", "int8-fp16"):
        runtime = Runtime.load(place, precision=precision)
        assert set(runtime.engines.precisions) == {precision}
        assert 0 <= runtime.infer(pictures(1)[0]).class_index < 3


def test_int8_stays_as_it_is_unless_it_is_asked_for(place):
    run(place, data="site", precisions=("int8",), int8=LOOSE)
    before, held = Bundle.open(place).manifest, units(place)
    run(place, data="other")
    now = Bundle.open(place).manifest
    assert units(place) == held and now.quantisation == before.quantisation and now.units == before.units
    assert now.exits[-1].variant_quality != before.exits[-1].variant_quality


def test_int8_made_anew_leaves_no_file_of_the_old(place, monkeypatch):
    run(place, data="site", precisions=("int8",), int8=LOOSE)
    from calibration.int8 import chain

    real = chain.quantise

    def clipped(content, ranges, name):
        return real(content, {t: r / (1000 if name == "head" else 1) for t, r in ranges.items()}, name)

    monkeypatch.setattr(chain, "quantise", clipped)
    result = run(place, data="other", precisions=("int8",), int8=Int8Settings(max_drop=0.2, method="minmax"))
    assert [k.unit for k in result.bundle.manifest.quantisation.kept] == ["head"]
    assert not {"head.int8.onnx", "head.int8-fp16.onnx"}.intersection(units(place))
    assert "head stays in fp32" in result.remarks[0]


def test_an_exit_that_the_gate_would_no_longer_pass_is_told(place):
    run(place, data="site", precisions=("int8",), int8=LOOSE)
    edit_manifest(place, lambda m: m["quantisation"].update(max_drop=0.0))
    remarks = run(place, data="other").remarks
    losing = [
        (e, p)
        for e in Bundle.open(place).manifest.exits
        for p, q in e.variant_quality.items()
        if q[0].value < e.quality[0].value
    ]
    assert len(remarks) == len(losing)
    assert all("the gate of int8 allowed 0.0%; hold it again with --precision int8" in r for r in remarks)


def test_frames_for_int8_of_their_own_are_taken_and_recorded(place, tmp_path):
    np.save(tmp_path / "film.npy", pictures(300, 77))
    settings = Int8Settings(data="film.npy", frames=50, max_drop=1.0, method="minmax")
    record = run(place, data="site", precisions=("int8",), int8=settings).bundle.manifest.quantisation
    assert (record.frames, record.data, len(record.sha256)) == (50, "film.npy", 64)
    assert record.sha256 != Bundle.open(place).manifest.provenance.calibrated.splits["fit"].sha256


@pytest.mark.parametrize("version", [1, 2])
def test_a_bundle_of_an_older_version_comes_out_as_the_newest(place, version):
    def age(m):
        m["version"] = version
        del m["joint"], m["quantisation"], m["plans"], m["samples"], m["provenance"]["calibrated"]
        for exit_ in m["exits"]:
            for key in ("variant_quality", "posterior", "interval", "reliability"):
                del exit_[key]
            for quality in exit_["quality"]:
                del quality["per_class"]
        if version == 1:
            del m["parity"]["tolerances"]
            for unit in m["units"]:
                for variant in unit.pop("variants"):
                    (place / variant["file"]).unlink()
                del unit["dynamic_batch"]
            for exit_ in m["exits"]:
                del exit_["differences"]

    edit_manifest(place, age)
    held = units(place)
    run(place, data="site")
    assert msgspec.json.decode((place / MANIFEST).read_bytes())["version"] == VERSION and units(place) == held
    assert set(Bundle.open(place).manifest.samples) == {"fit", "select", "test"}
    made = run(place, data="site", precisions=("int8",), int8=LOOSE).bundle.manifest
    assert set(made.offered) == {"fp32", "int8", *(("fp16", "int8-fp16") if version == 2 else ())}


def test_a_link_to_the_bundle_stays_a_link(place, tmp_path):
    (tmp_path / "link").symlink_to(place)
    run(tmp_path / "link", data="site")
    assert (tmp_path / "link").is_symlink() and Bundle.open(place).manifest.provenance.calibrated is not None


def profiles(place, folder, *precisions):
    found = []
    for precision in precisions:
        found.append(folder / f"{precision}.json")
        measure(place, rounds=2, warm_up=0, precision=precision).save(found[-1])
    return found


def test_a_plan_comes_of_what_was_measured_and_changes_nothing_else(place, tmp_path):
    run(place, data="site", precisions=("int8",), int8=LOOSE)
    before, held, told = Bundle.open(place).manifest, units(place), tree(place / "samples")
    files = profiles(place, tmp_path, "fp32", "int8")
    result = run(place, profiles=files)
    now = Bundle.open(place).manifest
    assert msgspec.structs.replace(now, plans={}, build="") == msgspec.structs.replace(before, build="")
    assert now.build != before.build and units(place) == held
    assert tree(place / "samples") == told and set(told) == {"fit.npz", "select.npz", "test.npz"}
    assert set(now.plans) == {"onnxruntime"} and set(now.plans["onnxruntime"]) <= {"fp32", "int8"}
    assert result.remarks[0].startswith("onnxruntime: ")
    assert Runtime.load(place).engines.precisions == now.plans["onnxruntime"]
    # Nothing that was measured is lost by learning anew how good the exits are.
    run(place, data="other")
    assert Bundle.open(place).manifest.plans == now.plans
    for file in files:
        Runtime.load(place, file)


def test_a_plan_goes_with_the_int8_units_it_was_measured_with(place, tmp_path):
    run(place, data="site", precisions=("int8",), int8=LOOSE)
    (file,) = profiles(place, tmp_path, "int8")
    run(place, profiles=(file,))
    assert Bundle.open(place).manifest.plans == {"onnxruntime": ("int8",) * 7}
    again = run(place, data="site", precisions=("int8",), int8=LOOSE)
    assert again.bundle.manifest.plans == {"onnxruntime": ("int8",) * 7}, "the same units were made"
    result = run(place, data="other", precisions=("int8",), int8=LOOSE)
    assert result.bundle.manifest.plans == {}
    assert any("the plan of precisions for onnxruntime is gone with the units" in r for r in result.remarks)
    refuses(place, ProfileError, "int8.json: measured on another bundle, or on units", profiles=(file,))


def test_a_regression_is_calibrated_too(tmp_path):
    place = tmp_path / "place" / "bundle"
    place.parent.mkdir()
    tiny_bundle(place, task="regression", outputs=1, seed=SEED)
    rng = np.random.default_rng(0)
    for number, (part, n) in enumerate(SIZES.items()):
        (tmp_path / "values" / part).mkdir(parents=True)
        lines = ["file,count"]
        for index, image in enumerate(pictures(n, seed=number)):
            Image.fromarray(image).save(tmp_path / "values" / part / f"{index}.png")
            lines.append(f"{index}.png,{rng.normal():.4f}")
        (tmp_path / "values" / part / "targets.csv").write_text("\n".join(lines) + "\n")
    data = str(tmp_path / "values")
    manifest = run(place, data=data, precisions=("int8",), int8=LOOSE).bundle.manifest
    assert all(e.interval.split == "fit" and e.temperature is None for e in manifest.exits)
    assert all(len(e.variant_quality["int8"]) == 2 for e in manifest.exits)
    assert manifest.quantisation.max_drop == 1.0 and manifest.joint is not None
    strict = run(place, data=data, precisions=("int8",), int8=Int8Settings(max_drop=0.0, method="minmax"))
    assert strict.bundle.manifest.quantisation.max_drop == 0.0
    for exit_ in strict.bundle.manifest.exits:
        for found in exit_.variant_quality.values():
            assert found[0].value <= exit_.quality[0].value + 1e-9
    assert Runtime.load(place).infer(pictures(1)[0]).value is not None


def test_of_no_provenance_nothing_is_asked(place):
    edit_manifest(place, lambda m: m["provenance"].update(data=None))
    run(place, data="site")
    assert isinstance(Bundle.open(place).manifest.provenance.calibrated, DataRecord)
