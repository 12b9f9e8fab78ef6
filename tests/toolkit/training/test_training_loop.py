"""The learning rate of every step, and which weights decay or learn slowly."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
from accelerate import Accelerator

from tests.toolkit.training.small import plan
from toolkit.models.multi_exit import MultiExitModel
from toolkit.training.compose import Plan
from toolkit.training.loop import MIRRORED, WARM_UP, Loop, Rates, make_optimizer
from toolkit.training.losses import Objective
from toolkit.training.partial import PhaseModel
from toolkit.training.phases import phases
from toolkit.training.settings import PRETRAINED_FACTOR, WEIGHT_DECAY, Progress


def rates(steps: int, done: int = 0) -> list[float]:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [weight]}, {"params": [torch.nn.Parameter(torch.zeros(1))]}], lr=9.0)
    schedule, found = Rates(steps, done, 0.5, [1.0, 0.1]), []
    for _ in range(steps - done):
        schedule.next(optimizer)
        found.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.1 * found[-1])
    return found


def test_the_rate_rises_and_falls_along_a_cosine() -> None:
    found = rates(100)
    top = found.index(max(found))
    assert top == round(WARM_UP * 100) - 1
    assert found[0] == pytest.approx(0.5 / 10) and 0.48 < found[top] <= 0.5
    assert found[: top + 1] == sorted(found[: top + 1]) and found[top:] == sorted(found[top:], reverse=True)
    assert found[50] == pytest.approx(0.25) and found[-1] < 0.001


def test_the_rate_goes_on_where_a_run_stopped() -> None:
    assert rates(40, done=25) == rates(40)[25:]


def groups_of(found: Plan) -> dict[tuple[float, float], set[str]]:
    """Names of the weights by the share of the learning rate they take and their decay."""
    model: MultiExitModel = found.model
    phase = phases("end-to-end", model.exits, 1)[0]
    optimizer, shares = make_optimizer(PhaseModel(model, phase), found)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = zip(shares, optimizer.param_groups, strict=True)
    return {(share, group["weight_decay"]): {names[id(p)] for p in group["params"]} for share, group in groups}


def test_every_weight_is_in_one_group_and_only_matrices_decay() -> None:
    found = plan()
    groups = groups_of(found)
    assert groups.keys() == {(1.0, WEIGHT_DECAY), (1.0, 0.0)}
    assert sum(map(len, groups.values())) == len(list(found.model.parameters()))
    still = groups[1.0, 0.0]
    assert {"backbone.stem.positions", "backbone.stem.prefix", "backbone.head.norm.weight"} <= still
    assert "branches.1.convolutions.1.weight" in still, "batch norm"
    assert all(p.dim() > 1 for name, p in found.model.named_parameters() if name not in still)


@pytest.mark.parametrize("new_head", [False, True])
def test_pretrained_weights_learn_slowly(new_head: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(plan(), new_head=new_head)
    monkeypatch.setattr(Plan, "pretrained", property(lambda _self: True))
    groups = groups_of(found)
    slow = {name for (share, _), names in groups.items() if share == PRETRAINED_FACTOR for name in names}
    expected = {name for name, _ in found.model.named_parameters() if name.startswith("backbone.")}
    if new_head:
        expected = {name for name in expected if not name.startswith("backbone.head.")}
    assert slow == expected


@pytest.mark.parametrize(
    ("spec", "augment", "mirrored"),
    [("digits", True, False), ("digits", False, None), ("cifar10:.", True, True), (".", True, True)],
)
def test_only_photographs_are_mirrored(spec: str, augment: bool, mirrored: Any) -> None:
    found = plan(limit=32)
    recipe = msgspec.structs.replace(found.recipe, data_spec=spec, augment=augment)
    loop = Loop.of(replace(found, recipe=recipe), Objective("classification"), Accelerator(), Progress())
    maps = loop._maps((0, 0))
    assert (None if maps is None else bool((maps[:, :, :2].det() < 0).any())) == mirrored
    assert len(MIRRORED) == 3
