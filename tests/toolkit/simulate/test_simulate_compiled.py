"""Compiled or not, the loop is one and the same."""

import sys

import numpy as np
import pytest

from toolkit.simulate import compiled, loop
from toolkit.simulate.compiled import NotCompiled, best_loop, called, compile_loop
from toolkit.simulate.contestants import ORACLES, PLANNERS
from toolkit.simulate.scenarios import NAMES

EVERYONE = (*PLANNERS, "replan", "deepest-mean", "deepest-p99", "alert", "threshold", "static-1", "static-4", *ORACLES)


@pytest.fixture(scope="session")
def fast():
    pytest.importorskip("numba")
    return compile_loop(lambda _text: None)


def same(one, other):
    """But for the time decisions took."""
    drop = lambda rows: {n: {k: v for k, v in r.items() if k != "decision_us"} for n, r in rows.items()}  # noqa: E731
    assert drop(one) == drop(other)


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_in_every_scenario_to_the_last_bit(contest, fast, name):
    kept = {}

    def keeping(kind):
        def run(*arguments):
            (loop.simulate if kind == "slow" else fast)(*arguments)
            _, memory, device, *_, went = arguments[:7]
            kept.setdefault(kind, []).append((memory.copy(), device.copy(), *(np.array(w) for w in went)))

        return run

    same(
        contest(name, 120, names=EVERYONE, loop=keeping("slow")),
        contest(name, 120, names=EVERYONE, loop=keeping("fast")),
    )
    for one, other in zip(kept["slow"], kept["fast"], strict=True):
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("task", "late", "hidden"), [("regression", "lost", False), ("classification", "best-so-far", True)]
)
def test_other_semantics_too(contest, fast, task, late, hidden):
    options = {"task": task, "late": late, "hidden": hidden, "miss_rate": 0.05}
    same(contest("revised", 200, **options), contest("revised", 200, loop=fast, **options))


def test_what_the_loop_calls_is_found():
    names = {f.__name__ for f in called(loop.simulate)}
    assert {"action_for", "observe_unit", "end_frame", "join", "begin_pause", "alert_target"} <= names


def test_machine_code_is_found_again_and_old_one_forgotten(contest, tmp_path, monkeypatch):
    pytest.importorskip("numba")
    said = []
    contest(frames=20, loop=compile_loop(said.append, tmp_path))
    assert len(said) == 1 and "first time" in said[0]
    kept = {f.name for f in tmp_path.iterdir()}
    assert len(kept) == 1 and len(list(tmp_path.rglob("*.nbc"))) == 1
    contest(frames=20, loop=compile_loop(said.append, tmp_path))
    assert len(said) == 1 and len(list(tmp_path.rglob("*.nbc"))) == 1
    for number in range(5):
        monkeypatch.setattr(compiled, "_version", lambda _numba, number=number: f"version-{number}")
        compile_loop(said.append, tmp_path)
    assert len(list(tmp_path.iterdir())) == compiled.KEPT


def test_without_numba_it_runs_all_the_same(contest, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(NotCompiled, match=r"pip install 'offramp\[host\]'"):
        compile_loop(print)
    said = []
    same(contest(loop=best_loop(said.append)), contest())
    assert len(said) == 1 and "plain Python" in said[0]


def test_what_numba_refuses_runs_all_the_same(contest, monkeypatch, tmp_path):
    pytest.importorskip("numba")

    def refused(*_):
        raise NotCompiled("numba does not compile the loop (why)")

    monkeypatch.setattr(compiled, "compile_loop", lambda *_: refused)
    said = []
    same(contest(loop=best_loop(said.append)), contest())
    assert len(said) == 1 and said[0].startswith("numba does not compile the loop (why)")
