"""Every unit of a real build in int8, in both forms, as an engine of TensorRT for RTX: no GPU is needed."""

import json

import pytest

from tests.toolkit.building import settings, with_exits
from toolkit.build import build
from toolkit.cli import main
from toolkit.quantise import Int8Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_preflight")]
EXITS = "1:mlp,2:vit,3:cnn-add"
FORMS = ("int8", "int8-fp16")


def test_tensorrt_builds_every_unit_of_a_bundle(built, exporter, tmp_path, capsys):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'offramp[rtx]'")
    checkpoint, bundle = with_exits(built, EXITS, tmp_path / "checkpoint"), tmp_path / "bundle"
    loose = Int8Settings(max_drop=1.0, frames=32)
    changes = {"precisions": ("int8",), "int8": loose, "parity_frames": 5, "quality_frames": 32}
    made = build(settings(checkpoint, bundle, **changes)).bundle.manifest
    units = [u.name for u in made.units]
    assert {"branch-1-mlp", "branch-2-vit", "branch-3-cnn-add", "head"} < set(units)
    assert set(FORMS) < set(made.precisions), "the gate kept none back"
    words = ["engines", str(bundle), "--target", "sm86", "--precision", ",".join(FORMS), "--json"]
    assert main([*words, "--cache", str(tmp_path / "cache")]) == 0
    engines = json.loads(capsys.readouterr().out)["engines"]
    assert sorted((e["unit"], e["precision"]) for e in engines) == sorted((u, p) for u in units for p in FORMS)
    assert all(e["error"] is None and not e["cached"] and e["size_bytes"] > 1000 for e in engines)
