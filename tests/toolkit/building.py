"""What tests of a build share."""

from tests.toolkit.digits_model import digits_model
from toolkit.build import BuildSettings
from toolkit.models.checkpoint import load_checkpoint, save_checkpoint


def settings(checkpoint, out, **changes):
    return BuildSettings(**{"checkpoint": checkpoint, "out": out, "data": "digits", **changes})


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kept(place, before):
    """The bundle is as it was and has no neighbours."""
    assert tree(place) == before
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]


def with_exits(built, exits, folder):
    """A checkpoint of the same model with some of its exits only: its units are those of the real build."""
    model, whole = digits_model(exits), load_checkpoint(built.checkpoint).model
    model.backbone.load_state_dict(whole.backbone.state_dict())
    ours = [e.architecture for e in whole.exits]
    for index, exit_ in enumerate(model.config.exits):
        model.branch(index).load_state_dict(whole.branch(ours.index(exit_.architecture)).state_dict())
    save_checkpoint(folder, model)
    return folder


def both(names):
    """The files of units in both precisions."""
    return {f"{name}{middle}.onnx" for name in names for middle in ("", ".fp16")}
