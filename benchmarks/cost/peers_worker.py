"""One contestant in a process of its own: `benchmarks.cost.peers` tells it what to run and gets the times.

It reads lines of JSON, an exit and how often, and answers each with milliseconds and the last output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.cost.fresh import Marks, profile_of

Infer = Callable[[int], Any]
"""From an exit to the output it gives, after every branch before it has answered and was not sure enough."""


def frame(shape: tuple[int, ...]) -> Any:
    """The pixels that every contestant is given."""
    import numpy as np

    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def sure(logits: Any, wanted: bool) -> bool:
    """The decision at an exit: how sure it is, against a threshold that only the wanted exit passes."""
    import numpy as np

    shares = np.exp(logits - logits.max())
    return bool((shares / shares.sum()).max() >= (0.0 if wanted else 1.1))


def offramp(work: Path, threads: int, straight: bool) -> Infer:
    """`Runtime.infer` with a policy that knows where to stop."""
    import numpy as np

    from jetson import Runtime
    from jetson.scheduling.policy import STOP, EveryExit, StaticExit

    runtime = Runtime.load(work / "cut", profile_of(work, threads), threads=threads)
    paths = runtime.paths

    class Until(EveryExit):
        """Every branch up to one."""

        def __init__(self, last: int) -> None:
            super().__init__(paths)
            self.last = last

        def decide(self, state: Any) -> int:
            """The next branch, or the end."""
            return STOP if state.answered == self.last else super().decide(state)

    exits = range(len(paths.branches))
    policies = [StaticExit(paths, e) if straight else Until(e) for e in exits]
    pixels = frame(runtime.engines.input.shape)[0]

    def infer(exit_: int) -> Any:
        runtime.policy = policies[exit_]
        return np.asarray(runtime.infer(pixels).output)

    return infer


def chain(work: Path, threads: int) -> Infer:
    """The units in ONNX Runtime, one after another, and the least there is to decide."""
    import numpy as np

    from jetson.bundle import Bundle
    from jetson.engines import load_engines
    from jetson.scheduling.paths import Paths

    bundle = Bundle.open(work / "cut")
    engines = load_engines(bundle, threads=threads)
    paths = Paths.of(bundle.manifest)
    pixels = frame(engines.input.shape)

    def infer(exit_: int) -> Any:
        np.copyto(engines.input, pixels)
        for number, segment in enumerate(paths.segments):
            engines.run(segment)
            engines.run(paths.branches[number])
            found = engines.output(paths.branches[number])[0].copy()
            if sure(found, number == exit_):
                return found
        raise AssertionError("the wanted exit is always sure")

    return infer


def graph(file: Path, threads: int, every: bool) -> Infer:
    """One ONNX Runtime session; with `every` its outputs are the exits, else there is one."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0]
    pixels = frame(tuple(d if isinstance(d, int) else 1 for d in first.shape))

    def infer(exit_: int) -> Any:
        return session.run(None, {first.name: pixels})[exit_ if every else 0][0]

    return infer


def pytorch(work: Path, threads: int, kind: str) -> Infer:
    """The PyTorch model: with hooks, compiled stage by stage, or in earlyon."""
    import torch

    from benchmarks.cost import peers_torch

    torch.set_num_threads(threads)
    model = torch.load(work / "model.pt", weights_only=False).eval()
    pixels = torch.from_numpy(frame((1, model.backbone.channels, *model.backbone.image_size)))
    return peers_torch.KINDS[kind](model, pixels)


def make(name: str, work: Path, threads: int) -> Infer:
    """A contestant by name, loaded."""
    if name in ("offramp", "straight"):
        return offramp(work, threads, name == "straight")
    if name == "chain":
        return chain(work, threads)
    if name == "every":
        return graph(work / "every.onnx", threads, every=True)
    if name == "whole":
        return graph(next((work / "whole" / "units").glob("*.onnx")), threads, every=False)
    return pytorch(work, threads, name)


def main() -> None:
    name, work, threads, exits = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    out = sys.stdout
    sys.stdout = sys.stderr  # what the libraries print is no answer
    mark = Marks()
    infer = make(name, work, threads)
    mark("loaded")
    infer(exits[-1])
    mark("answered")
    for exit_ in exits:
        infer(exit_)
    mark("warm")
    print(json.dumps({"seconds": mark.seconds, "bytes": mark.bytes}), file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        took, output = [], None
        for _ in range(asked["runs"]):
            began = perf_counter()
            output = infer(asked["exit"])
            took.append((perf_counter() - began) * 1e3)
        answer = [] if output is None else [float(v) for v in output]
        print(json.dumps({"ms": took, "output": answer}), file=out, flush=True)


if __name__ == "__main__":
    main()
