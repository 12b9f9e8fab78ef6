"""What tests of a build share."""

from toolkit.build import BuildSettings


def settings(checkpoint, out, **changes):
    return BuildSettings(**{"checkpoint": checkpoint, "out": out, "data": "digits", **changes})


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kept(place, before):
    """The bundle is as it was and has no neighbours."""
    assert tree(place) == before
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]


def both(names):
    """The files of units in both precisions."""
    return {f"{name}{middle}.onnx" for name in names for middle in ("", ".fp16")}
