import sys

import numpy as np
import pytest
from PIL import Image

from jetson.errors import DataError, MissingExtra, StorageError
from toolkit.data import frames
from toolkit.data.images import FileImages, decode, is_image_file


def test_an_image_is_rgb_uint8(tmp_path, make):
    path = make.write_image(tmp_path / "a.png", seed=3)
    image = decode(path)
    assert image.dtype == np.uint8 and image.shape == (5, 6, 3)
    assert (image == make.pixels(1, 3, (5, 6, 3))[0]).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "bmp", "webp"])
def test_every_format(tmp_path, make, suffix):
    path = make.write_image(tmp_path / f"a.{suffix}")
    assert is_image_file(path) and decode(path).shape == (5, 6, 3)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_every_mode_becomes_three_channels(tmp_path, make, mode):
    image = decode(make.write_image(tmp_path / "a.png", mode=mode))
    assert image.shape == (5, 6, 3) and image.dtype == np.uint8


def test_a_transparent_palette_keeps_its_colours(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=b"\x00\xff")
    assert decode(tmp_path / "a.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    Image.fromarray(np.array([[0, 255, 256, 40000, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 156, 255]


def test_the_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the top is at the right
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    turned = decode(tmp_path / "a.png")
    assert turned.shape == (3, 2, 3) and turned[0, 1, 0] == 255 and turned.sum() == 3 * 255


def test_files_are_decoded_only_when_asked_for(tmp_path, make):
    good = make.write_image(tmp_path / "a.png")
    bad = tmp_path / "b.png"
    bad.write_bytes(b"no picture")
    images = FileImages([good, bad])
    assert len(images) == 2 and images[0].shape == (5, 6, 3)
    assert (images.pick([0])[0] == images[0]).all()
    with pytest.raises(DataError, match=r"b\.png: not a PNG, JPEG, BMP or WebP image"):
        list(images)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_a_damaged_image_names_its_file(tmp_path, make, suffix):
    path = make.write_image(tmp_path / f"a.{suffix}", size=(40, 40))
    content = path.read_bytes()
    for keep in (0, 3, 20, len(content) // 2):
        path.write_bytes(content[:keep])
        with pytest.raises(DataError, match=rf"a\.{suffix}: ") as caught:
            decode(path)
        assert "\n" not in str(caught.value)


def test_another_format_under_a_known_name_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match="not a PNG, JPEG, BMP or WebP image"):
        decode(tmp_path / "a.png")


def test_an_image_too_large_to_be_one_is_refused(tmp_path, make, monkeypatch):
    path = make.write_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(path)


def test_hidden_files_are_no_images(tmp_path, make):
    assert not is_image_file(make.write_image(tmp_path / "._a.png"))
    assert not is_image_file(tmp_path / "none.png")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(StorageError, match="cannot read"):
        decode(tmp_path / "a.png")


def test_pillow_is_named_when_it_is_missing(tmp_path, make, monkeypatch):
    path = make.write_image(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pillow is not installed: pip install 'offramp\[images\]'"):
        decode(path)


def test_files_are_decoded_in_grey_for_a_model_of_one_channel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    part = frames(str(tmp_path))
    assert part.for_channels(3).images[0].shape == (9, 7, 3)
    grey = part.for_channels(1)
    expected = np.asarray(Image.fromarray(pixels).convert("L"), np.int64)
    assert np.abs(grey.images[0][:, :, 0].astype(np.int64) - expected).max() <= 1
    assert grey.head(1).images[0].shape == next(iter(grey.images)).shape == (9, 7, 1)
