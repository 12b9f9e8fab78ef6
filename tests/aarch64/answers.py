"""Bundles, frames and what every unit answers to them: made on the host, asked for again on the emulated machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from jetson.bundle import Bundle
from jetson.engines import load_engines
from jetson.manifest import Tensor
from jetson.preprocessing import Preprocessor
from tests.bundles import TOKENS, make_model, replace_unit, tiny_bundle

BUNDLES = ("tiny", "transformer")
FRAMES = "frames.npy"
FRAME_SIZE = (13, 11)
"""Not the model's size: resizing is part of what is compared."""


def write(folder: Path) -> None:
    """Fill a folder with the bundles, the frames and this machine's outputs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tiny_bundle(folder / "tiny")
    transformer_bundle(folder / "transformer")
    frames = np.random.default_rng(1).integers(0, 256, (5, *FRAME_SIZE), dtype=np.uint8)
    np.save(folder / FRAMES, frames)
    for name in BUNDLES:
        np.savez(folder / f"{name}.npz", **outputs(Bundle.open(folder / name), frames))


def outputs(bundle: Bundle, frames: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
    """What ONNX Runtime makes of the frames here: the prepared input and every unit's output, a frame a row."""
    engines = load_engines(bundle)
    prepare = Preprocessor(bundle.manifest.preprocessing)
    rows: dict[str, list[npt.NDArray[np.float32]]] = {}
    for frame in frames:
        prepare(frame, engines.input[0])
        rows.setdefault("input", []).append(engines.input.copy())
        # In the manifest's order a branch comes after its segment and before the next one.
        for number, unit in enumerate(bundle.manifest.units):
            engines.run(number)
            rows.setdefault(unit.name, []).append(np.array(engines.output(number)))
    engines.close()
    return {name: np.concatenate(values) for name, values in rows.items()}


def transformer_bundle(folder: Path) -> Bundle:
    """A tiny bundle whose first segment cuts patches with a convolution and whose second is a transformer layer."""
    bundle = tiny_bundle(folder, seed=2)
    first, second = (bundle.manifest.unit(f"segment-{number}") for number in (1, 2))
    for unit, graph in ((first, patches(first.input, first.output)), (second, layer(second.input, second.output))):
        onnx.checker.check_model(graph)
        bundle = replace_unit(bundle, unit.name, graph.SerializeToString())
    return bundle


def patches(pixels: Tensor, tokens: Tensor) -> onnx.ModelProto:
    """Patches of 2 x 4 pixels as tokens."""
    width = tokens.shape[-1]
    weights = {
        "kernel": np.random.default_rng(3).normal(0, 0.5, (width, 1, 2, 4)).astype(np.float32),
        "map": np.array([1, width, TOKENS], np.int64),
    }
    nodes = [
        helper.make_node("Conv", [pixels.name, "kernel"], ["grid"], strides=[2, 4]),
        helper.make_node("Reshape", ["grid", "map"], ["columns"]),
        helper.make_node("Transpose", ["columns"], [tokens.name], perm=[0, 2, 1]),
    ]
    return make_model("patches", nodes, pixels, tokens, weights)


def layer(source: Tensor, target: Tensor) -> onnx.ModelProto:
    """A transformer encoder layer of one head."""
    width = source.shape[-1]
    rng = np.random.default_rng(4)
    sizes = {"q": (width, width), "k": (width, width), "v": (width, width), "up": (width, 64), "down": (64, width)}
    weights = {name: rng.normal(0, size[0] ** -0.5, size).astype(np.float32) for name, size in sizes.items()}
    weights |= {"gain": np.ones(width, np.float32), "scale": np.array(width**-0.5, np.float32)}
    node = helper.make_node
    nodes = [
        node("LayerNormalization", [source.name, "gain"], ["norm"]),
        *(node("MatMul", ["norm", name], [f"{name}s"]) for name in "qkv"),
        node("Transpose", ["ks"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["qs", "turned"], ["products"]),
        node("Mul", ["products", "scale"], ["scaled"]),
        node("Softmax", ["scaled"], ["attention"]),
        node("MatMul", ["attention", "vs"], ["mixed"]),
        node("Add", [source.name, "mixed"], ["middle"]),
        node("LayerNormalization", ["middle", "gain"], ["normal"]),
        node("MatMul", ["normal", "up"], ["wide"]),
        node("Gelu", ["wide"], ["bent"]),
        node("MatMul", ["bent", "down"], ["narrow"]),
        node("Add", ["middle", "narrow"], [target.name]),
    ]
    return make_model("layer", nodes, source, target, weights)
