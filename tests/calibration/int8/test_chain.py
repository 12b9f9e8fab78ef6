"""A whole bundle in int8: which frames each unit is fitted to, what is left out, what is refused."""

import numpy as np
import pytest

from calibration.int8 import chain
from calibration.int8.chain import quantise_units
from calibration.int8.session import Session
from jetson.bundle import Bundle
from jetson.errors import BadInput, DataError, FrameError
from tests.bundles import replace_unit, tiny_bundle
from tests.calibration.int8.graphs import NODE, constants_of, graph

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("chain") / "bundle")


@pytest.fixture
def read(monkeypatch):
    """By unit, what it was fitted to."""
    found = {}
    collect = chain.collect

    def spy(content, name, batches, *more):
        found[name] = np.concatenate(list(batches))
        return collect(content, name, batches, *more)

    monkeypatch.setattr(chain, "collect", spy)
    return found


def outputs(content: bytes, values: np.ndarray) -> np.ndarray:
    return Session(content).run(values)[0]


def test_every_unit_is_there_in_the_order_of_the_manifest(bundle):
    done = []
    made = quantise_units(bundle, FRAMES, "mse", progress=lambda: done.append(1))
    assert [q.unit for q in made] == [u.name for u in bundle.manifest.units]
    assert len(done) == len(made)
    for unit in made:
        types = {v.dtype for v in constants_of(unit.content).values()}
        assert np.dtype(np.int8) in types and unit.ranges and min(unit.ranges.values()) > 0


@pytest.mark.parametrize("together", [True, False])
def test_units_are_fitted_to_what_the_segments_before_them_give(bundle, read, together):
    made = {q.unit: q.content for q in quantise_units(bundle, FRAMES, "minmax", together=together)}
    before = None
    for segment in bundle.manifest.segments:
        if before is not None:
            np.testing.assert_array_equal(read[segment.name], before)
        content = made[segment.name] if together else bundle.file(segment).read_bytes()
        before = outputs(content, read[segment.name])
        for branch in bundle.manifest.units:
            if branch.kind == "branch" and branch.layer == segment.layer:
                np.testing.assert_array_equal(read[branch.name], before)


def test_the_first_unit_reads_prepared_frames(bundle, read):
    quantise_units(bundle, FRAMES, "minmax")
    p = bundle.manifest.preprocessing
    pixels = (FRAMES.transpose(0, 3, 1, 2) / 255 - p.mean[0]) / p.std[0]
    np.testing.assert_allclose(read["segment-1"], pixels, atol=1e-6)


def test_how_many_frames_make_a_batch_changes_nothing(bundle, monkeypatch):
    frames = FRAMES[: chain.BATCH + 1]
    whole = quantise_units(bundle, frames, "minmax")
    monkeypatch.setattr(chain, "BATCH", 3)
    for one, other in zip(whole, quantise_units(bundle, frames, "minmax"), strict=True):
        assert one.ranges == pytest.approx(other.ranges, rel=1e-4)


def test_the_same_frames_give_the_same_bytes(bundle):
    assert quantise_units(bundle, FRAMES, "minmax") == quantise_units(bundle, FRAMES, "minmax")
    assert quantise_units(bundle, FRAMES, "minmax") != quantise_units(bundle, FRAMES[:20], "minmax")


def test_a_unit_without_weights_is_left_out_and_the_rest_goes_on(tmp_path, read):
    bundle = tiny_bundle(tmp_path / "bundle")
    segment = bundle.manifest.segments[1]
    shape = segment.input.shape
    plain = graph([NODE("Tanh", ["x"], ["y"])], {}, shape, {"y": shape})
    bundle = replace_unit(bundle, segment.name, plain)
    made = [q.unit for q in quantise_units(bundle, FRAMES, "minmax")]
    assert made == [u.name for u in bundle.manifest.units if u.name != segment.name]
    np.testing.assert_allclose(read[bundle.manifest.segments[2].name], np.tanh(read["branch-2-mlp"]), atol=1e-6)


def broken(bundle: Bundle, unit: str, value: float) -> Bundle:
    """The bundle with a unit that gives what is no number."""
    about = bundle.manifest.unit(unit)
    weights = {"scale": np.float32(value)}
    nodes = [NODE("Mul", ["x", "scale"], ["wide"]), NODE("Sub", ["wide", "wide"], ["y"])]
    return replace_unit(bundle, unit, graph(nodes, weights, about.input.shape, {"y": about.output.shape}))


def test_a_segment_that_gives_no_numbers_is_named(tmp_path):
    bundle = broken(tiny_bundle(tmp_path / "bundle"), "segment-2", np.inf)
    with pytest.raises(DataError, match="unit segment-2 gives values that are no numbers") as told:
        quantise_units(bundle, FRAMES, "minmax")
    assert "\n" not in str(told.value) and told.value.exit_code == 2


def test_frames_that_do_not_fit_and_methods_that_are_none_are_refused(bundle):
    with pytest.raises(FrameError, match="a frame is height x width x 1"):
        quantise_units(bundle, np.zeros((2, 8, 8, 3), np.uint8), "mse")
    with pytest.raises(BadInput, match="unknown method 'best'"):
        quantise_units(bundle, FRAMES, "best")


def test_units_behind_a_segment_that_int8_ruins_are_fitted_to_what_it_gives_in_full(bundle, read, monkeypatch):
    """It will not run in int8, and they may."""
    real = chain.quantise

    def clipped(content, ranges, name):
        return real(content, {t: r / (1000 if name == "segment-2" else 1) for t, r in ranges.items()}, name)

    monkeypatch.setattr(chain, "quantise", clipped)
    made = {q.unit: q.content for q in quantise_units(bundle, FRAMES, "minmax")}
    whole = outputs(bundle.file(bundle.manifest.unit("segment-2")).read_bytes(), read["segment-2"])
    for name in ("branch-4-vit", "segment-3"):
        np.testing.assert_array_equal(read[name], whole)
    np.testing.assert_array_equal(read["segment-2"], outputs(made["segment-1"], read["segment-1"]))
