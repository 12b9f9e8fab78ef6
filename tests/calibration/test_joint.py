from bisect import bisect_right

import msgspec
import numpy as np
import pytest

from calibration.joint import BUCKETS, FRAMES, joint
from jetson.beliefs import Joint


def uniform(n, exits, seed=0):
    rng = np.random.default_rng(seed)
    said = rng.uniform(0, 1, (n, exits))
    return said, (rng.random((n, exits)) < said).astype(np.float64)


def test_each_bucket_holds_what_all_exits_did_on_its_frames():
    said, right = uniform(1000, 3)
    found = joint(said, right, "select")
    assert found.split == "select" and [len(e) for e in found.edges] == [BUCKETS - 1] * 3
    for j in range(3):
        assert sum(found.n[j]) == 1000 and max(found.n[j]) - min(found.n[j]) <= 1
        bucket = np.array([bisect_right(found.edges[j], v) for v in said[:, j]])
        for b in range(BUCKETS):
            assert found.n[j][b] == (bucket == b).sum()
            assert found.value[j][b] == pytest.approx(right[bucket == b].mean(axis=0), abs=1e-4)
        own = [row[j] for row in found.value[j]]
        assert own[-1] > 0.85 and own[0] < 0.15, "an exit's own bucket tells its own accuracy"


@pytest.mark.parametrize(("n", "buckets"), [(32, 1), (39, 1), (40, 2), (100, 5), (160, 8), (161, 8), (5000, 8)])
def test_few_frames_make_few_buckets(n, buckets):
    found = joint(*uniform(n, 2), "select")
    assert [len(row) for row in found.n] == [buckets] * 2 and min(map(min, found.n)) >= FRAMES


@pytest.mark.parametrize(
    ("own", "n"),
    [
        ([0.5] * 200, (200,)),
        ([0.2] * 100 + [0.8] * 100, (100, 100)),
        ([0.2] * 195 + [0.8] * 5, (200,)),
        ([0.1] * 25 + [0.5] * 150 + [0.9] * 25, (25, 150, 25)),
        ([0.9] * 150 + [0.1 + i / 1000 for i in range(50)], (25, 25, 150)),
    ],
)
def test_frames_of_one_value_are_never_parted(own, n):
    said = np.array(own)[:, None]
    found = joint(said, np.ones_like(said), "select")
    assert found.n == (n,) and found.value == (((1.0,),) * len(n),)


def test_an_edge_has_the_digits_it_takes_to_part_frames():
    said = (1 - 1e-6 - 1e-8 * np.arange(160))[:, None]
    assert joint(said, np.ones_like(said), "select").n == ((20,) * 8,)
    wide = np.repeat([0.2, 0.8], 80)[:, None]
    assert joint(wide, np.ones_like(wide), "select").edges == ((0.5,),)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_in_regression_it_is_sorted_by_the_first_output_and_holds_errors(scale):
    rng = np.random.default_rng(1)
    said = scale * rng.normal(0, 1, (400, 2))
    errors = np.abs(said) + scale
    found = joint(said, errors, "select")
    assert [len(row) for row in found.n] == [BUCKETS] * 2 and found.edges[0] == tuple(sorted(found.edges[0]))
    bucket = np.searchsorted(found.edges[1], said[:, 1], side="right")
    assert found.value[1][0] == pytest.approx(errors[bucket == 0].mean(axis=0), rel=1e-3)


def test_the_table_is_small_and_survives_the_way_to_disk():
    content = msgspec.json.encode(joint(*uniform(2000, 12), "select"))
    assert len(content) < 12_000
    assert msgspec.json.decode(content, type=Joint) == joint(*uniform(2000, 12), "select")
