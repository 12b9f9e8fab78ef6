"""Branches that are part of their segment's graph: the manifest's rules, and the runtime on such a bundle."""

import json

import numpy as np
import pytest

from jetson import Budget, Bundle, Runtime
from jetson.decode import decode_manifest
from jetson.errors import BundleError
from jetson.profiling.measure import measure
from tests.bundles import edit_manifest, fake_profile, tiny_bundle
from tests.fusing import fuse

FRAME = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)


@pytest.fixture
def both(tmp_path):
    """The same bundle with every branch apart, and with three of them fused, two into one segment."""
    apart = tiny_bundle(tmp_path / "apart")
    return apart, fuse(tiny_bundle(tmp_path / "fused"), "2:mlp", "2:cnn-add", "6:head")


def test_a_fused_branch_has_no_file_of_its_own(both):
    apart, fused = (b.manifest for b in both)
    assert [u.name for u in fused.filed] == ["segment-1", "segment-2", "branch-4-vit", "segment-3"]
    assert apart.filed == apart.units and [u.name for u in fused.units] == [u.name for u in apart.units]
    names = [t.name for t in fused.given(fused.unit("segment-1"))]
    assert names == ["tokens_out", "branch-2-mlp-output", "branch-2-cnn-add-output"]
    assert fused.identity != apart.identity
    assert {p.name for p in (both[1].path / "units").iterdir()} == {f"{u.name}.onnx" for u in fused.filed}


def test_an_altered_segment_is_noticed_once(both):
    file = both[1].file(both[1].manifest.unit("head"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="unit segment-3 was altered"):
        Bundle.open(both[1].path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fused": "segment-2"},
            "branch-2-mlp is said to be fused into segment-2, which is no segment",
        ),
        ({"fused": "nothing"}, "fused into nothing, which is no segment"),
        ({"sha256": "00" * 32}, "the files of branch-2-mlp are not those of segment-1"),
        ({"output": {"name": "tokens_out", "shape": [1, 3]}}, "two outputs of segment-1 have the same name"),
    ],
)
def test_a_fused_branch_that_fits_nowhere_is_refused(both, change, message):
    edit_manifest(both[1].path, lambda data: data["units"][1].update(change))
    with pytest.raises(BundleError, match=message):
        Bundle.open(both[1].path)


def test_a_segment_cannot_be_fused(both):
    edit_manifest(both[1].path, lambda data: data["units"][0].update(fused="segment-1"))
    with pytest.raises(BundleError, match="segment-1 is said to be fused into segment-1"):
        Bundle.open(both[1].path)


def test_a_plan_cannot_part_a_branch_from_its_segment(both):
    def change(data):
        half = {"precision": "fp16", "file": "units/s.onnx", "sha256": "ab" * 32, "size_bytes": 1}
        for unit in data["units"][:3]:
            unit["variants"] = [half]
        data["plans"] = {"onnxruntime": ["fp16", "fp32", "fp16"] + ["fp32"] * 4}

    edit_manifest(both[1].path, change)
    with pytest.raises(BundleError, match="the plan parts a fused branch from its segment"):
        Bundle.open(both[1].path)


def test_the_version_before_is_read(both):
    data = json.loads((both[0].path / "manifest.json").read_bytes())
    del data["cutting"]
    for unit in data["units"]:
        del unit["fused"]
    assert decode_manifest(json.dumps(data | {"version": 4}).encode(), "m.json") == both[0].manifest


@pytest.mark.parametrize("budget", [Budget.unbounded(), Budget.within(1e4)])
def test_answers_are_the_same(both, budget):
    answers = []
    for bundle in both:
        runtime = Runtime.load(bundle, fake_profile(bundle))
        answers.append(runtime.infer(FRAME, budget))
        runtime.close()
    apart, fused = answers
    assert fused.output.tobytes() == apart.output.tobytes() and fused.exit == apart.exit
    assert [run.unit for run in fused.trace] == [run.unit for run in apart.trace]


def test_it_is_measured_like_any_other(both):
    profile = measure(both[1], rounds=3, warm_up=1, seconds=0)
    assert list(profile.units) == [u.name for u in both[1].manifest.units]
    assert profile.bundle == both[1].manifest.identity and profile.call_ms > 0
    runtime = Runtime.load(both[1], profile)
    assert runtime.infer(FRAME, Budget.within(1e4)).met_deadline
