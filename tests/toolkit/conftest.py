"""One real build for all tests that look at one: exporting takes a second per unit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.workers import is_worker


@pytest.fixture(scope="session", autouse=True)
def _meanwhile(request: pytest.FixtureRequest) -> None:
    """Most tests here need one core; the demo takes the other, where no other worker has it."""
    if not is_worker(request.config):
        request.getfixturevalue("demo_begun")


class Built(NamedTuple):
    """A checkpoint with all seven branches, and the bundle that was built of it on the digits."""

    checkpoint: Path
    bundle: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, quick_exports: None) -> Built:
    from tests.toolkit.digits_model import EVERY_BRANCH, digits_checkpoint
    from toolkit.build import BuildSettings, build

    folder = tmp_path_factory.mktemp("built")
    checkpoint = digits_checkpoint(folder / "checkpoint", EVERY_BRANCH)
    build(BuildSettings(checkpoint=checkpoint, out=folder / "bundle", data="digits", command="offramp build"))
    return Built(checkpoint, folder / "bundle")


@pytest.fixture
def no_preflight(monkeypatch):
    """TensorRT's parser takes everything, and is not started to say so: a third of what a small build takes."""
    monkeypatch.setattr("jetson.engines.tensorrt.preflight.preflight", lambda _bundle, _precisions: [])


@pytest.fixture
def exporter(built, monkeypatch):
    """Hands out the files of the real build; knows which were asked for, and can spoil or stop one."""
    from jetson import Bundle
    from toolkit.export.onnx import Exported

    bundle = Bundle.open(built.bundle)

    class Exporter:
        def __init__(self):
            self.asked, self.spoil = [], {}

        def __call__(self, module, example, name, source, target, **_):
            self.asked.append(name)
            unit = bundle.manifest.unit(name)
            content = bundle.file(unit).read_bytes()
            return Exported(self.spoil[name](content) if name in self.spoil else content, unit.dynamic_batch)

    exporter = Exporter()
    monkeypatch.setattr("toolkit.export.onnx.export_module", exporter)
    return exporter


@pytest.fixture
def place(built, tmp_path):
    """The bundle in a folder of its own, where nothing else may appear."""
    (tmp_path / "place").mkdir()
    return Path(shutil.copytree(built.bundle, tmp_path / "place" / "bundle"))


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data spec of the digits in a file of their own: scikit-learn, which brings them, takes a second to import."""
    import numpy as np

    from toolkit.data import load

    found, file = load("digits"), tmp_path_factory.mktemp("digits") / "digits.npz"
    arrays = {"classes": np.array(found.classes)}
    for name in ("train", "test"):
        part = getattr(found, name)
        arrays |= {f"{name}_images": np.stack(list(part.images)), f"{name}_labels": part.targets}
    np.savez(file, **arrays)
    return f"cifar10:{file}"


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a few kilobytes in two precisions, and two folders of pictures of its classes."""
    from tests.bundles import tiny_bundle, with_half
    from tests.toolkit.pictures import SEED, write_parts

    folder = tmp_path_factory.mktemp("sites")
    bundle = with_half(tiny_bundle(folder / "bundle", seed=SEED))
    write_parts(folder / "site", bundle, seed=1)
    write_parts(folder / "other", bundle, seed=2)
    return folder


@pytest.fixture
def calibrated(sites, tmp_path, monkeypatch) -> Path:
    """That bundle in a folder of its own, to calibrate; `site` and `other` name the pictures."""
    (tmp_path / "place").mkdir()
    for name in ("site", "other"):
        (tmp_path / name).symlink_to(sites / name)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(sites / "bundle", tmp_path / "place" / "bundle"))
