"""A small bundle, and a function that loads one on the fake device."""

import pytest

from tests.bundles import tiny_bundle
from tests.jetson.engines.tensorrt.loaded import loader


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def make(tmp_path):
    with loader(tmp_path) as load:
        yield load
