"""What a phase computes, and what it leaves alone."""

import pytest
import torch
from torch import Tensor

from tests.toolkit.training.small import small_model
from toolkit.models.multi_exit import MultiExitModel
from toolkit.training.partial import PhaseModel
from toolkit.training.phases import Phase

PIXELS = (6, 1, 8, 8)


@pytest.fixture
def model() -> MultiExitModel:
    return small_model(exits="1:mlp,1:cnn-add,2:vit,3:mlp", depth=4)


def part_of(model: MultiExitModel, segments: tuple[int, ...], *exits: str, teacher: bool = False) -> PhaseModel:
    return PhaseModel(model, Phase("some", segments, dict.fromkeys(exits, 1.0), 1), teacher)


def snapshot(model: MultiExitModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: MultiExitModel) -> set[str]:
    """Which parts of the model are no longer what they were: `segment 0`, `branch 1`, `head`."""
    found = set()
    for name, value in model.state_dict().items():
        if not torch.equal(before[name], value):
            words = name.split(".")
            if words[0] == "branches":
                found.add(f"branch {words[1]}")
            elif words[1] == "layers":
                found.add(f"layer {int(words[2]) + 1}")
            else:
                found.add(words[1])
    return found


def step(part: PhaseModel) -> None:
    """One large step with every weight decaying, as an optimizer that was given too much would do it."""
    part.train()
    optimizer = torch.optim.SGD([p for p in part.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    sum(answer.square().mean() for answer in part(torch.randn(PIXELS)) if answer.requires_grad).backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("segments", "exits", "moved"),
    [
        ((0, 1, 2, 3), ("1:mlp", "2:vit", "4:head"), {"stem", *(f"layer {n}" for n in (1, 2, 3, 4)), "head"}),
        ((0, 1, 2, 3), ("4:head",), {"stem", "layer 1", "layer 2", "layer 3", "layer 4", "head"}),
        ((), ("1:cnn-add", "2:vit"), set()),
        ((0,), ("1:mlp", "1:cnn-add"), {"stem", "layer 1"}),
        ((1,), ("2:vit",), {"layer 2"}),
        ((3,), ("4:head",), {"layer 4", "head"}),
    ],
)
def test_only_what_the_phase_names_moves(
    segments: tuple[int, ...], exits: tuple[str, ...], moved: set[str], model: MultiExitModel
) -> None:
    before = snapshot(model)
    step(part_of(model, segments, *exits))
    branches = {f"branch {i}" for i, e in enumerate(model.config.exits) if e.name in exits}
    assert changed(before, model) == moved | branches


def test_batch_norm_and_dropout_of_frozen_parts_do_not_move(model: MultiExitModel) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    before = snapshot(model)
    part = part_of(model, (), "2:vit", teacher=True).train()
    first, second = (part(torch.ones(PIXELS)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), "frozen dropout is at work"
    assert changed(before, model) == set()
    part_of(model, (), "1:cnn-add").train()(torch.randn(PIXELS))
    assert changed(before, model) == {"branch 1"}, "its running statistics"


def test_nothing_beyond_the_deepest_exit_is_computed(model: MultiExitModel) -> None:
    assert len(part_of(model, (), "1:mlp", "2:vit").segments) == 2
    assert len(part_of(model, (0,), "1:mlp").segments) == 1
    assert len(part_of(model, (), "1:mlp", teacher=True).segments) == 4


def test_frozen_tokens_are_computed_once_for_all_branches_and_without_gradients(model: MultiExitModel) -> None:
    runs: list[bool] = []
    for segment in model.backbone.layers:
        segment.register_forward_hook(lambda _m, _i, tokens: runs.append(tokens.requires_grad))
    part = part_of(model, (), "1:mlp", "1:cnn-add", "2:vit").train()
    answers = part(torch.randn(PIXELS))
    assert runs == [False, False]
    assert all(answer.requires_grad for answer in answers)


def test_the_teacher_is_the_last_answer_and_does_not_learn(model: MultiExitModel) -> None:
    part = part_of(model, (), "1:mlp", teacher=True).train()
    assert (part.exits, part.trained) == (("1:mlp", "4:head"), (True, False))
    pixels = torch.randn(PIXELS)
    first, final = part(pixels)
    assert first.requires_grad and not final.requires_grad
    assert torch.equal(final, model.eval()(pixels)[-1])


def test_evaluation_has_no_gradients_and_answers_as_the_model_does(model: MultiExitModel) -> None:
    part = part_of(model, (0, 1, 2, 3), *(e.name for e in model.exits)).eval()
    pixels = torch.randn(PIXELS)
    with torch.no_grad():
        answers = part(pixels)
    assert not any(answer.requires_grad for answer in answers)
    assert all(torch.equal(a, b) for a, b in zip(answers, model.eval()(pixels), strict=True))
