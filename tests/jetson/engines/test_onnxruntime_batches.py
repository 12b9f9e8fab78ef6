"""Several frames at once give what each gives alone, in whatever the units are made of."""

import numpy as np
import pytest

from jetson.engines import load_batches, load_engines
from jetson.errors import BadInput, EngineError
from tests.batches import any_number
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle, with_half
from tests.fusing import fuse


def fp32(folder):
    return any_number(tiny_bundle(folder)), None


def fused(folder):
    return any_number(fuse(tiny_bundle(folder), "2:mlp", "4:vit")), None


def fp16(folder):
    bundle = with_half(any_number(tiny_bundle(folder)))
    return bundle, ["fp16"] * len(bundle.manifest.units)


def mixed(folder):
    bundle = with_half(any_number(tiny_bundle(folder)))
    return bundle, ["fp16" if u.kind == "segment" else "fp32" for u in bundle.manifest.units]


def regression(folder):
    return any_number(tiny_bundle(folder, task="regression", outputs=2)), None


@pytest.mark.parametrize("made", [fp32, fused, fp16, mixed, regression])
def test_answers_are_those_of_one_at_a_time(tmp_path, made):
    bundle, precisions = made(tmp_path)
    engines = load_engines(bundle, precisions=precisions)
    batches = load_batches(bundle, engines, 4)
    frames = np.random.default_rng(0).normal(size=(4, *engines.input.shape[1:])).astype(np.float32)
    units = range(len(bundle.manifest.units))
    alone = []
    for frame in frames:
        engines.input[0] = frame
        for unit in units:
            engines.run(unit)
        alone.append([engines.output(u)[0].copy() for u in units])
    last = [i for i, u in enumerate(bundle.manifest.units) if u.kind == "branch"]
    for size in (4, 2, 3):
        batches.input(size)[:] = frames[:size]
        for unit in units:
            batches.run(unit, size)
        for place in range(size):
            for unit in last:
                np.testing.assert_allclose(batches.output(unit, size)[place], alone[place][unit], atol=1e-6, rtol=0)


def test_what_takes_one_frame_at_a_time_is_refused(tmp_path):
    bundle = tiny_bundle(tmp_path)
    with pytest.raises(BadInput, match=r"unit segment-1 takes one frame at a time.*build the bundle again"):
        load_batches(bundle, load_engines(bundle), 2)
    other = FakeEngines(bundle, VirtualClock(), fake_profile(bundle))
    with pytest.raises(BadInput, match="batches run on onnxruntime only"):
        load_batches(bundle, other, 2)


def test_no_more_frames_than_were_prepared_for(tmp_path):
    bundle = any_number(tiny_bundle(tmp_path))
    batches = load_batches(bundle, load_engines(bundle), 2)
    with pytest.raises(EngineError, match="a batch of 3 frames was not prepared, but of 2 at most"):
        batches.run(0, 3)
