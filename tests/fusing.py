"""Bundles with branches in the graphs of their segments."""

from __future__ import annotations

import hashlib
from typing import Any

import onnx
from onnx import compose, helper

from jetson.bundle import Bundle
from jetson.manifest import Unit
from tests.bundles import edit_manifest


def fuse(bundle: Bundle, *exits: str) -> Bundle:
    """Put the branches of these exits into their segments, on disk; the units must be in one precision."""
    manifest = bundle.manifest
    paths = {e.name: e.units for e in manifest.exits}
    changed: dict[str, dict[str, Any]] = {}
    for name in exits:
        *_, segment, branch = (manifest.unit(u) for u in paths[name])
        content = join(bundle, segment, branch).SerializeToString()
        bundle.file(segment).write_bytes(content)
        bundle.file(branch).unlink()
        changed[branch.name] = {"fused": segment.name}
        stored = {"file": segment.file, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for unit in (segment.name, *(b for b, c in changed.items() if c.get("fused") == segment.name)):
            changed[unit] = changed.get(unit, {}) | stored

    def change(data: dict[str, Any]) -> None:
        for unit in data["units"]:
            unit.update(changed.get(unit["name"], {}))
            if "fused" in changed.get(unit["name"], {}):
                unit["output"]["name"] = f"{unit['name']}-output"

    edit_manifest(bundle.path, change)
    return Bundle.open(bundle.path)


def join(bundle: Bundle, segment: Unit, branch: Unit) -> onnx.ModelProto:
    """The segment's graph with the branch behind it, and both outputs."""
    whole = onnx.load(str(bundle.file(segment)))
    part = compose.add_prefix(onnx.load(str(bundle.file(branch))), f"{branch.name}/")
    rename = {
        f"{branch.name}/{branch.input.name}": segment.output.name,
        f"{branch.name}/{branch.output.name}": f"{branch.name}-output",
    }
    for node in part.graph.node:
        node.input[:] = [rename.get(n, n) for n in node.input]
        node.output[:] = [rename.get(n, n) for n in node.output]
    whole.graph.node.extend(part.graph.node)
    whole.graph.initializer.extend(part.graph.initializer)
    answer = helper.make_tensor_value_info(f"{branch.name}-output", onnx.TensorProto.FLOAT, branch.output.shape)
    whole.graph.output.append(answer)
    onnx.checker.check_model(whole)
    return whole
