"""Small real bundles, profiles of them, and engines on a virtual clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jetson.bundle import MANIFEST, Bundle
from jetson.engines import onnxruntime as ort_engines
from jetson.errors import EngineError, PathError
from jetson.manifest import Exit, Manifest, Parity, Preprocessing, Provenance, Quality, Tensor, Unit
from jetson.profiling.device import this_device
from jetson.profiling.profile import Conditions, EngineInfo, ExitLatency, LatencyProfile, Sketch, UnitLatency
from jetson.samples import Samples
from jetson.scheduling.paths import Paths

EXITS = ((2, "mlp"), (2, "cnn-add"), (4, "vit"), (6, "head"))
TOKENS = 8


def tiny_bundle(
    folder: Path,
    *,
    task: str = "classification",
    exits: Sequence[tuple[int, str]] = EXITS,
    quality: Sequence[float] | None = None,
    outputs: int = 3,
    size: tuple[int, int] = (8, 8),
    channels: int = 1,
    width: int = 16,
    temperature: float = 1.5,
    seed: int = 0,
    samples: Mapping[str, Samples] | None = None,
) -> Bundle:
    """Write a real bundle of a few kilobytes and open it.

    Args:
        folder: where to write it.
        task: `classification` or `regression`.
        exits: layer and branch of each exit, in order; the backbone is cut after every layer named.
        quality: of each exit; accuracies, or errors in regression.
        outputs: classes or values.
        size: height and width of the model's input.
        channels: of the model's input.
        width: of a token.
        temperature: of every exit, in classification.
        seed: of the weights.
        samples: by role, what the exits are said to answer.
    """
    from toolkit.bundle_folder import write_samples

    rng = np.random.default_rng(seed)
    classify = task == "classification"
    if quality is None:
        steps = np.linspace(0.5, 0.9, len(exits))
        quality = (steps if classify else 3.0 - 2.0 * steps).tolist()
    pixels = Tensor(name="pixels", shape=(1, channels, *size))
    tokens = Tensor(name="tokens_in", shape=(1, TOKENS, width))
    after = Tensor(name="tokens_out", shape=(1, TOKENS, width))
    answer = Tensor(name="output", shape=(1, outputs))
    units: list[Unit] = []
    found: list[Exit] = []
    path: tuple[str, ...] = ()
    for number, layer in enumerate(sorted({layer for layer, _ in exits}), start=1):
        name = f"segment-{number}"
        source = pixels if number == 1 else tokens
        units.append(_write(folder, name, "segment", layer, source, after, segment_graph(rng, name, source, after)))
        path += (name,)
        for place, (at, architecture) in enumerate(exits):
            if at != layer:
                continue
            name = "head" if architecture == "head" else f"branch-{layer}-{architecture}"
            graph = branch_graph(rng, name, architecture, tokens, answer)
            units.append(_write(folder, name, "branch", layer, tokens, answer, graph))
            found.append(
                Exit(
                    name=f"{layer}:{architecture}",
                    layer=layer,
                    architecture=architecture,
                    units=(*path, name),
                    quality=tuple(make_quality(task, quality[place], s) for s in ("calibration", "test")),
                    temperature=temperature if classify else None,
                    max_difference=1e-6,
                )
            )
    manifest = Manifest(
        task=task,  # type: ignore[arg-type]
        classes=tuple(f"class {i}" for i in range(outputs)) if classify else None,
        outputs=outputs,
        preprocessing=Preprocessing(
            height=size[0], width=size[1], channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels
        ),
        units=tuple(units),
        exits=tuple(found),
        parity=Parity(frames=10, tolerance=1e-4, split="calibration"),
        samples=write_samples(folder, samples or {}),
        build="ab" * 32,
        provenance=Provenance(
            created="2025-03-04T05:06:07+00:00",
            command="offramp build checkpoint --out bundle",
            versions={"offramp": "0.1.0"},
            checkpoint="cd" * 32,
        ),
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle.open(folder)


def make_quality(task: str, value: float, split: str) -> Quality:
    metric = "accuracy" if task == "classification" else "mean_absolute_error"
    low, high = value - 0.05, value + 0.05
    return Quality(metric=metric, value=value, low=low, high=high, level=0.95, n=100, split=split)  # type: ignore[arg-type]


def segment_graph(rng: np.random.Generator, name: str, source: Tensor, target: Tensor) -> onnx.ModelProto:
    """Tokens (or pixels cut into rows of tokens) through a matrix and a tanh."""
    rows = int(np.prod(source.shape)) // TOKENS
    weights = rng.normal(0, 1.5 / np.sqrt(rows), (rows, target.shape[-1])).astype(np.float32)
    shape = np.array([1, TOKENS, rows], np.int64)
    nodes = [
        helper.make_node("Reshape", [source.name, "shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["sums"]),
        helper.make_node("Tanh", ["sums"], [target.name]),
    ]
    return make_model(name, nodes, source, target, {"shape": shape, "weights": weights})


def branch_graph(
    rng: np.random.Generator, name: str, architecture: str, source: Tensor, target: Tensor
) -> onnx.ModelProto:
    """The mean over the tokens through a linear layer; some branches put a matrix and a tanh before it."""
    width, outputs = source.shape[-1], target.shape[-1]
    weights = {
        "axes": np.array([1], np.int64),
        "matrix": rng.normal(0, 2.0, (width, outputs)).astype(np.float32),
        "bias": rng.normal(0, 0.1, outputs).astype(np.float32),
    }
    nodes, inner = [], source.name
    if architecture not in ("mlp", "head"):
        weights["mix"] = rng.normal(0, 1.0, (width, width)).astype(np.float32)
        nodes = [helper.make_node("MatMul", [inner, "mix"], ["mixed"]), helper.make_node("Tanh", ["mixed"], ["bent"])]
        inner = "bent"
    nodes += [
        helper.make_node("ReduceMean", [inner, "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "matrix", "bias"], [target.name]),
    ]
    return make_model(name, nodes, source, target, weights)


def make_model(
    name: str, nodes: Sequence[onnx.NodeProto], source: Tensor, target: Tensor, weights: Mapping[str, np.ndarray]
) -> onnx.ModelProto:
    """An ONNX model of one input and one output, opset 20."""
    ends = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in (source, target)]
    constants = [numpy_helper.from_array(value, key) for key, value in weights.items()]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _write(
    folder: Path, name: str, kind: Any, layer: int, source: Tensor, target: Tensor, model: onnx.ModelProto
) -> Unit:
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    file = folder / "units" / f"{name}.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Unit(
        name=name,
        kind=kind,
        layer=layer,
        file=f"units/{file.name}",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        input=source,
        output=target,
        parameters=sum(int(np.prod(t.dims)) for t in model.graph.initializer),
        flops=1000,
    )


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Let `change` alter the manifest's JSON."""
    file = folder / MANIFEST
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def replace_unit(bundle: Bundle, name: str, content: bytes) -> Bundle:
    """Another file for a unit, with its right size and hash in the manifest."""
    bundle.file(bundle.manifest.unit(name)).write_bytes(content)

    def change(data: dict[str, Any]) -> None:
        unit = next(u for u in data["units"] if u["name"] == name)
        unit["size_bytes"], unit["sha256"] = len(content), hashlib.sha256(content).hexdigest()

    edit_manifest(bundle.path, change)
    return Bundle.open(bundle.path)


