import msgspec
import numpy as np
import pytest

from jetson.runtime import Runtime
from jetson.scheduling import chosen, planner, plans
from jetson.scheduling.chosen import Chosen, HeldOutReplay, keep, recall
from jetson.scheduling.planner import Planner
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import honest
from toolkit.cli import main

KEY = "a" * 64
REPLAY = HeldOutReplay(confident=0.5, plain=0.4, error=0.01, sooner=False, n=8000)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(planner, "_PLANS", {})
    return tmp_path / "cache" / "plans"


@pytest.fixture
def again(monkeypatch):
    """As in another process."""
    return lambda: monkeypatch.setattr(planner, "_PLANS", {})


@pytest.mark.parametrize("options", [{}, {"miss_rate": 0.05}, {"confidence": True}])
def test_the_next_load_solves_the_same_tables_without_a_replay(cache, again, tmp_path, monkeypatch, options):
    bundle = tiny_bundle(tmp_path / "bundle", samples={"fit": honest(600, seed=1), "select": honest(600, seed=2)})
    profile = fake_profile(bundle, spread=0.1)
    first = Planner.of(bundle, profile, **options).plan
    assert len(list(cache.iterdir())) == 1
    again()
    monkeypatch.setattr(plans, "walk", lambda *_: pytest.fail("replayed"))
    monkeypatch.setattr(plans, "careful_factor", lambda *_: pytest.fail("promised anew"))
    second = Planner.of(bundle, profile, **options).plan
    assert second is not first
    assert (second.known_replay, second.hidden_replay, second.tau) == (
        first.known_replay,
        first.hidden_replay,
        first.tau,
    )
    for name in ("known", "settled", "hidden"):
        assert np.array_equal(getattr(second, name).action, getattr(first, name).action)


def test_what_another_source_or_other_options_found_is_not_believed(cache, again, tmp_path, monkeypatch):
    bundle = tiny_bundle(tmp_path / "bundle", samples={"fit": honest(600, seed=1), "select": honest(600, seed=2)})
    profile = fake_profile(bundle, spread=0.1)
    Planner.of(bundle, profile)
    again()
    Planner.of(bundle, profile, level=0.9)
    assert len(list(cache.iterdir())) == 2
    again()
    monkeypatch.setattr(planner, "code", lambda: b"another")
    Planner.of(bundle, profile)
    assert len(list(cache.iterdir())) == 3
    again()
    Planner.of(bundle, profile, budgets_ms=(5.0, 6.0))
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-3],
        lambda content: b"",
        lambda content: b"[" * 100_000,
        lambda content: content.replace(KEY.encode(), b"b" * 64),
        lambda content: content.replace(b'"tau":1.5', b'"tau":-1'),
        lambda content: content.replace(b'"tau"', b'"thou"'),
        lambda content: content.replace(b'"n":8000', b'"n":"many"'),
        lambda content: b"\xff" + content,
    ],
)
def test_a_damaged_file_is_as_none(cache, spoil):
    keep(Chosen(KEY, REPLAY, REPLAY, 1.5))
    file = cache / f"{KEY}.json"
    assert recall(KEY) == Chosen(KEY, REPLAY, REPLAY, 1.5)
    file.write_bytes(spoil(file.read_bytes()))
    assert recall(KEY) is None


def test_where_nothing_can_be_kept_nothing_is(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path / "file"))
    keep(Chosen(KEY, REPLAY, REPLAY, 1.5))
    assert recall(KEY) is None


def test_only_the_newest_stay(cache, monkeypatch):
    monkeypatch.setattr(chosen, "KEPT", 3)
    for index in range(5):
        keep(Chosen(f"{index:064}", REPLAY, REPLAY, 1.5))
    assert len(list(cache.iterdir())) == 3
    assert recall(f"{4:064}") is not None


def test_the_record_is_small():
    assert len(msgspec.json.encode(Chosen(KEY, REPLAY, REPLAY, 1.0 / 3.0))) < chosen.LARGEST_BYTES / 4


def test_the_first_load_after_profiling_replays_nothing(cache, again, tmp_path, monkeypatch):
    bundle = tiny_bundle(tmp_path / "bundle", samples={"fit": honest(600, seed=1), "select": honest(600, seed=2)})
    profile = tmp_path / "profile.json"
    assert main(["profile", str(bundle.path), "--rounds", "3", "--warm-up", "0", "--out", str(profile)]) == 0
    assert len(list(cache.iterdir())) == 1
    again()
    monkeypatch.setattr(plans, "walk", lambda *_: pytest.fail("replayed"))
    Runtime.load(bundle.path, profile).close()
