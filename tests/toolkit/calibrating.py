"""What tests of calibrate share."""

from __future__ import annotations

import pytest

from tests.toolkit.building import kept, tree
from toolkit.calibrate import CalibrateSettings, calibrate
from toolkit.quantise import Int8Settings

LOOSE = Int8Settings(max_drop=1.0, method="minmax")


def quiet(_title, _parts):
    return lambda: None


def run(place, **settings):
    return calibrate(CalibrateSettings(bundle=place, **settings), quiet)


def units(place):
    return tree(place / "units")


def refuses(place, error, says, **settings):
    before = tree(place)
    with pytest.raises(error, match=says) as told:
        run(place, **settings)
    assert "\n" not in str(told.value) and told.value.exit_code == 2
    kept(place, before)
