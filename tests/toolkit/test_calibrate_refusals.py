"""What `calibrate` refuses, and that a bundle is never lost on the way."""

import errno
import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from jetson import Bundle
from jetson.errors import BadInput, BundleError, DataError, ProfileError, StorageError
from jetson.manifest import Split
from tests.bundles import edit_manifest, fake_profile, tiny_bundle
from tests.toolkit.building import kept, tree
from tests.toolkit.calibrating import LOOSE, refuses, run
from tests.toolkit.pictures import SIZES, pictures, write_parts
from toolkit import data as data_sets
from toolkit.data.roles import record, roles
from toolkit.quantise import Int8Settings


@pytest.fixture
def place(calibrated):
    return calibrated


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "nothing to do: give --data to calibrate with, or --profile"),
        ({"data": "site", "quality_frames": 31}, "--quality-frames 31: to learn how sure an answer may be takes 32"),
        ({"data": "site", "precisions": ("fp16",)}, "calibrate makes int8 and int8-fp16 only; build makes the others"),
        ({"data": "site", "int8": LOOSE}, "say how int8 is made: give --precision int8 too"),
        ({"data": "site", "precisions": ("int8",), "int8": Int8Settings(method="x")}, "--int8-method x: the methods"),
        ({"precisions": ("int8",), "profiles": (Path("p.json"),)}, "int8 needs data to hold every exit against"),
        ({"data": "site", "precisions": ("int8",), "profiles": (Path("p.json"),)}, "no profile speaks of them yet"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(place, settings, says):
    refuses(place, BadInput, says, **settings)


def test_int8_beside_half_precision_needs_half_precision(tmp_path, place):
    shutil.rmtree(place)
    tiny_bundle(place)
    refuses(place, BadInput, "this bundle has no fp16", data="site", precisions=("int8-fp16",))


def test_data_that_does_not_fit_is_one_line(place, tmp_path):
    bundle = Bundle.open(place)
    write_parts(tmp_path / "named", bundle, classes=("class 0", "class 1", "cat"))
    refuses(place, DataError, "the classes of named are not the bundle's: cat is in one of them", data="named")
    refuses(place, DataError, r"the data digits \(classification, 10 outputs\) does not fit", data="digits")
    refuses(place, DataError, "no data set of that name", data="nothing")


def test_too_few_images_are_one_line(place, tmp_path):
    write_parts(tmp_path / "few", Bundle.open(place), sizes=SIZES | {"calibration": 40})
    says = r"few: its calibration part has 40 images, 21 to fit and 19 to select on; it takes 32 of each"
    refuses(place, DataError, says, data="few")
    refuses(place, DataError, says, data="few", precisions=("int8",))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (pictures(20, 77), "frames.npy: 20 images are too few to calibrate with"),
        (np.zeros((40, 8, 8), np.uint8), "frames.npy: only 1 of 40 images differ"),
        (np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8), "look like random noise"),
        (pictures(40, 77)[..., None].repeat(3, axis=3), "frames.npy: a frame is height x width x 1"),
        (pictures(40, 77)[..., None].repeat(4, axis=3), "drop the alpha channel first"),
        (pictures(40, 77).astype(np.float32), "images must be uint8"),
    ],
)
def test_frames_for_int8_that_will_not_do_are_one_line(place, tmp_path, images, says):
    np.save(tmp_path / "frames.npy", images)
    settings = Int8Settings(data="frames.npy", method="minmax")
    refuses(place, DataError, says, data="site", precisions=("int8",), int8=settings)


@pytest.mark.parametrize("part", ["calibration", "test"])
def test_frames_for_int8_that_decide_or_report_are_refused(place, tmp_path, part):
    (tmp_path / "some").mkdir()
    for index, file in enumerate(sorted((tmp_path / "site" / part).rglob("*.png"))[1:]):
        shutil.copy(file, tmp_path / "some" / f"{index}.png")
    role = "select" if part == "calibration" else "test"
    settings = Int8Settings(data="some")
    says = rf"some: \d+ of its \d+ images are {role} images of this model too"
    refuses(place, DataError, says, data="site", precisions=("int8",), int8=settings)


def made_with(place, **splits):
    """Say what the bundle was made with."""
    held = {role: msgspec.to_builtins(split) for role, split in splits.items()}
    edit_manifest(place, lambda m: m["provenance"].update(data={"name": "before", "splits": held}))


