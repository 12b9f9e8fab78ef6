"""Where a build cuts and what it fuses, as the options say."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from jetson import Budget, Bundle, Runtime
from jetson.cutting import Choice, Cutting
from jetson.errors import BadInput, ProfileError
from jetson.profiling.profile import LatencyProfile
from tests.bundles import fake_profile
from tests.toolkit.building import settings
from tests.toolkit.digits_model import digits_checkpoint, digits_model
from toolkit.build import build
from toolkit.cli import main
from toolkit.cuts import CutSettings, cut_model, layers_of, only, told

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_preflight")]
FRAME = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory, quick_exports):
    """A checkpoint, its bundle with every branch apart, and a profile in which a call is dear."""
    folder = tmp_path_factory.mktemp("cuts")
    checkpoint = digits_checkpoint(folder / "checkpoint", "1:mlp,2:cnn-add")
    bundle = build(settings(checkpoint, folder / "bundle", **FEW)).bundle
    profile = msgspec.structs.replace(fake_profile(bundle, branch_ms=0.3, spread=0.02), call_ms=0.29)
    profile.save(folder / "p.json")
    return folder


FEW = {"parity_frames": 3, "quality_frames": 120, "precisions": ("fp32",)}


@pytest.fixture
def place(made, tmp_path):
    import shutil

    return Path(shutil.copytree(made / "bundle", tmp_path / "place" / "bundle"))


def again(made, place, **options):
    return build(settings(made / "checkpoint", place, **FEW, cut=CutSettings(**options)))


@pytest.mark.parametrize(
    ("cuts", "layers"), [("auto", (2, 3)), ("all", (1, 2, 3)), ("2", (2, 3)), ("1, 2", (1, 2, 3)), ("2,3", (2, 3))]
)
def test_layers_are_cut_after_as_asked(cuts, layers):
    assert layers_of(cuts, digits_model("2:mlp")) == layers


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ("1", "exit 2:mlp needs a cut after layer 2; name that layer too"),
        ("2,4", "give auto, all, or layers between 1 and 3"),
        ("0,2", "layers between 1 and 3"),
        ("two", "--cuts two: give auto, all"),
        (",", "give auto"),
    ],
)
def test_cuts_that_do_not_fit_are_one_line(cuts, message):
    with pytest.raises(BadInput, match=message):
        layers_of(cuts, digits_model("2:mlp"))


def test_some_exits_alone_share_the_models_weights():
    model = digits_model("1:mlp,2:cnn-add")
    part = only(model, "2:cnn-add")
    assert [e.name for e in part.exits] == ["2:cnn-add", "3:head"] and part.cuts == (2, 3)
    assert part.branch(0) is model.branch(1) and part.backbone is model.backbone and not part.training
    assert only(model, None) is model


@pytest.mark.parametrize("exits", ["4:mlp", "3:head", ","])
def test_an_exit_that_is_not_there_is_one_line(exits):
    with pytest.raises(BadInput, match=r"--exits .*: the checkpoint's early exits are 1:mlp, 2:cnn-add"):
        only(digits_model("1:mlp,2:cnn-add"), exits)


def test_layers_without_an_exit_are_merged_and_that_is_said():
    cuts = cut_model(digits_model("2:mlp"), CutSettings(), None)
    assert [p.name for p in cuts.plans] == ["segment-1", "branch-2-mlp", "segment-2", "head"]
    assert cuts.record == Cutting(asked="auto", merged=(1,))
    assert cuts.remarks[0] == "cut after layer 2; not after layer 1: no exit lies there, so the segments are merged"
    assert cuts.remarks[1].startswith("no branch is fused into its segment")


def test_all_cuts_after_every_layer():
    cuts = cut_model(digits_model("2:mlp"), CutSettings(cuts="all"), None)
    assert [p.layer for p in cuts.plans if p.kind == "segment"] == [1, 2, 3] and cuts.record.merged == ()
    assert [e.units for e in cuts.exits] == [
        ("segment-1", "segment-2", "branch-2-mlp"),
        ("segment-1", "segment-2", "segment-3", "head"),
    ]
    assert cuts.remarks[0] == "cut after layers 1 and 2"


def test_branches_are_fused_by_name():
    cuts = cut_model(digits_model("1:mlp,2:cnn-add"), CutSettings(fuse="1:mlp,3:head"), None)
    assert {p.name: p.fused for p in cuts.plans if p.kind == "branch"} == {
        "branch-1-mlp": "segment-1",
        "branch-2-cnn-add": None,
        "head": "segment-3",
    }
    assert cuts.remarks[1:] == (
        "branch-1-mlp is fused into segment-1: --fuse says so",
        "branch-2-cnn-add stays apart from segment-2: --fuse says so",
        "head is fused into segment-3: --fuse says so",
    )
    with pytest.raises(BadInput, match="--fuse 3:mlp: the exits are 1:mlp, 2:cnn-add, 3:head"):
        cut_model(digits_model("1:mlp,2:cnn-add"), CutSettings(fuse="3:mlp"), None)


def test_a_line_states_both_figures():
    choice = Choice(branch="b", segment="s", fused=True, reason="why", boundary_ms=0.0125, skipping_ms=0.002)
    line = "b is fused into s: its boundary costs 12.5 µs a frame, skipping it saves 2.0 µs; why"
    assert told(Cutting(asked="auto", choices=(choice,)), (2, 4))[1] == line


def test_a_profile_decides_and_the_bundle_answers_as_before(made, place):
    before = Runtime.load(place).infer(FRAME, Budget.unbounded())
    result = again(made, place, profile=made / "p.json")
    manifest = Bundle.open(place).manifest
    choices = manifest.cutting.choices
    assert [c.branch for c in choices] == ["branch-1-mlp", "branch-2-cnn-add", "head"]
    fused = [c.branch for c in choices if c.fused]
    assert fused and [u.name for u in manifest.units if u.fused is not None] == fused
    assert manifest.cutting.profile == LatencyProfile.load(made / "p.json").bundle
    assert {p.stem for p in (place / "units").iterdir()} == {u.name for u in manifest.filed}
    changed = {c.segment for c in choices if c.fused} | set(fused)
    assert set(result.exported) == changed and set(result.reused) == {u.name for u in manifest.units} - changed
    assert all(any(c.branch in line for line in result.remarks) for c in choices)
    after = Runtime.load(place).infer(FRAME, Budget.unbounded())
    assert after.exit == before.exit and np.allclose(after.output, before.output, atol=1e-5)


def test_a_second_build_with_the_same_options_does_nothing(made, place):
    options = {"profile": made / "p.json", "cuts": "all", "fuse": None}
    assert not again(made, place, **options).up_to_date
    stamp = (place / "manifest.json").stat().st_mtime_ns
    assert again(made, place, **options).up_to_date and (place / "manifest.json").stat().st_mtime_ns == stamp


def test_other_options_export_only_what_they_change(made, place):
    assert set(again(made, place, fuse="3:head").exported) == {"segment-3", "head"}
    assert set(again(made, place, fuse="none").exported) == {"segment-3", "head"}
    assert again(made, place, cuts="1,2").exported == ()
    fewer = again(made, place, exits="2:cnn-add")
    assert fewer.exported == ("segment-1",) and len(fewer.bundle.manifest.exits) == 2


def test_names_overrule_the_profile_and_its_figures_are_still_told(made, place):
    result = again(made, place, profile=made / "p.json", fuse="none")
    choices = result.bundle.manifest.cutting.choices
    assert not any(c.fused for c in choices) and all(c.boundary_ms is not None for c in choices)
    assert all("--fuse says so (" in c.reason for c in choices)


def test_the_profile_that_decided_decides_again(made, place):
    """The bundle in place is fused by then, and the profile speaks of it as it was apart."""
    first = again(made, place, profile=made / "p.json").bundle.manifest.cutting
    changed = {**FEW, "quality_frames": 100}
    second = build(settings(made / "checkpoint", place, **changed, cut=CutSettings(profile=made / "p.json")))
    assert not second.up_to_date and second.exported == ()
    assert [c.branch for c in second.bundle.manifest.cutting.choices] == [c.branch for c in first.choices]


def test_a_profile_of_other_units_is_refused(made, place, tmp_path):
    with pytest.raises(ProfileError, match="not measured on the bundle at --out"):
        again(made, tmp_path / "nothing", profile=made / "p.json")
    with pytest.raises(ProfileError, match="build without --profile, measure that"):
        again(made, place, profile=made / "p.json", exits="1:mlp")
    fused = again(made, place, fuse="3:head").bundle
    fake_profile(fused).save(tmp_path / "fused.json")
    with pytest.raises(ProfileError, match="with every branch apart"):
        again(made, place, profile=tmp_path / "fused.json")


def test_fp16_and_int8_of_fused_units_are_made(made, place):
    changed = {**FEW, "precisions": ("fp16", "int8")}
    bundle = build(settings(made / "checkpoint", place, **changed, cut=CutSettings(fuse="1:mlp,3:head"))).bundle
    manifest = bundle.manifest
    assert all(u.files == manifest.unit(u.fused).files for u in manifest.units if u.fused is not None)
    assert manifest.unit("head").at("fp16").file == "units/segment-3.fp16.onnx"
    assert "int8" in manifest.offered
    for precision in manifest.offered:
        answer = Runtime.load(bundle, precision=precision).infer(FRAME, Budget.unbounded())
        assert np.isfinite(answer.output).all()
    without = build(settings(made / "checkpoint", place, **FEW, cut=CutSettings(fuse="1:mlp,3:head"))).bundle
    assert {p.name for p in (place / "units").iterdir()} == {f"{u.name}.onnx" for u in without.manifest.filed}


def test_the_command_says_it_and_info_says_it_again(made, place, capsys):
    line = ["build", str(made / "checkpoint"), "--out", str(place), "--data", "digits", "--parity-frames", "3"]
    line += ["--quality-frames", "120", "--precision", "fp32", "--fuse", "3:head"]
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert "head is fused into segment-3: --fuse says so" in err and "cut after layers 1 and 2" in err
    assert "--saveEngine=segment-3.engine" in out and "head.engine" not in out
    assert main(["info", str(place)]) == 0
    assert "head is fused into segment-3" in capsys.readouterr().out
    assert main(["info", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cutting"]["choices"][2]["fused"] is True
    assert main([*line, "--cuts", "1"]) == 2
    assert (
        capsys.readouterr().err.strip()
        == "offramp build: --cuts 1: exit 2:cnn-add needs a cut after layer 2; name that layer too"
    )
