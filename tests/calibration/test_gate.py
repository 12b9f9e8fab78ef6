"""The gate on made-up units: each adds an error of its own to the exits behind it."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from calibration.gate import Gate
from jetson.bundle import Bundle
from jetson.manifest import Manifest, Variant
from tests.bundles import tiny_bundle

N = 400


def manifest(tmp_path: Path, precisions: tuple[str, ...], **more) -> Manifest:
    """A bundle's manifest whose units are said to be there in further precisions."""
    found: Bundle = tiny_bundle(tmp_path / "bundle", **more)
    units = tuple(
        msgspec.structs.replace(
            u, variants=tuple(Variant(precision=p, file="x", sha256="0" * 64, size_bytes=1) for p in precisions)
        )
        for u in found.manifest.units
    )
    return msgspec.structs.replace(found.manifest, units=units)


class Units:
    """Outputs of every exit, spoilt by units in less than full precision."""

    def __init__(self, about: Manifest, damage: dict[str, float], worth: dict[str, float] | None = None) -> None:
        self.about, self.damage = about, damage
        self.worth = worth or {"int8": 1.0, "int8-fp16": 1.0, "fp16": 0.0, "fp32": 0.0}
        self.calls: list[tuple[tuple[str, ...], int]] = []
        rng = np.random.default_rng(0)
        self.clean = rng.normal(size=(N, len(about.exits), about.outputs)).astype(np.float32)
        self.noise = {u.name: rng.normal(size=self.clean.shape) for u in about.units}
        if about.task == "classification":
            self.targets = self.clean[:, -1].argmax(axis=1)
            self.clean[:] = self.clean[:, -1:]
        else:
            self.targets = self.clean[:, -1] + rng.normal(size=(N, about.outputs)).astype(np.float32)
            self.clean[:] = self.clean[:, -1:]

    def __call__(self, precisions, n):
        self.calls.append((tuple(precisions), n))
        found = self.clean[:n].astype(np.float64)
        for unit, precision in zip(self.about.units, precisions, strict=True):
            if not self.worth[precision] or unit.name not in self.damage:
                continue
            error = self.worth[precision] * self.damage[unit.name]
            for k, exit_ in enumerate(self.about.exits):
                if unit.name in exit_.units:
                    found[:, k] += error * self.noise[unit.name][:n, k]
        return found.astype(np.float32)

    def gate(self, max_drop: float) -> Gate:
        return Gate(self.about, self.targets, max_drop, self)

    def hold(self, precision: str, max_drop: float):
        return self.gate(max_drop).hold([precision] * len(self.about.units), self.clean)


def names(about: Manifest) -> list[str]:
    return [u.name for u in about.units]


def test_harmless_units_stay(tmp_path):
    about = manifest(tmp_path, ("int8",))
    units = Units(about, dict.fromkeys(names(about), 1e-4))
    chosen, outputs, kept = units.hold("int8", 0.01)
    assert set(chosen) == {"int8"} and not kept and len(units.calls) == 1
    np.testing.assert_array_equal(outputs, units(chosen, N))


def test_the_unit_that_does_the_damage_goes_back_and_no_other(tmp_path):
    about = manifest(tmp_path, ("int8",))
    bad = about.segments[1].name
    units = Units(about, dict.fromkeys(names(about), 1e-3) | {bad: 2.0})
    chosen, outputs, kept = units.hold("int8", 0.01)
    assert [k.unit for k in kept] == [bad] and kept[0].precision == "fp32"
    assert chosen == ["fp32" if name == bad else "int8" for name in names(about)]
    assert (units.gate(0.01).drops(units.clean, outputs) <= 1).all()
    assert "lost" in kept[0].reason and "points of accuracy" in kept[0].reason


def test_units_go_back_worst_first_until_the_gate_holds(tmp_path):
    about = manifest(tmp_path, ("int8",))
    first, second = about.segments[0].name, about.exits[-1].units[-1]
    units = Units(about, {first: 1.0, second: 3.0})
    chosen, _, kept = units.hold("int8", 0.0)
    assert [k.unit for k in kept] == [second, first]
    assert [p for n, p in zip(names(about), chosen, strict=True) if n in (first, second)] == ["fp32", "fp32"]


def test_a_unit_goes_back_to_half_precision_and_no_further(tmp_path):
    """What half precision costs is not the gate's: it was held against PyTorch, and is what the bundle runs then."""
    about = manifest(tmp_path, ("fp16", "int8-fp16"))
    bad = about.segments[0].name
    chosen, _, kept = Units(about, {bad: 2.0}).hold("int8-fp16", 0.01)
    assert [(k.unit, k.precision) for k in kept] == [(bad, "fp16")] and "fp32" not in chosen
    worth = {"int8-fp16": 1.0, "fp16": 0.9, "fp32": 0.0}
    chosen, _, kept = Units(about, {bad: 2.0}, worth).hold("int8-fp16", 0.01)
    assert {k.precision for k in kept} == {"fp16"} and set(chosen) == {"fp16"}


