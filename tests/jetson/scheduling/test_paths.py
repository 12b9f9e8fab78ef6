import itertools

import msgspec
import numpy as np
import pytest

from jetson.profiling.profile import Sketch
from jetson.scheduling.paths import Paths, remaining_quantiles
from tests.bundles import fake_profile, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("p") / "bundle")


def table(bundle, level=0.95, **options):
    profile = fake_profile(bundle, **options)
    names = [u.name for u in bundle.manifest.units]
    return remaining_quantiles(Paths.of(bundle.manifest), profile, names, level)


def test_paths_are_read_off_the_manifest(bundle):
    paths = Paths.of(bundle.manifest)
    names = [u.name for u in bundle.manifest.units]
    assert [names[i] for i in paths.segments] == ["segment-1", "segment-2", "segment-3"]
    assert [names[i] for i in paths.branches] == ["branch-2-mlp", "branch-2-cnn-add", "branch-4-vit", "head"]
    assert paths.stages == (1, 1, 2, 3)
    assert paths.quality == pytest.approx((0.5, 0.5 + 0.4 / 3, 0.5 + 0.8 / 3, 0.9))


def test_an_error_enters_negated(tmp_path):
    bundle = tiny_bundle(tmp_path / "b", task="regression", outputs=1, quality=[3.0, 2.5, 2.0, 1.0])
    assert Paths.of(bundle.manifest).quality == (-3.0, -2.5, -2.0, -1.0)


def test_without_spread_the_table_is_plain_sums(bundle):
    found = table(bundle, segment_ms=2.0, branch_ms=0.5, medians={"branch-4-vit": 1.5})
    nowhere = np.inf
    assert found == pytest.approx(
        np.array(
            [
                [2.5, 2.5, 5.5, 6.5],
                [0.5, 0.5, 3.5, 4.5],
                [nowhere, nowhere, 1.5, 2.5],
                [nowhere, nowhere, nowhere, 0.5],
            ]
        )
    )


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_quantiles_of_sums_agree_with_all_combinations(tmp_path, level):
    bundle = tiny_bundle(tmp_path / "b", exits=((1, "mlp"), (2, "head")))
    profile = fake_profile(bundle, spread=0.3)
    points = (np.arange(60) + 0.5) / 60
    draws = {n: np.asarray(u.end_to_end_ms.quantile(points)) for n, u in profile.units.items()}

    def brute(*units):
        return np.quantile([sum(c) for c in itertools.product(*(draws[u] for u in units))], level)

    names = [u.name for u in bundle.manifest.units]
    found = remaining_quantiles(Paths.of(bundle.manifest), profile, names, level)
    assert found[0, 0] == pytest.approx(brute("segment-1", "branch-1-mlp"), rel=0.02)
    assert found[0, 1] == pytest.approx(brute("segment-1", "segment-2", "head"), rel=0.02)
    assert found[1, 1] == pytest.approx(brute("segment-2", "head"), rel=0.02)
    assert found[2, 1] == pytest.approx(brute("head"), rel=0.02)


def test_sums_of_quantiles_would_be_too_much(bundle):
    """Independent units: the 95 % quantile of a sum lies under the sum of 95 % quantiles, above that of medians."""
    profile = fake_profile(bundle, spread=0.3)
    path = bundle.manifest.exits[-1].units
    found = table(bundle, spread=0.3)[0, -1]
    assert found < 0.95 * sum(profile.units[u].end_to_end_ms.quantile(0.95) for u in path)
    assert found > 1.05 * sum(profile.units[u].end_to_end_ms.median for u in path)


def test_the_table_is_the_same_every_time(bundle):
    assert (table(bundle, spread=0.2) == table(bundle, spread=0.2)).all()


def test_a_higher_level_needs_more_time_and_a_later_stage_less(bundle):
    low, high = table(bundle, 0.5, spread=0.2), table(bundle, 0.99, spread=0.2)
    known = np.isfinite(low)
    assert (low[known] < high[known]).all() and (np.isfinite(high) == known).all()
    # Down a column the remaining path gets shorter, until the exit lies behind.
    steps = np.where(np.isfinite(high), high, 0.0)
    assert (np.diff(steps, axis=0) <= 0).all()


def test_units_that_take_no_time(bundle):
    profile = fake_profile(bundle)
    zero = {n: type(u)(host_ms=Sketch.of([0.0]), end_to_end_ms=Sketch.of([0.0])) for n, u in profile.units.items()}
    names = [u.name for u in bundle.manifest.units]
    idle = msgspec.structs.replace(profile, units=zero)
    assert (remaining_quantiles(Paths.of(bundle.manifest), idle, names, 0.95)[0] == 0.0).all()
