import re
import subprocess
import sys

import numpy as np
import pytest

from jetson.errors import DataError, OfframpError
from toolkit.data import NAMES, frames, load


def test_one_image(tmp_path, make):
    part = frames(str(make.write_image(tmp_path / "a.png")))
    assert len(part) == 1 and part.targets is None and part.images[0].shape == (5, 6, 3)


def test_a_flat_folder_by_name(tmp_path, make):
    for name in ("b.png", "a.jpg", "c.webp"):
        make.write_image(tmp_path / name)
    (tmp_path / "readme.txt").write_text("x")
    for spec in (str(tmp_path), f"image-folder:{tmp_path}"):
        part = frames(spec)
        assert [p.name for p in part.images.paths] == ["a.jpg", "b.png", "c.webp"] and part.targets is None


def test_a_folder_with_classes_or_a_table_answers_the_part_asked_for(tmp_path, make):
    folder, _ = make.write_classes(tmp_path / "c", {"cat": 10, "dog": 10})
    data = load(str(folder), seed=2)
    for split in ("train", "calibration", "test"):
        assert frames(str(folder), split, seed=2).sha256 == data.part(split).sha256
    make.write_image(tmp_path / "r" / "a.png", 1)
    make.write_image(tmp_path / "r" / "b.png", 2)
    make.write_image(tmp_path / "r" / "c.png", 3)
    (tmp_path / "r" / "targets.csv").write_text("file,n\na.png,1\nb.png,2\nc.png,3\n")
    assert frames(str(tmp_path / "r")).targets.shape == (1, 1)


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 1), (4, 6, 5, 3)])
def test_an_npy(tmp_path, make, shape):
    array = make.pixels(4, shape=shape[1:])
    np.save(tmp_path / "f.npy", array)
    part = frames(str(tmp_path / "f.npy"))
    assert len(part) == 4 and part.images[0].shape == (6, 5, shape[3] if len(shape) == 4 else 1)
    assert part.targets is None and (np.asarray(part.images).ravel() == array.ravel()).all()


