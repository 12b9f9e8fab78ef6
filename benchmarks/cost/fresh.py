"""A fresh process from its first line to its first answer; `benchmarks.cost.cold` runs it.

It is told on its command line what to be, imports nothing early, and prints seconds and bytes as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

PHASES = ("imported", "loaded", "answered")


def memory() -> dict[str, int]:
    """Bytes of this process: resident, of these its own and those of files, and the most that were ever resident.

    Empty where the system does not tell.
    """
    found: dict[str, int] = {}
    for file, wanted in (
        ("/proc/self/smaps_rollup", {"Rss": "resident", "Pss_Anon": "own", "Pss_File": "of_files"}),
        ("/proc/self/status", {"VmHWM": "peak"}),
    ):
        try:
            lines = [line.split() for line in Path(file).read_text(encoding="ascii").splitlines()]
        except OSError:
            return {}
        found |= {wanted[w[0][:-1]]: int(w[1]) * 1024 for w in lines if w[0][:-1] in wanted}
    return found


def profile_of(work: Path, threads: int) -> Path:
    """The profile of a folder's model."""
    return work / f"profile-{threads}.json"


class Marks:
    """When each phase ended, in seconds from the beginning, and the memory then."""

    def __init__(self) -> None:
        self.began = perf_counter()
        self.seconds: dict[str, float] = {}
        self.bytes: dict[str, dict[str, int]] = {}

    def __call__(self, phase: str) -> None:
        self.seconds[phase] = perf_counter() - self.began
        self.bytes[phase] = memory()


def jetson(mark: Marks, bundle: str, profile: str, threads: str, warm_up: str = "") -> None:
    """Our runtime, with its planner."""
    import numpy as np

    from jetson import Runtime

    mark("imported")
    options = {"warm_up": int(warm_up)} if warm_up else {}
    runtime = Runtime.load(bundle, profile, threads=int(threads), **options)
    mark("loaded")
    shape = runtime.preprocessor.config
    runtime.infer(np.zeros((shape.height, shape.width, shape.channels), np.uint8))
    mark("answered")


def steps(mark: Marks, bundle: str, profile: str, threads: str) -> None:
    """What our runtime does, one after another."""
    import jetson

    mark("import jetson")
    opened = jetson.Bundle.open(bundle, verify=False)
    mark("read the manifest")
    from jetson.files import sha256_files

    sha256_files([opened.path / v.file for u in opened.manifest.filed for v in u.files])
    mark("hash every file")
    import onnxruntime  # noqa: F401

    mark("import onnxruntime")
    from jetson.engines import load_engines

    engines = load_engines(opened, threads=int(threads))
    mark("load the units")
    loaded = jetson.LatencyProfile.load(profile)
    from jetson.scheduling.planner import Planner

    Planner.of(opened, loaded)
    mark("solve the planner's tables")
    for unit in range(len(opened.manifest.units)):
        engines.run(unit)
    mark("run every unit once")


def onnxruntime(mark: Marks, threads: str, *files: str) -> None:
    """ONNX Runtime as its documentation loads it: a session per file; those called segment or head answer in turn."""
    import numpy as np
    import onnxruntime as ort

    mark("imported")
    ort.set_default_logger_severity(3)
    path: list[Any] = []
    sessions: list[Any] = []
    for file in files:
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(threads)
        sessions.append(ort.InferenceSession(file, options, providers=["CPUExecutionProvider"]))
        if "branch" not in file.rpartition("/")[2]:
            path.append(sessions[-1])
    mark("loaded")
    first = path[0].get_inputs()[0]
    tokens = np.zeros([d if isinstance(d, int) else 1 for d in first.shape], np.float32)
    for session in path:
        (tokens,) = session.run(None, {session.get_inputs()[0].name: tokens})
    mark("answered")


def torch(mark: Marks, threads: str, file: str) -> None:
    """Eager PyTorch: the pickled model, unpickled, then one frame through all of it."""
    import torch as library

    library.set_num_threads(int(threads))
    import toolkit.models.multi_exit  # noqa: F401 - brings transformers, which the model is made of

    mark("imported")
    model = library.load(file, weights_only=False)
    mark("loaded")
    with library.inference_mode():
        model(library.zeros(1, model.backbone.channels, *model.backbone.image_size))
    mark("answered")


KINDS = {function.__name__: function for function in (jetson, steps, onnxruntime, torch)}


def main(words: Iterable[str]) -> None:
    kind, *arguments = words
    mark = Marks()
    KINDS[kind](mark, *arguments)
    print(json.dumps({"seconds": mark.seconds, "bytes": mark.bytes}))


if __name__ == "__main__":
    main(sys.argv[1:])
