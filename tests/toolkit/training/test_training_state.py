"""The state of an unfinished run, and what counts as the same run."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from jetson.errors import BadInput, ModelError
from jetson.manifest import Split
from tests.toolkit.training.small import plan
from toolkit.training.compose import Plan
from toolkit.training.same import demand_same, difference
from toolkit.training.state import FILE, Position, drop_state, load_state, save_state, tidy


def position_of(found: Plan) -> Position:
    return Position(config=found.model.config, recipe=found.recipe, phase=1, epoch=2, seconds=3.5, history=())


def optimizer_of(found: Plan) -> torch.optim.Optimizer:
    groups = [{"params": list(found.model.backbone.parameters())}, {"params": list(found.model.branches.parameters())}]
    return torch.optim.AdamW(groups, lr=0.01, fused=True)


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    first, second = plan(), plan(seed=5)
    optimizers = [optimizer_of(found) for found in (first, second)]

    def step(found: Plan, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        sum(a.square().mean() for a in found.model.eval()(torch.ones(2, 1, 8, 8))).backward()
        optimizer.step()

    step(first, optimizers[0])
    save_state(tmp_path, position_of(first), first.model, optimizers[0])
    assert [p.name for p in (tmp_path / "state").iterdir()] == [FILE]
    state = load_state(tmp_path)
    assert state is not None and state.position == position_of(first)
    state.into_model(second.model)
    state.into_optimizer(optimizers[1])
    for found, optimizer in zip((first, second), optimizers, strict=True):
        step(found, optimizer)
    old, new = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_no_state_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    drop_state(tmp_path)
    tidy(tmp_path)


def test_half_written_files_go(tmp_path: Path) -> None:
    found = plan()
    save_state(tmp_path, position_of(found), found.model, None)
    (tmp_path / "state" / f".{FILE}.abc.part").write_bytes(b"half")
    tidy(tmp_path)
    assert [p.name for p in (tmp_path / "state").iterdir()] == [FILE]
    drop_state(tmp_path)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("keep", [0, 5, 500, -1])
def test_a_damaged_state_says_how_to_begin_anew(keep: int, tmp_path: Path) -> None:
    found = plan()
    save_state(tmp_path, position_of(found), found.model, None)
    file = tmp_path / "state" / FILE
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match="--restart"):
        load_state(tmp_path)


def test_a_safetensors_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "state").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "state" / FILE)
    with pytest.raises(ModelError, match="--restart"):
        load_state(tmp_path)


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"data": "mnist"}, "--data digits, not mnist"),
    ({"seed": 3}, "--seed 0, not 3"),
    ({"exits": "1:mlp"}, "--exits 1:mlp,1:cnn-add,2:vit, not 1:mlp"),
    ({"exits": "1:mlp:hidden=7,1:cnn-add,2:vit"}, "not 1:mlp:hidden=7,1:cnn-add,2:vit"),
    ({"depth": 3}, "another --depth (num_hidden_layers 2, not 3)"),
    ({"patch_size": 2}, "another --patch-size (patch_size 4, not 2)"),
    ({"image_size": (12, 8)}, "another --image-size (image_size 8, not [12, 8])"),
    ({"backbone": "small"}, "another --backbone (hidden_size 32, not 384)"),
    ({"epochs": 3}, "--epochs 2, not 3"),
    ({"batch_size": 10}, "--batch-size 8, not 10"),
    ({"learning_rate": 0.1}, "--lr 0.001, not 0.1"),
    ({"strategy": "layer-wise"}, "--strategy end-to-end, not layer-wise"),
    ({"distillation": 0.5}, "--distill 0.0, not 0.5"),
    ({"label_smoothing": 0.5}, "--label-smoothing 0.0, not 0.5"),
    ({"augment": False}, "--augment on, not off"),
    ({"limit": 20}, "--limit none, not 20"),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES, ids=[next(iter(c)) for c, _ in CHANGES])
def test_another_setting_is_named(changes: dict[str, Any], words: str) -> None:
    old, new = plan(), plan(**changes)
    found = difference((old.model.config, old.recipe), (new.model.config, new.recipe))
    assert found is not None and words in found


def test_other_images_behind_the_same_name_are_noticed() -> None:
    found = plan()
    splits = {**found.recipe.data.splits, "train": Split(n=40, sha256="f" * 64)}
    other = msgspec.structs.replace(found.recipe, data=msgspec.structs.replace(found.recipe.data, splits=splits))
    same = (found.model.config, found.recipe)
    assert difference(same, same) is None
    demand_same(Path("out"), same, same)
    with pytest.raises(BadInput, match="out holds a run with other images or targets behind the same --data; give --r"):
        demand_same(Path("out"), same, (found.model.config, other))