def test_what_cannot_be_mended_ends(tmp_path):
    about = manifest(tmp_path, ("int8",))
    worth = {"int8": 1.0, "fp32": 1.0}
    chosen, _, kept = Units(about, dict.fromkeys(names(about), 2.0), worth).hold("int8", 0.01)
    assert set(chosen) == {"fp32"} and len(kept) == len(about.units)


def test_regression_loses_a_share_of_its_error(tmp_path):
    about = manifest(tmp_path, ("int8",), task="regression")
    bad = about.segments[0].name
    units = Units(about, {bad: 1.0})
    loss = units.gate(1.0).drops(units.clean, units(["int8"] * len(about.units), N)).max()
    assert 0.1 < loss < 1.0
    assert not units.hold("int8", float(loss) + 0.01)[2]
    kept = units.hold("int8", 0.05)[2]
    assert [k.unit for k in kept] == [bad] and "% of the error" in kept[0].reason


@pytest.mark.parametrize("max_drop", [0.0, 0.01])
def test_a_gain_is_no_loss(tmp_path, max_drop):
    about = manifest(tmp_path, ("int8",))
    units = Units(about, {})
    worse = units.clean.copy()
    worse[: N // 2] *= -1
    assert (units.gate(max_drop).drops(worse, units.clean) == 0).all()
    assert (units.gate(max_drop).drops(units.clean, units.clean) == 0).all()


@pytest.mark.parametrize(("max_drop", "says"), [(0.0, "lost [0-9.]*[1-9]"), (0.01, "lost [0-9.]*[1-9]")])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_reason_tells_what_was_lost_and_not_what_was_allowed(tmp_path, task, max_drop, says):
    about = manifest(tmp_path, ("int8",), task=task)
    kept = Units(about, {about.segments[1].name: 2.0}).hold("int8", max_drop)[2]
    assert len(kept) == 1 and re.search(says, kept[0].reason), kept


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_are_a_loss(tmp_path, task, value):
    """As overflow in half precision gives them; NaN compares as no loss with anything."""
    about = manifest(tmp_path, ("int8",), task=task)
    bad = about.exits[2].units[-1]
    units = Units(about, {bad: value})
    with np.errstate(invalid="ignore"):
        _, outputs, kept = units.hold("int8", 1.0)
    assert [k.unit for k in kept] == [bad] and np.isfinite(outputs).all()
    assert f"exit {about.exits[2].name} gave values that are no numbers" in kept[0].reason


@pytest.mark.parametrize(("lost", "kept"), [(4, 0), (5, 0), (6, 1)])
def test_a_loss_of_just_what_is_allowed_is_allowed(tmp_path, lost, kept):
    about = manifest(tmp_path, ("int8",), exits=((2, "head"),))
    n, right = 500, 376
    clean = np.zeros((n, 1, 3), np.float32)
    clean[:, 0, 0] = 1.0
    targets = np.where(np.arange(n) < right, 0, 1)
    spoilt = np.array(clean)
    spoilt[:lost, 0, 2] = 2.0
    gate = Gate(about, targets, 0.01, lambda p, k: (spoilt if "int8" in p else clean)[:k])
    assert len(gate.hold(["int8", "int8"], clean)[2]) >= kept
    assert bool(gate.hold(["int8", "int8"], clean)[2]) == bool(kept)


def test_a_segment_goes_back_with_the_branches_that_are_fused_into_it(tmp_path):
    about = manifest(tmp_path, ("int8",))
    fused = {"branch-2-mlp": "segment-1", "head": "segment-3"}
    about = msgspec.structs.replace(
        about, units=tuple(msgspec.structs.replace(u, fused=fused.get(u.name)) for u in about.units)
    )
    units = Units(about, {"segment-3": 5.0})
    chosen, _, kept = units.hold("int8", 0.02)
    assert [k.unit for k in kept] == ["segment-3"]
    ran_in = dict(zip(names(about), chosen, strict=True))
    assert ran_in["head"] == ran_in["segment-3"] == "fp32" and ran_in["segment-1"] == "int8"
    together = [dict(zip(names(about), asked, strict=True)) for asked, _ in units.calls]
    assert all(a["branch-2-mlp"] == a["segment-1"] and a["head"] == a["segment-3"] for a in together)
