import msgspec
import pytest
import torch

from tests.toolkit.digits_model import EVERY_BRANCH, digits_model
from toolkit.export.cut import cut
from toolkit.models.config import ARCHITECTURES

pytestmark = pytest.mark.slow


def sources(model):
    return {u.name: u.source for u in cut(model)[0]}


def test_a_model_is_cut_after_every_layer_that_has_an_exit():
    units, exits = cut(digits_model("1:mlp,1:vit"))
    assert [u.name for u in units] == ["segment-1", "branch-1-mlp", "branch-1-vit", "segment-2", "head"]
    assert [(u.kind, u.layer) for u in units] == [
        ("segment", 1),
        ("branch", 1),
        ("branch", 1),
        ("segment", 3),
        ("branch", 3),
    ]
    assert [e.name for e in exits] == ["1:mlp", "1:vit", "3:head"]
    assert exits[0].units == ("segment-1", "branch-1-mlp") and exits[2].units == ("segment-1", "segment-2", "head")


def test_every_branch_becomes_a_unit():
    units, exits = cut(digits_model(EVERY_BRANCH))
    assert {e.architecture for e in exits} == {*ARCHITECTURES, "head"}
    assert len(units) == 3 + 8 and len({u.name for u in units}) == 11 and len({u.source for u in units}) == 11
    assert [e.layer for e in exits] == sorted(e.layer for e in exits)


def test_units_fit_each_other():
    units, _ = cut(digits_model())
    tokens = (1, 17, 32)
    assert units[0].input.shape == (1, 1, 8, 8)
    assert all(u.output.shape == (tokens if u.kind == "segment" else (1, 10)) for u in units)
    assert all(u.input.shape == tokens for u in units[1:])
    for unit in units:
        with torch.no_grad():
            assert tuple(unit.module(unit.example).shape) == unit.output.shape


def test_an_exit_after_the_last_layer_shares_its_segment_with_the_head():
    units, exits = cut(digits_model("3:mlp"))
    assert [u.name for u in units] == ["segment-1", "branch-3-mlp", "head"]
    assert [e.units for e in exits] == [("segment-1", "branch-3-mlp"), ("segment-1", "head")]


def test_a_source_is_the_same_for_the_same_model_only():
    model = digits_model()
    before = sources(model)
    assert sources(model) == before == sources(digits_model())
    assert all(len(s) == 64 for s in before.values())
    assert all(a != b for a, b in zip(before.values(), sources(digits_model(seed=1)).values(), strict=True))


def test_a_changed_weight_changes_its_own_unit_only():
    model = digits_model()
    before = sources(model)
    with torch.no_grad():
        next(model.branch(1).parameters()).add_(1e-3)
    assert {n for n, s in sources(model).items() if s != before[n]} == {"branch-2-cnn-add"}
    with torch.no_grad():
        next(model.backbone.layers[1].parameters()).add_(1e-3)
    changed = {n for n, s in sources(model).items() if s != before[n]}
    assert changed == {"branch-2-cnn-add", "segment-2"}
    with torch.no_grad():
        model.backbone.stem.state_dict()["positions"].add_(1e-3)
    assert {n for n, s in sources(model).items() if s != before[n]} == {*changed, "segment-1"}


def test_a_setting_that_no_weight_shows_changes_the_source():
    """Layer norms of another epsilon have the same weights and compute something else."""
    model = digits_model()
    before = sources(model)
    backbone = msgspec.structs.replace(
        model.config.backbone, transformers={**model.config.backbone.transformers, "layer_norm_eps": 0.1}
    )
    model.config = msgspec.structs.replace(model.config, backbone=backbone)
    changed = {n for n, s in sources(model).items() if s != before[n]}
    assert changed == {"segment-1", "segment-2", "segment-3", "head"}


def test_an_added_exit_leaves_the_others_as_they_are():
    plain, more = sources(digits_model("1:mlp,2:cnn-add")), digits_model("1:mlp,1:vit,2:cnn-add")
    other = digits_model("1:mlp,2:cnn-add")
    more.backbone.load_state_dict(other.backbone.state_dict())
    for mine, theirs in ((0, 0), (2, 1)):
        more.branch(mine).load_state_dict(other.branch(theirs).state_dict())
    found = sources(more)
    assert found.pop("branch-1-vit") not in plain.values()
    assert found == plain