def with_half(bundle: Bundle) -> Bundle:
    """The bundle with a half-precision variant of every unit."""
    from toolkit.export.half import to_half

    files = {}
    for unit in bundle.manifest.units:
        content = to_half(bundle.file(unit).read_bytes(), unit.name)
        file = f"units/{unit.name}.fp16.onnx"
        (bundle.path / file).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files[unit.name] = {"precision": "fp16", "file": file, "sha256": digest, "size_bytes": len(content)}
    edit_manifest(bundle.path, lambda data: [u.update(variants=[files[u["name"]]]) for u in data["units"]])
    return Bundle.open(bundle.path)


def fake_profile(
    bundle: Bundle,
    *,
    segment_ms: float = 1.0,
    branch_ms: float = 0.25,
    medians: Mapping[str, float] | None = None,
    spread: float = 0.0,
    preprocess_ms: float = 0.01,
    threads: int | None = None,
) -> LatencyProfile:
    """A profile that this device and engine accept.

    Args:
        bundle: that it speaks of.
        segment_ms: every segment's median.
        branch_ms: every branch's median.
        medians: of units by name, before the two above.
        spread: standard deviation of the logarithm of every unit's time.
        preprocess_ms: the same for every frame.
        threads: of the engine; what this process runs with when None.
    """
    import onnxruntime

    rng = np.random.default_rng(0)
    defaults = {u.name: segment_ms if u.kind == "segment" else branch_ms for u in bundle.manifest.units}
    defaults |= medians or {}
    samples = {n: ms * np.exp(rng.normal(0, spread, 2000)) for n, ms in defaults.items()}
    sketches = {n: Sketch.of(s) for n, s in samples.items()}
    exits = {e.name: preprocess_ms + sum(samples[u] for u in e.units) for e in bundle.manifest.exits}
    return LatencyProfile(
        bundle=bundle.manifest.identity,
        device=this_device(),
        engine=EngineInfo(
            name="onnxruntime",
            version=onnxruntime.__version__,
            threads=threads or ort_engines._process_threads or ort_engines.available_cores(),
        ),
        created="2025-03-04T05:06:07+00:00",
        frames=2000,
        frame=(bundle.manifest.preprocessing.height, bundle.manifest.preprocessing.width),
        preprocess_ms=Sketch.of([preprocess_ms]),
        units={n: UnitLatency(host_ms=s, end_to_end_ms=s) for n, s in sketches.items()},
        exits=tuple(ExitLatency(name=n, end_to_end_ms=Sketch.of(t)) for n, t in exits.items()),
        start=Conditions(),
        end=Conditions(),
    )


class VirtualClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, ms: float) -> None:
        self.now += ms / 1e3


class FakeEngines:
    """Engines whose units take the time they are told to, on a virtual clock."""

    def __init__(self, bundle: Bundle, clock: VirtualClock, profile: LatencyProfile) -> None:
        manifest = bundle.manifest
        self.info = profile.engine
        self.input = np.zeros(manifest.units[0].input.shape, np.float32)
        self.precisions = tuple(u.precision for u in manifest.units)
        self.ahead = False
        self.memory = None
        self.paths = Paths.of(manifest)
        self.names = [u.name for u in manifest.units]
        self.ms = {n: profile.units[n].end_to_end_ms.median for n in self.names}
        self.clock = clock
        self.slow = 1.0
        self.ran: list[str] = []
        self.fails: set[str] = set()
        self.after: Callable[[str], Any] = lambda _name: None
        self.outputs = [np.zeros(u.output.shape, np.float32) for u in manifest.units]
        for exit_, unit in enumerate(self.paths.branches):
            self.outputs[unit][0, exit_ % manifest.outputs] = 2.0 + exit_

    def run(self, unit: int) -> None:
        name = self.names[unit]
        self.ran.append(name)
        if name in self.fails:
            raise EngineError(f"unit {name} failed: out of order")
        self.clock.advance(self.ms[name] * self.slow)
        self.after(name)

    def run_path(self, units: Sequence[int]) -> None:
        for finished, unit in enumerate(units):
            try:
                self.run(unit)
            except EngineError as error:
                raise PathError(str(error), finished) from error

    def gpu_ms(self, unit: int) -> float | None:
        return None

    def output(self, unit: int) -> np.ndarray:
        return self.outputs[unit]

    def close(self) -> None:
        self.ran.append("close")
