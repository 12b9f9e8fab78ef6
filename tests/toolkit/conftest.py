"""One real build for all tests that look at one: exporting takes a second per unit."""

from __future__ import annotations

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