def test_an_npz(tmp_path, make):
    path, images = tmp_path / "f.npz", make.pixels(3)
    np.savez(path, images=images)
    assert frames(str(path)).targets is None
    np.savez_compressed(path, images=images, labels=np.array([0, 5, 2], np.uint8))
    assert frames(str(path)).targets.tolist() == [0, 5, 2] and frames(str(path)).targets.dtype == np.int64
    np.savez(path, images=images, targets=np.array([0.5, 1, 2]))
    assert frames(str(path)).targets.tolist() == [[0.5], [1], [2]] and frames(str(path)).targets.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "no array 'images'; it holds other"),
        ({"images": None, "test_images": np.zeros(1)}, "name it with cifar10:"),
        ({"images": np.zeros((3, 4, 4, 3), np.int16)}, "images must be uint8 .* not int16"),
        ({"images": np.zeros((3, 4), np.uint8)}, r"not \[3, 4\]"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, "no images in an array of"),
        ({"images": np.array([None])}, "damaged, incomplete or not an array file"),
        ({"labels": np.zeros(3, int), "targets": np.zeros(3)}, "both labels and targets"),
        ({"labels": np.array([0, -1, 0])}, "label -1 of image 1 is below 0"),
        ({"labels": np.zeros((3, 1), int)}, "labels must be 3 whole numbers"),
        ({"targets": np.zeros(2)}, "targets must be 3 rows of numbers"),
        ({"targets": np.zeros((3, 0))}, "targets must be 3 rows of numbers"),
        ({"targets": np.array(["a", "b", "c"])}, "targets must be 3 rows of numbers"),
        ({"targets": np.array([0, np.nan, 1])}, "not a finite number"),
        ({"targets": np.array([0, np.inf, 1], np.float16)}, "not a finite number"),
    ],
)
def test_an_npz_that_does_not_fit(tmp_path, make, change, says):
    arrays = {"images": make.pixels(3), "other": np.zeros(1)} | change
    np.savez(tmp_path / "f.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(DataError, match=says):
        frames(str(tmp_path / "f.npz"))


def test_array_files_under_each_others_name(tmp_path, make):
    np.save(tmp_path / "a.npy", make.pixels(1))
    np.savez(tmp_path / "b.npz", images=make.pixels(1))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(DataError, match=r"a single array; rename it to \.npy"):
        frames(str(tmp_path / "a.npz"))
    with pytest.raises(DataError, match=r"an archive of several arrays; rename it to \.npz"):
        frames(str(tmp_path / "b.npy"))


@pytest.mark.parametrize("read", [load, frames])
@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mnits", "no data set of that name; known: digits, mnist, fashion-mnist, cifar10, image-folder, counting"),
        ("", "no data set of that name"),
        ("no/such/folder", "'no/such/folder': no such file or folder"),
        ("cifar10", "say where the data is, as in cifar10:PATH"),
        ("image-folder", "say where the data is, as in image-folder:PATH"),
        ("cifar10:no/such", "no such file or folder: 'no/such'"),
        ("cifar10:", "no such file or folder: ''"),
        ("digits:somewhere", "digits comes with a package and takes no path"),
        ("x" * 5000, "File name too long|no data set of that name"),
    ],
)
def test_what_cannot_be_found_is_one_line(read, spec, says):
    with pytest.raises(OfframpError, match=says) as caught:
        read(spec)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_what_is_neither(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="neither a folder nor an image"):
        frames(str(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="not a folder of images; a CIFAR-10 archive"):
        load(str(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="'dev' is not a part of a data set"):
        frames("digits", "dev")
    with pytest.raises(DataError, match="a seed is 0 or more"):
        load("digits", seed=-1)


def test_a_home_folder_is_expanded(tmp_path, make, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "f.npy", make.pixels(2))
    assert len(frames("~/f.npy")) == 2


def test_a_name_wins_over_a_folder_of_that_name(tmp_path, make, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make.write_image(tmp_path / "counting" / "a.png")
    with pytest.raises(DataError, match="takes no path"):
        frames("counting:./counting")
    assert len(frames("./counting")) == 1


def test_every_name_is_described_in_one_line():
    assert [name for name, _ in NAMES] == ["digits", "mnist", "fashion-mnist", "cifar10", "image-folder", "counting"]
    assert all(about and "\n" not in about and len(about) < 110 for _, about in NAMES)


def test_importing_brings_nothing_optional():
    code = (
        "import sys, toolkit.data;"
        "print([m for m in ('torch', 'PIL', 'sklearn', 'mlxtend', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "npy", "npz", "idx", "tar", "pickle"])
def test_flipped_bytes_never_give_a_traceback(tmp_path, make, kind):
    """Whatever is damaged, the answer is data or one line; any other exception fails the test."""
    victim, read = _victim(tmp_path, make, kind)
    content = victim.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        spoilt = bytearray(content)
        # Most of what can go wrong is decided in the first bytes.
        reach = len(spoilt) if rng.random() < 0.5 else min(len(spoilt), 300)
        for place in rng.integers(reach, size=rng.integers(1, 4)):
            spoilt[place] = rng.integers(256)
        victim.write_bytes(spoilt[: rng.integers(1, len(spoilt) + 1)] if rng.random() < 0.2 else spoilt)
        try:
            part = read()
            list(part.images)
        except OfframpError as error:
            assert "\n" not in str(error)
            assert not re.search(r"at 0x[0-9a-f]{8}", str(error)), error


def _victim(tmp_path, make, kind):
    if kind in ("png", "jpg", "webp"):
        path = make.write_image(tmp_path / f"a.{kind}", size=(20, 20))
        return path, lambda: frames(str(path))
    if kind == "npy":
        np.save(tmp_path / "a.npy", make.pixels(2, shape=(8, 8)))
        return tmp_path / "a.npy", lambda: frames(str(tmp_path / "a.npy"))
    if kind == "npz":
        np.savez_compressed(tmp_path / "a.npz", images=make.pixels(2, shape=(8, 8)), labels=np.arange(2))
        return tmp_path / "a.npz", lambda: frames(str(tmp_path / "a.npz"))
    if kind == "idx":
        folder = make.write_fashion(tmp_path)
        return folder / "t10k-images-idx3-ubyte.gz", lambda: frames(f"fashion-mnist:{folder}")
    batches, *_ = make.cifar_batches(per_batch=2)
    if kind == "tar":
        tar = make.write_tar(tmp_path / "c.tar.gz", batches)
        return tar, lambda: frames(f"cifar10:{tar}")
    for name, content in batches.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path / "data_batch_1", lambda: frames(f"cifar10:{tmp_path}")
