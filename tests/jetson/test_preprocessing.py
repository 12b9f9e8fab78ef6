import io

import numpy as np
import pytest
from PIL import Image

from jetson import preprocessing
from jetson.errors import FrameError
from jetson.manifest import Preprocessing
from jetson.preprocessing import Preprocessor
from jetson.resize import MAX_SIZES, taps_of

RNG = np.random.default_rng(0)


def make(height=16, width=24, channels=3, mean=0.0, std=1.0):
    return Preprocessor(
        Preprocessing(height=height, width=width, channels=channels, mean=(mean,) * channels, std=(std,) * channels)
    )


def picture(height, width, channels):
    """Smooth shapes and some noise, so that both resampling and aliasing show."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / (3 + c)) + np.cos(y / (5 + c)) for c in range(channels)], axis=2)
    return np.clip(128 + 50 * waves + RNG.normal(0, 20, waves.shape), 0, 255).astype(np.uint8)


def grey_levels(prepared):
    """Back from a prepared frame (mean 0, deviation 1) to height x width x channels in 0..255."""
    return prepared.transpose(1, 2, 0) * 255


SIZES = [(16, 24), (8, 12), (5, 7), (1, 1), (17, 25), (32, 48), (48, 32), (100, 300), (480, 640), (3, 500), (719, 1279)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_agrees_with_pillow_within_one_grey_level(size, channels):
    frame = picture(*size, channels)
    image = Image.fromarray(frame[:, :, 0] if channels == 1 else frame)
    expected = np.asarray(image.resize((24, 16), Image.Resampling.BILINEAR), np.float64).reshape(16, 24, channels)
    found = grey_levels(make(channels=channels)(frame))
    assert np.abs(found - expected).max() <= 1.0


def test_a_frame_of_the_models_size_is_not_touched():
    frame = picture(16, 24, 3)
    assert np.abs(grey_levels(make()(frame)) - frame).max() < 1e-3


def test_a_plain_surface_stays_plain_at_every_size():
    for size in SIZES:
        found = grey_levels(make()(np.full((*size, 3), 200, np.uint8)))
        assert np.abs(found - 200).max() < 1e-2


def test_normalising_is_per_channel():
    config = Preprocessing(height=2, width=2, channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    found = Preprocessor(config)(np.full((2, 2, 3), 51, np.uint8))
    assert found.shape == (3, 2, 2) and found.dtype == np.float32
    assert found[:, 0, 0] == pytest.approx([(0.2 - 0.1) / 0.5, 0.0, (0.2 - 0.3) / 2.0], abs=1e-6)


@pytest.mark.parametrize("size", [(16, 24), (40, 40)])
def test_a_grey_frame_serves_a_model_of_three_channels(size):
    grey = picture(*size, 1)
    found = make(mean=0.5, std=0.25)(grey)
    assert (found[0] == found[1]).all() and (found[1] == found[2]).all()
    assert (make(mean=0.5, std=0.25)(grey[:, :, 0]) == found).all()
    assert found == pytest.approx(make(mean=0.5, std=0.25)(np.repeat(grey, 3, axis=2)), abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK"])
def test_a_pillow_image_of_any_mode_is_taken(mode, channels):
    image = Image.fromarray(picture(20, 30, 3)).convert(mode)
    found = make(channels=channels)(image)
    plain = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    assert found.shape == (channels, 16, 24) and (found == make(channels=channels)(plain)).all()


def test_a_pillow_image_that_cannot_be_decoded_is_one_line():
    file = io.BytesIO()
    Image.fromarray(picture(64, 64, 3)).save(file, "PNG")
    image = Image.open(io.BytesIO(file.getvalue()[:2000]))
    with pytest.raises(FrameError, match="the image cannot be decoded") as caught:
        make()(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 16, 24), (1, 3, 16, 24)])
def test_a_prepared_frame_is_taken_as_it_is(shape):
    prepared = RNG.normal(size=shape).astype(np.float32)
    found = make(mean=0.5, std=0.25)(prepared)
    assert (found == prepared.reshape(3, 16, 24)).all() and not np.shares_memory(found, prepared)


def test_a_frame_can_be_written_into_given_memory():
    out = np.full((3, 16, 24), np.nan, np.float32)
    assert make()(picture(16, 24, 3), out) is out and np.isfinite(out).all()
    assert make()(np.zeros((3, 16, 24), np.float32), out) is out and (out == 0).all()


def test_frames_that_are_not_contiguous_are_taken():
    frame = picture(32, 48, 3)
    for view in (frame[::2, ::2], frame[::-1], frame[:, ::-1], frame[..., ::-1], np.asfortranarray(frame)):
        assert (make()(view) == make()(np.ascontiguousarray(view))).all()
    read_only = frame.copy()
    read_only.setflags(write=False)
    assert (make()(read_only) == make()(frame)).all()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (None, "not NoneType"),
        ([[1, 2], [3, 4]], "not list"),
        (b"bytes", "not bytes"),
        (7, "not int"),
        (np.zeros((16, 24, 3), np.float64), "this one is float64"),
        (np.zeros((16, 24, 3), np.int32), "this one is int32"),
        (np.zeros((16, 24, 3), bool), "this one is bool"),
        (np.zeros((16, 24, 3), np.float16), "this one is float16"),
        (np.zeros((16, 24, 3), ">f4"), "this one is >f4"),
        (np.zeros((16, 24, 3), np.complex64), "this one is complex64"),
        (np.array([["a"]], object), "this one is object"),
        (np.zeros((16, 24, 4), np.uint8), r"shape \(16, 24, 4\); drop the alpha channel first"),
        (np.zeros((16, 24, 2), np.uint8), r"height x width x 3, this one has shape \(16, 24, 2\)$"),
        (np.zeros((3, 16, 24), np.uint8), r"this one has shape \(3, 16, 24\)"),
        (np.zeros((1, 16, 24, 3), np.uint8), r"this one has shape \(1, 16, 24, 3\)"),
        (np.zeros(16, np.uint8), r"this one has shape \(16,\)"),
        (np.uint8(3), "not uint8"),
        (np.array(3, np.uint8), r"this one has shape \(\)"),
        (np.zeros((0, 24, 3), np.uint8), "cannot be used"),
        (np.zeros((16, 0, 3), np.uint8), "cannot be used"),
        (np.zeros((16, 24, 0), np.uint8), "this one has shape"),
        (np.zeros((1, 16385, 3), np.uint8), "edges of 1 to 16384 pixels"),
        (np.zeros((16, 24, 3), np.float32), r"the model's own shape \(3, 16, 24\), this one has \(16, 24, 3\)"),
        (np.zeros((2, 3, 16, 24), np.float32), "the model's own shape"),
        (np.zeros((3, 16, 25), np.float32), "give camera frames as uint8"),
        (np.full((3, 16, 24), np.inf, np.float32), "NaN or infinite"),
        (np.full((1, 3, 16, 24), np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_a_frame_that_does_not_fit_is_one_line(frame, says):
    with pytest.raises(FrameError, match=says) as caught:
        make()(frame)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2 and isinstance(caught.value, ValueError)


def test_a_colour_frame_does_not_serve_a_grey_model():
    with pytest.raises(FrameError, match="height x width x 1, this one has shape"):
        make(channels=1)(np.zeros((16, 24, 3), np.uint8))


def test_ever_new_sizes_do_not_fill_the_memory():
    prepare = make()
    for width in range(30, 30 + 3 * MAX_SIZES):
        prepare(np.zeros((5, width, 3), np.uint8))
    assert len(prepare._resize._plans) <= MAX_SIZES


def test_the_weights_of_every_pixel_sum_to_one():
    for source in (1, 2, 15, 16, 17, 31, 33, 1000, preprocessing.MAX_EDGE):
        index, weights = taps_of(source, 16)
        assert weights.sum(axis=1) == pytest.approx(np.ones(16), abs=1e-5)
        assert index.min() >= 0 and index.max() < source and (weights >= 0).all()
