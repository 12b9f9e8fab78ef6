"""One real build for all tests that look at one: exporting takes a second per unit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest


class Built(NamedTuple):
    """A checkpoint with all seven branches, and the bundle that was built of it on the digits."""

    checkpoint: Path
    bundle: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    from tests.toolkit.digits_model import EVERY_BRANCH, digits_checkpoint
    from toolkit.build import BuildSettings, build

    folder = tmp_path_factory.mktemp("built")
    checkpoint = digits_checkpoint(folder / "checkpoint", EVERY_BRANCH)
    build(BuildSettings(checkpoint=checkpoint, out=folder / "bundle", data="digits", command="offramp build"))
    return Built(checkpoint, folder / "bundle")


@pytest.fixture
def exporter(built, monkeypatch):
    """Hands out the files of the real build; knows which were asked for, and can spoil or stop one."""
    from jetson import Bundle
    from toolkit.export.onnx import Exported

    bundle = Bundle.open(built.bundle)

    class Exporter:
        def __init__(self):
            self.asked, self.spoil = [], {}

        def __call__(self, module, example, name, source, target):
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