@pytest.mark.parametrize(
    ("offered", "role", "says"),
    [
        ("calibration", "train", "site, its calibration part: its fit images are the train images of this bundle"),
        ("calibration", "test", "site, its calibration part: its fit images are the test images"),
        ("calibration", "select", "site, its calibration part: its fit images are the select images"),
        ("test", "train", "site: its test images are the train images of this bundle"),
        ("test", "calibration", "site: its test images are the calibration images"),
        ("fit", "test", "site: its fit images are the test images"),
        ("select", "fit", "site: its select images are the fit images"),
    ],
)
def test_images_keep_the_role_they_had(place, offered, role, says):
    data = data_sets.load("site")
    found = data.record().splits | record(data, roles(data)).splits
    made_with(place, **{role: found[offered]})
    refuses(place, DataError, says, data="site")


def test_the_data_of_the_build_may_be_given_again(place):
    data = data_sets.load("site")
    whole, parts = data.record().splits, record(data, roles(data)).splits
    made_with(place, **whole)
    run(place, data="site")
    made_with(place, **whole | parts)
    run(place, data="site", precisions=("int8",), int8=LOOSE)


def test_frames_for_int8_may_not_be_what_the_bundle_was_tested_on(place, tmp_path):
    np.save(tmp_path / "film.npy", pictures(300, 77))
    film = data_sets.frames("film.npy")
    made_with(place, test=Split(n=len(film), sha256=film.sha256))
    settings = Int8Settings(data="film.npy", frames=50)
    says = "film.npy: its fit images are the test images of this bundle"
    refuses(place, DataError, says, data="site", precisions=("int8",), int8=settings)


@pytest.mark.parametrize("stray", ["notes.txt", "profile.json"])
def test_other_files_in_the_folder_are_not_lost(place, stray):
    (place / stray).write_text("measured on Tuesday")
    before = tree(place)
    with pytest.raises(BadInput, match=rf"holds other files than a bundle's \({stray}\); move them"):
        run(place, data="site")
    assert tree(place) == before


def test_nor_are_folders_among_the_units(place):
    (place / "units" / "old").mkdir()
    (place / "units" / "old" / "head.onnx").write_text("x")
    before = tree(place)
    with pytest.raises(BadInput, match=r"holds other files than a bundle's \(units/old\)"):
        run(place, data="site")
    assert tree(place) == before


def test_nor_are_files_among_the_samples(place):
    run(place, data="site")
    (place / "samples" / "notes.txt").write_text("measured on Tuesday")
    before = tree(place)
    with pytest.raises((BadInput, BundleError), match=r"samples/notes\.txt"):
        run(place, data="site")
    (place / "samples" / "notes.txt").rename(place / "samples" / "extra.npz")
    with pytest.raises(BundleError, match=r"extra\.npz: the manifest does not name this file"):
        run(place, data="site")
    assert len(tree(place)) == len(before)


def test_a_damaged_bundle_is_refused(place):
    (place / "units" / "head.onnx").write_bytes(b"x")
    refuses(place, BundleError, "the file is truncated or altered", data="site")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["toolkit.judge.collect_outputs", "calibration.int8.chain.run", "shutil.copyfile"])
def test_what_stops_it_leaves_the_old_bundle(place, monkeypatch, error, where):
    before = tree(place)

    def stop(*_args, **_options):
        raise error

    monkeypatch.setattr(where, stop)
    with pytest.raises(type(error)):
        run(place, data="site", precisions=("int8",), int8=LOOSE)
    kept(place, before)


@pytest.mark.parametrize("full", ["jetson.files.os.fsync", "shutil.copyfile"])
def test_a_full_disk_is_one_line_and_leaves_the_old_bundle(place, monkeypatch, full):
    def fail(*_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(full, fail)
    refuses(place, StorageError, "the disk is full; free some space and run the same command again", data="site")


def test_a_manifest_that_its_readers_would_refuse_never_replaces_a_good_one(place, monkeypatch):
    def nonsense(bundle, *_args, **_options):
        exits = tuple(msgspec.structs.replace(e, temperature=float("nan")) for e in bundle.manifest.exits)
        return msgspec.structs.replace(bundle.manifest, exits=exits), ()

    monkeypatch.setattr("toolkit.calibrate.judge", nonsense)
    refuses(place, BundleError, "the temperature of exit", data="site")


def test_profiles_that_cannot_be_used_are_one_line(place, tmp_path):
    refuses(place, ProfileError, "no.json: no such profile", profiles=(tmp_path / "no.json",))
    other = tiny_bundle(tmp_path / "another", seed=9)
    fake_profile(other).save(tmp_path / "other.json")
    refuses(place, ProfileError, "other.json: measured on another bundle", profiles=(tmp_path / "other.json",))
    mine = fake_profile(Bundle.open(place))
    mine.save(tmp_path / "mine.json")
    moved = msgspec.structs.replace(mine, device=msgspec.structs.replace(mine.device, board="a board"))
    moved.save(tmp_path / "moved.json")
    files = (tmp_path / "mine.json", tmp_path / "moved.json")
    refuses(place, ProfileError, "moved.json: measured on another device", profiles=files)
