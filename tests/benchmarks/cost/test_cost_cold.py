"""The benchmark of cold starts: what is summed up, what the table says, and a real run of a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks.cost import cold, fresh, record
from benchmarks.cost.record import Recorded
from jetson.errors import WorkFailed
from tests.bundles import fake_profile, tiny_bundle


def started(seconds, resident):
    held = {"resident": resident, "own": 3_000_000, "of_files": 2_000_000, "peak": 9_000_000}
    return {"seconds": seconds, "bytes": dict.fromkeys(seconds, held)}


def made_up(monkeypatch, tmp_path):
    """What `run` makes of processes that take what they are told, each a tenth longer than the one before."""
    counts = {}

    def start(words, _cache, first=False):
        kind = words[0] + ("-first" if first else "-cold" if words[-1] == "0" else "")
        counts[kind] = counts.get(kind, 0) + 1
        slow = 1 + counts[kind] / 10
        if words[0] == "steps":
            return started({"one": 0.1, "two": 0.1 + 0.2 * slow}, 0)
        base = {"jetson": 3, "jetson-first": 4, "jetson-cold": 2, "onnxruntime": 1, "torch": 9}[kind] * slow
        return started({p: base * (n + 1) for n, p in enumerate(fresh.PHASES)}, 5_000_000)

    monkeypatch.setattr(cold, "start", start)
    for name in ("cut", "whole"):
        (tmp_path / name / "units").mkdir(parents=True)
    (tmp_path / "whole" / "units" / "whole.onnx").write_bytes(b"x" * 7)
    for name in ("head", "segment-2", "segment-10", "branch-1-mlp"):
        (tmp_path / "cut" / "units" / f"{name}.onnx").write_bytes(b"x" * 10)
    return cold.run(tmp_path, 1, 3)


def test_processes_are_compared_pair_by_pair(monkeypatch, tmp_path):
    figures = made_up(monkeypatch, tmp_path)
    # Two lines call the same program, the cut files and the whole, so its runs are counted through.
    assert figures["files_bytes"] == 40 and figures["memory"] == [1.0] * 3
    assert figures["steps_ms"] == pytest.approx({"one": 100.0, "two": 260.0})
    loaded = figures["processes"][cold.UNWARMED]["ms"]["loaded"]
    assert loaded == pytest.approx([5200.0, 4880.0, 5520.0])
    settings = {"size": "tiny", "image": 32, "exits": 2, "threads": 1, "rounds": 3}
    text = cold.table(Recorded("cold", settings, {"processor": "abacus", "cores": 2}, figures))
    assert f"| {cold.OURS}, {cold.UNWARMED} | 2600 (2440 to 2760) | 5200 (4880 to 5520)" in text
    assert "resident memory over the uncut model's: 1.00 (1.00 to 1.00)" in text and "two 260" in text
    assert f"| {cold.OURS}, {cold.FIRST} | 5200 (4880 to 5520)" in text
    assert "abacus" in text and "3 fresh processes" in text


def test_segments_are_chained_in_their_order(monkeypatch, tmp_path):
    made_up(monkeypatch, tmp_path)
    lines = cold.contestants(tmp_path, 2)
    names = [word.rpartition("/")[2] for word in lines[cold.SAME][2:]]
    assert names == ["segment-2.onnx", "segment-10.onnx", "head.onnx", "branch-1-mlp.onnx"]
    assert lines[cold.OURS][-1] == "2" and lines[cold.UNWARMED][-1] == "0"


def test_fresh_processes_answer(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    profile = tmp_path / "profile.json"
    fake_profile(bundle, threads=1).save(profile)
    found = cold.start(["jetson", str(bundle.path), str(profile), "1"], tmp_path / "cache")
    assert 0 < found["seconds"]["imported"] < found["seconds"]["loaded"] < found["seconds"]["answered"]
    files = [str(bundle.file(bundle.manifest.unit(name))) for name in ("segment-1", "segment-2", "segment-3", "head")]
    bare = cold.start(["onnxruntime", "1", *files], tmp_path / "cache")
    assert set(bare["seconds"]) == set(fresh.PHASES)
    if Path("/proc/self/smaps_rollup").exists():
        assert bare["bytes"]["answered"]["peak"] >= bare["bytes"]["answered"]["resident"] > 0
    steps = cold.start(["steps", str(bundle.path), str(profile), "1"], tmp_path / "cache")
    assert next(iter(steps["seconds"])) == "import jetson" and "hash every file" in steps["seconds"]


def test_a_process_that_fails_is_one_line(tmp_path):
    with pytest.raises(WorkFailed, match="onnxruntime failed: ") as caught:
        cold.start(["onnxruntime", "1", str(tmp_path / "absent.onnx")], tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_tiny_run(monkeypatch, tmp_path, prepared):
    everyone = cold.contestants
    # PyTorch takes seconds to start; the benchmark of peers starts it in its test.
    monkeypatch.setattr(cold, "contestants", lambda *a: everyone(*a) | {cold.TORCH: everyone(*a)[cold.SAME]})
    out = tmp_path / "cost-cold.json"
    words = f"--size tiny --image 32 --exits 2 --rounds 1 --work {prepared / '2'} --out {out}"
    cold.main(words.split())
    recorded = record.read(out)
    assert "work" not in recorded.settings and json.loads(out.read_text())["name"] == "cold"
    assert set(recorded.figures["processes"]) == {
        *(cold.OURS, cold.UNWARMED, cold.FIRST, cold.SAME, cold.WHOLE, cold.TORCH)
    }
    assert recorded.figures["files_bytes"] > 1e6 and "ViT-tiny, 32 px, 2 exits" in cold.table(recorded)
