import shutil

import numpy as np
import pytest

from jetson.errors import DataError
from toolkit.data import frames, load


def table(folder, text, images=(), make=None):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(images):
        make.write_image(folder / name, seed + 1000 * len(str(folder.name)))
    (folder / "targets.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_per_class_is_cut_70_15_15(tmp_path, make):
    folder, _ = make.write_classes(tmp_path / "animals", {"cat": 20, "dog": 40})
    data = load(str(folder))
    assert [len(data.train), len(data.calibration), len(data.test)] == [42, 9, 9]
    assert (data.name, data.task, data.classes, data.outputs) == ("animals", "classification", ("cat", "dog"), 2)
    assert (data.channels, data.size) == (3, (5, 6))
    for part in (data.train, data.calibration, data.test):
        assert (part.targets == 1).sum() == 2 * (part.targets == 0).sum()
        assert [p.parent.name for p in part.images.paths] == [data.classes[t] for t in part.targets]
    assert load(f"image-folder:{folder}").record() == data.record()
    assert load(str(folder), seed=1).test.sha256 != data.test.sha256


def test_classes_may_be_nested_and_sizes_mixed(tmp_path, make):
    folder, _ = make.write_classes(tmp_path, {"a": 5, "b/inner": 5})
    make.write_image(folder / "a" / "z.JPG", seed=99, size=(31, 7))
    (folder / "a" / "notes.txt").write_text("not an image")
    make.write_image(folder / ".hidden" / "a.png")
    data = load(str(folder))
    assert data.classes == ("a", "b")
    assert len(data.train) + len(data.calibration) + len(data.test) == 11


def test_named_parts(tmp_path, make):
    _, seed = make.write_classes(tmp_path / "train", {"a": 6, "b": 6})
    _, seed = make.write_classes(tmp_path / "calibration", {"a": 2, "b": 2}, seed)
    make.write_classes(tmp_path / "test", {"b": 3}, seed)
    data = load(str(tmp_path))
    assert [len(data.train), len(data.calibration), len(data.test)] == [12, 4, 3]
    assert data.test.targets.tolist() == [1, 1, 1]
    # The head of a part is a sample of its classes.
    assert sorted(data.train.head(2).targets.tolist()) == [0, 1]
    assert load(str(tmp_path), seed=5).record() == data.record()


def test_calibration_is_cut_from_train_where_there_is_none(tmp_path, make):
    _, seed = make.write_classes(tmp_path / "train", {"a": 20, "b": 20})
    make.write_classes(tmp_path / "test", {"a": 2, "b": 2}, seed)
    data = load(str(tmp_path))
    assert [len(data.train), len(data.calibration), len(data.test)] == [34, 6, 4]
    assert np.bincount(data.calibration.targets).tolist() == [3, 3]


def test_a_copy_of_a_test_image_is_dropped_from_train(tmp_path, make):
    _, seed = make.write_classes(tmp_path / "train", {"a": 4, "b": 4})
    _, seed = make.write_classes(tmp_path / "calibration", {"a": 2, "b": 2}, seed)
    make.write_classes(tmp_path / "test", {"a": 2, "b": 2}, seed)
    shutil.copy(tmp_path / "test" / "a" / "000.png", tmp_path / "train" / "b" / "copy.png")
    shutil.copy(tmp_path / "test" / "a" / "001.png", tmp_path / "calibration" / "b" / "copy.png")
    data = load(str(tmp_path))
    assert [len(data.train), len(data.calibration), len(data.test), data.dropped] == [8, 4, 4, 2]
    assert not any(p.name == "copy.png" for p in (*data.train.images.paths, *data.calibration.images.paths))


def test_a_class_may_be_called_like_a_part(tmp_path, make):
    folder, _ = make.write_classes(tmp_path, {"bus": 4, "train": 4})
    assert load(str(folder)).classes == ("bus", "train")


def test_a_table_makes_it_regression(tmp_path, make):
    names = [f"{i}.png" for i in range(10)]
    lines = "\n".join(f"{name},{i}.5,-{i}e-1" for i, name in enumerate(names))
    folder = table(tmp_path / "people", f"\ufefffile,count,age\n{lines}\n\n", names, make)
    data = load(str(folder))
    assert (data.task, data.classes, data.outputs) == ("regression", None, 2)
    assert [len(data.train), len(data.calibration), len(data.test)] == [6, 2, 2]
    assert data.train.targets.dtype == np.float32
    for part in (data.train, data.calibration, data.test):
        for path, (count, age) in zip(part.images.paths, part.targets, strict=True):
            assert count == int(path.stem) + 0.5 and age == np.float32(-int(path.stem) / 10)


def test_a_table_in_each_part(tmp_path, make):
    table(tmp_path / "train", "file,n\na.png,1\nb.png,2\nc.png,3\n", ["a.png", "b.png", "c.png"], make)
    table(tmp_path / "test", "file,n\na.png,4\n", ["a.png"], make)
    data = load(str(tmp_path))
    assert [len(data.train), len(data.calibration), len(data.test)] == [2, 1, 1]
    assert data.test.targets.tolist() == [[4.0]] and data.outputs == 1
    table(tmp_path / "test", "file,m\na.png,4\n")
    with pytest.raises(DataError, match=r"the columns of test/targets\.csv are not those of train"):
        load(str(tmp_path))
    (tmp_path / "test" / "targets.csv").unlink()
    with pytest.raises(DataError, match=r"train/ has a targets\.csv, another part has none"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty; its first line is file,target"),
        ("\n \n", "empty; its first line is file,target"),
        ("file,n\n", "names no images"),
        ("name,n\na.png,1\n", "its first line must be file,target"),
        ("file\na.png\n", "its first line must be file,target"),
        ("file,n\na.png,1,2\n", "line 2: 3 columns where the first line has 2"),
        ("file,n\n\na.png\n", "line 3: 1 columns where the first line has 2"),
        ("file,n\na.png,many\n", "line 2: many is not a number"),
        ("file,n\na.png,\n", "line 2:  is not a number"),
        ("file,n\na.png,nan\n", "line 2: a target is not a finite number"),
        ("file,n\na.png,-inf\n", "line 2: a target is not a finite number"),
        ("file,n\na.png,1e39\n", "line 2: a target is not a finite number"),
        ("file,n\nz.png,1\n", r"line 2: z\.png is not there"),
        ("file,n\n../a.png,1\n", r"line 2: '\.\./a\.png' is not a file inside the folder"),
        ("file,n\n/a.png,1\n", "is not a file inside the folder"),
        ("file,n\n,1\n", "'' is not a file inside the folder"),
        ("file,n\na.png,1\na.png,2\n", r"line 3: a\.png is named twice"),
        ("file,n\na.png,1\n./a.png,2\n", "is named twice"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, make, text, says):
    table(tmp_path, text, ["a.png"], make)
    with pytest.raises(DataError, match=says):
        load(str(tmp_path))


def test_a_table_that_is_not_text(tmp_path):
    (tmp_path / "targets.csv").write_bytes(b"file,n\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        load(str(tmp_path))
    (tmp_path / "targets.csv").write_bytes(b'file,n\n"' + b"a" * 200_000)
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        load(str(tmp_path))


def test_an_empty_folder(tmp_path):
    for read in (load, frames):
        with pytest.raises(DataError, match=r"no images in it \(of \.png \.jpg"):
            read(str(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for read in (load, frames):
        with pytest.raises(DataError, match="a: no images in this class"):
            read(str(tmp_path))


def test_one_class_is_too_few_to_learn_from(tmp_path, make):
    folder, _ = make.write_classes(tmp_path, {"cat": 10})
    with pytest.raises(DataError, match="only one class, cat"):
        load(str(folder))
    assert len(frames(str(folder))) == 2


def test_too_few_images_to_cut(tmp_path, make):
    folder, _ = make.write_classes(tmp_path, {"cat": 1, "dog": 1})
    with pytest.raises(DataError, match="2 images are too few to cut into 3 parts"):
        load(str(folder))


def test_images_without_classes(tmp_path, make):
    make.write_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="images without classes"):
        load(str(tmp_path))
    make.write_classes(tmp_path, {"cat": 3, "dog": 3})
    for read in (load, frames):
        with pytest.raises(DataError, match=r"images beside the folders cat/"):
            read(str(tmp_path))


def test_parts_that_do_not_fit_together(tmp_path, make):
    _, seed = make.write_classes(tmp_path / "train", {"a": 4, "b": 4})
    with pytest.raises(DataError, match="has train/ but no test/"):
        load(str(tmp_path))
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="the test part has no images"):
        load(str(tmp_path))
    _, seed = make.write_classes(tmp_path / "test", {"a": 2, "c": 2}, seed)
    with pytest.raises(DataError, match=r"test/c: a class that the training images do not have; they have a, b"):
        load(str(tmp_path))
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="val/ beside test/; the parts are called train, calibration, test"):
        load(str(tmp_path))
    (tmp_path / "targets.csv").write_text("file,n\n")
    with pytest.raises(DataError, match=r"targets\.csv beside test/"):
        load(str(tmp_path))


def test_flat_parts_are_not_taken_for_classes(tmp_path, make):
    for split, seed in (("train", 1), ("test", 2)):
        make.write_image(tmp_path / split / "a.png", seed)
    with pytest.raises(DataError, match="train: images without classes"):
        load(str(tmp_path))
