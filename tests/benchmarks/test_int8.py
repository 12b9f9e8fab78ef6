"""`python -m benchmarks.int8` on bundles of a few kilobytes: every case, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from PIL import Image

from benchmarks import int8, int8_confidence
from benchmarks.command import one_line
from benchmarks.int8_table import BUILT, NAIVE, Recorded
from calibration.int8.ranges import METHODS
from jetson import Bundle
from jetson.engines import onnxruntime as ort_engines
from tests.bundles import edit_manifest, tiny_bundle, with_half
from tests.toolkit.pictures import SEED, pictures, write_parts
from toolkit.calibrate import CalibrateSettings, calibrate
from toolkit.quantise import Int8Settings

pytestmark = pytest.mark.slow
LOOSE = Int8Settings(max_drop=1.0)


class Measured(NamedTuple):
    """What there was, what was found, and what was said on the way."""

    bundle: Path
    data: Path
    found: Recorded
    said: str


@pytest.fixture(scope="module", autouse=True)
def few_divisions():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_confidence, "DIVISIONS", 4)
        yield


def quiet(_title, _parts):
    return lambda: None


def in_int8(bundle, data, settings=LOOSE):
    calibrate(CalibrateSettings(bundle=bundle, data=str(data), precisions=("int8",), int8=settings), quiet)


def run(bundle, data, out, *more):
    threads = ort_engines._process_threads or ort_engines.available_cores()  # one number a process
    words = [str(bundle), "--data", str(data), "--pairs", "5", "--threads", str(threads), "--out", str(out)]
    int8.main([*words, *more])
    return msgspec.json.decode(out.read_bytes(), type=Recorded)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    bundle = with_half(tiny_bundle(folder / "bundle", seed=SEED))
    write_parts(folder / "site", bundle, seed=1)
    in_int8(bundle.path, folder / "site")
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr(int8, "HALF_FRAMES", 30)
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        found = run(bundle.path, folder / "site", folder / "results" / "found.json")
    return Measured(bundle.path, folder / "site", found, "\n".join(said))


def test_every_case_is_judged_on_every_exit(measured):
    found = measured.found
    others = [m for m in METHODS if m != "mse"]
    names = [*BUILT.values(), "mse", *others, "mse, each unit alone", NAIVE]
    assert [(c.name, c.n) for c in found.cases] == [(name, 30 if name == BUILT["int8-fp16"] else 40) for name in names]
    assert found.exits == ("2:mlp", "2:cnn-add", "4:vit", "6:head") and found.n == 40
    for case in found.cases:
        whole = case.n == 40
        assert not whole or np.allclose(np.subtract(found.quality, case.quality), case.drop, atol=1e-5)
        assert (case.time is not None) == whole
        assert not whole or 0 < case.time.low <= case.time.ratio <= case.time.high
        assert set(case.sizes) == set(found.units) and len(case.noise) == len(case.spread) == 4
    assert all(n > 0 for n in found.cases[-1].noise) and found.cases[0].noise != found.cases[-1].noise


def test_what_the_bundle_holds_is_what_its_manifest_says(measured):
    manifest, found = Bundle.open(measured.bundle).manifest, measured.found
    built, _, mse, *_ = found.cases
    for k, exit_ in enumerate(manifest.exits):
        assert found.quality[k] == pytest.approx(exit_.quality[1].value, abs=1e-6)
        assert built.quality[k] == pytest.approx(exit_.variant_quality["int8"][1].value, abs=1e-6)
        assert found.stated.exits["fp32"][k] == exit_.reliability[1]
    assert found.stated.fitted == 36 and all(e.mean > 0 and e.deviation > 0 for e in found.stated.divided)
    assert len(found.stated.exits["int8"]) == 4
    # The gate sent nothing back and the ranges are from the same images: it is the same case twice.
    assert found.kept == {} and msgspec.structs.replace(mse, name=built.name, time=built.time) == built


def test_it_tells_how_far_it_is(measured):
    lines = measured.said.splitlines()
    assert lines[0].startswith("1/9 fp32: 2:mlp 0.") and lines[0].endswith("min left")
    assert lines[8].startswith(f"9/9 {NAIVE}: ") and lines[9].startswith("confidence, over 100 divisions")
    assert lines[10:] == [f"-> {measured.bundle.parent}/results/found.json"]


def test_units_that_the_gate_sent_back_run_as_they_do_in_the_bundle(measured, tmp_path, monkeypatch):
    bundle = Path(shutil.copytree(measured.bundle, tmp_path / "bundle"))
    from calibration.int8 import chain

    real = chain.quantise

    def clipped(content, ranges, name):
        return real(content, {t: r / (1000 if name == "head" else 1) for t, r in ranges.items()}, name)

    with monkeypatch.context() as patch:
        patch.setattr(chain, "quantise", clipped)
        in_int8(bundle, measured.data, Int8Settings(max_drop=0.2))
        patch.setattr(int8, "_ways", lambda *_: {})
        found = run(bundle, measured.data, tmp_path / "found.json", "--test-frames", "20", "--frames", "34")
    case = found.cases[0]
    units = Bundle.open(bundle).manifest.units
    assert found.kept == {"head": "fp32"} and set(case.sizes) == {u.name for u in units} - {"head"}
    runs = [u.at("fp32" if u.name == "head" else "int8").size_bytes for u in units]
    assert case.size == pytest.approx(sum(runs) / sum(found.units.values()), abs=1e-5)
    assert found.n == 20 and found.settings["frames"] == 34


def test_a_regression_is_judged_by_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "_ways", lambda *_: {})
    bundle = tiny_bundle(tmp_path / "bundle", task="regression", outputs=1, exits=((2, "mlp"), (4, "head")))
    for number, (part, n) in enumerate({"train": 6, "calibration": 72, "test": 40}.items()):
        folder = tmp_path / "site" / part
        folder.mkdir(parents=True)
        images = pictures(n, seed=number)
        lines = ["file,value"]
        for index, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{index:03}.png")
            lines.append(f"{index:03}.png,{image.mean() / 255:.6f}")
        (folder / "targets.csv").write_text("\n".join(lines) + "\n")
    in_int8(bundle.path, tmp_path / "site")
    found = run(bundle.path, tmp_path / "site", tmp_path / "found.json")
    manifest = Bundle.open(bundle.path).manifest
    assert found.task == "regression" and found.stated is None
    assert found.quality == pytest.approx([e.quality[1].value for e in manifest.exits], abs=1e-5)
    assert found.cases[-1].drop == pytest.approx(np.subtract(found.cases[-1].quality, found.quality), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bundle": "nothing"}, "nothing: not a bundle"),
        ({"bundle": "plain"}, "plain: was built without int8; offramp build makes it with --precision int8"),
        ({"data": "digits"}, "does not fit the bundle"),
        ({"data": "less"}, "less: not the images that"),
        ({"data": "nowhere"}, "nowhere"),
        ({"out": "."}, "cannot write ."),
        ({"frames": "3"}, "--frames 3: must be 32 at least"),
        ({"pairs": "0"}, "--pairs 0: must be 1 at least"),
        ({"test-frames": "1"}, "--test-frames 1: must be 2 at least"),
    ],
)
def test_what_cannot_be_is_one_line(measured, tmp_path, monkeypatch, capsys, change, says):
    monkeypatch.chdir(tmp_path)
    given = {"bundle": str(measured.bundle), "data": str(measured.data), "out": "found.json"} | change
    if given["bundle"] == "plain":
        shutil.copytree(measured.bundle, "plain")
        edit_manifest(Path("plain"), lambda m: m.update(quantisation=None))
    if given["data"] == "less":
        shutil.copytree(measured.data, "less")
        next(Path("less/test").rglob("*.png")).unlink()
    words = [given.pop("bundle"), *(w for key, value in given.items() for w in (f"--{key}", value))]
    with pytest.raises(SystemExit) as told:
        one_line(lambda: int8.main(words))
    out, err = capsys.readouterr()
    assert told.value.code == 2 and out == "" and says in err and err.count("\n") == 1


def test_an_interruption_writes_nothing(measured, tmp_path, monkeypatch, capsys):
    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(int8, "_ways", stop)
    with pytest.raises(SystemExit) as told:
        run(measured.bundle, measured.data, tmp_path / "found.json")
    assert told.value.code == 130 and capsys.readouterr().err == "interrupted; nothing was written\n"
    assert not (tmp_path / "found.json").exists()
