"""Every unit of a model with all seven branches in int8: its graph, its size, its error, and who takes it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest

from calibration.int8.graph import quantise, weighted_inputs
from calibration.int8.ranges import METHODS, range_of
from calibration.int8.statistics import collect, run
from jetson.bundle import Bundle
from tests.calibration.int8.graphs import constants_of

pytestmark = pytest.mark.slow
WIDTH = 128
FRAMES = 24
SMALL = 100_000
"""Bytes. In a head of a few kilobytes the graph itself weighs as much as the weights."""


class Made(NamedTuple):
    """A cut model with random weights, and for each unit what it reads and its histograms."""

    bundle: Bundle
    contents: dict[str, bytes]
    reads: dict[str, list[np.ndarray]]
    histograms: dict[str, dict]

    quantised: Callable[..., bytes]
    """A unit in int8, by name and method."""


@pytest.fixture(scope="module")
def made(tmp_path_factory, quick_exports) -> Made:
    torch = pytest.importorskip("torch")
    from benchmarks.models import cut_bundle
    from jetson.manifest import Preprocessing
    from tests.toolkit.models.small import shaken
    from toolkit.models.config import ARCHITECTURES, BackboneConfig, ModelConfig, parse_exits
    from toolkit.models.multi_exit import MultiExitModel

    settings = {
        "hidden_size": WIDTH,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "intermediate_size": 4 * WIDTH,
        "image_size": [32, 32],
        "patch_size": 8,
        "num_channels": 3,
    }
    torch.manual_seed(0)
    config = ModelConfig(
        task="classification",
        classes=tuple("0123456789"),
        outputs=10,
        preprocessing=Preprocessing(height=32, width=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig(family="vit", pooling="class", transformers=settings),
        exits=parse_exits(",".join(f"{1 + i % 3}:{name}" for i, name in enumerate(ARCHITECTURES)), 3),
    )
    bundle = cut_bundle(shaken(MultiExitModel(config)).eval(), tmp_path_factory.mktemp("bundle"))
    units = bundle.manifest.units
    contents = {u.name: bundle.file(u).read_bytes() for u in units}
    rng = np.random.default_rng(0)
    tokens = [rng.uniform(-1, 1, (FRAMES // 3, 3, 32, 32)).astype(np.float32) for _ in range(3)]
    reads = {}
    for segment in bundle.manifest.segments:
        reads[segment.name] = tokens
        tokens = run(contents[segment.name], tokens)
        reads |= {u.name: tokens for u in units if u.kind == "branch" and u.layer == segment.layer}
    histograms = {u.name: collect(contents[u.name], u.name, reads[u.name]) for u in units}

    @functools.cache
    def quantised(unit: str, method: str = "mse") -> bytes:
        ranges = {tensor: range_of(h, method) for tensor, h in histograms[unit].items()}
        return quantise(contents[unit], ranges, unit)

    return Made(bundle, contents, reads, histograms, quantised)


def test_all_seven_branches_are_there(made):
    assert len(made.contents) == 3 + 7 + 1


def test_exactly_the_weighted_inputs_are_rounded(made):
    seen = set()
    for name, content in made.contents.items():
        before, after = onnx.load_from_string(content), onnx.load_from_string(made.quantised(name))
        constants = constants_of(made.quantised(name))
        weights = {t.name for t in before.graph.initializer}
        expected = [n for n in before.graph.node if n.op_type in ("MatMul", "Gemm", "Conv") and n.input[1] in weights]
        rounding = ("QuantizeLinear", "DequantizeLinear")
        added = [n for n in after.graph.node if n.op_type in rounding]
        others = {n.name: n for n in after.graph.node if n.op_type not in rounding}
        producer = {n.output[0]: n for n in added}
        assert list(others) == [n.name for n in before.graph.node]
        for node in expected:
            x, w = (producer[i] for i in others[node.name].input[:2])
            assert producer[x.input[0]].input[0] == node.input[0]
            assert constants[w.input[0]].dtype == np.int8
            assert list(others[node.name].input[2:]) == list(node.input[2:])
            seen.add(node.op_type)
        untouched = [n for n in before.graph.node if n.name not in {e.name for e in expected}]
        assert [others[n.name] for n in untouched] == untouched
        tensors = {n.input[0] for n in expected}
        assert tensors == set(weighted_inputs(content))
        # One pair an activation, one node a weight.
        assert len(added) == 2 * len(tensors) + len({n.input[1] for n in expected})
        assert list(after.graph.input) == list(before.graph.input)
        assert list(after.graph.output) == list(before.graph.output)
        assert after.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert seen == {"MatMul", "Gemm", "Conv"}


def test_files_are_a_third_at_most(made):
    sizes = {name: (len(made.quantised(name)), len(content)) for name, content in made.contents.items()}
    assert [name for name, (small, large) in sizes.items() if large >= SMALL and small > 0.35 * large] == []
    assert sum(small for small, _ in sizes.values()) < 0.3 * sum(large for _, large in sizes.values())


@pytest.mark.parametrize("method", METHODS)
def test_outputs_are_close(made, method):
    errors = {name: relative_error(made, name, made.quantised(name, method)) for name in made.contents}
    # Measured: 0.0085 to 0.026, with entropy up to 0.034.
    assert max(errors.values()) < 0.05, errors


def relative_error(made, name, content):
    expected = np.concatenate(run(made.contents[name], made.reads[name]))
    found = np.concatenate(run(content, made.reads[name]))
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_with_the_rest_in_half_precision_units_are_as_close(made):
    from toolkit.export.half import to_half

    for name in made.contents:
        content = made.quantised(name)
        half = to_half(content, name)
        found = {n: v.dtype for n, v in constants_of(half).items()}
        assert np.dtype(np.float32) not in found.values() and found.keys() == constants_of(content).keys()
        assert relative_error(made, name, half) < 1.3 * relative_error(made, name, content) + 0.005


@pytest.fixture(scope="module")
def both(made, tmp_path_factory) -> Bundle:
    """The bundle with int8 alone and with the rest in half precision."""
    import msgspec

    from jetson.files import sha256_file
    from jetson.manifest import Variant
    from toolkit.export.half import to_half

    folder = tmp_path_factory.mktemp("both")
    units = []
    for unit in made.bundle.manifest.units:
        content, variants = made.quantised(unit.name), []
        for precision, text in (("int8", content), ("int8-fp16", to_half(content, unit.name))):
            file = folder / f"{unit.name}.{precision}.onnx"
            file.write_bytes(text)
            variants.append(
                Variant(precision=precision, file=file.name, sha256=sha256_file(file), size_bytes=file.stat().st_size)
            )
        units.append(msgspec.structs.replace(unit, variants=tuple(variants)))
    return Bundle(folder, msgspec.structs.replace(made.bundle.manifest, units=tuple(units)))


def test_tensorrts_parser_takes_every_unit(both):
    pytest.importorskip("tensorrt_rtx")
    from jetson.engines.tensorrt.preflight import preflight

    assert preflight(both, ("int8", "int8-fp16")) == []


def test_tensorrt_builds_them(both, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    from jetson.engines.tensorrt.api import load_api
    from jetson.engines.tensorrt.build import Options, build, plan
    from jetson.engines.tensorrt.cache import Cache
    from tests.jetson.engines.tensorrt.building import SM86, Witness

    few = ("segment-1", "branch-1-cnn-project", "branch-2-vit", "branch-3-mlp-mixer")
    wanted = [("int8", "int8-fp16") if u.name in few else () for u in both.manifest.units]
    tasks = plan(both, wanted, SM86, Options(), load_api("tensorrt_rtx"))
    outcomes = build(tasks, Cache(Path(tmp_path / "cache")), Witness())
    assert len(outcomes) == 2 * len(few) and [o.error for o in outcomes if o.entry is None] == []
