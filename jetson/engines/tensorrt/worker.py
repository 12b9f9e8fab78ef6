"""The process that builds one engine, or runs the parser: TensorRT may crash or be killed here, and only this ends.

The job comes as one line of JSON on stdin, answers go as lines of JSON to what was stdout; what TensorRT itself prints
goes to stderr. When stdin ends the parent has gone or has lost interest: the work is cancelled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from jetson.engines.tensorrt.api import Api, load_api
from jetson.engines.tensorrt.jobs import (
    Answer,
    BuildJob,
    Built,
    Failed,
    Job,
    Parsed,
    ParseJob,
    Parsing,
    Progress,
    Said,
    Source,
)
from jetson.engines.tensorrt.log import BadNode, bad_nodes, make_logger, make_monitor
from jetson.errors import EngineError, MissingExtra, StorageError, first_line
from jetson.files import storage

CANCEL_GRACE_S = 2.0
"""Between two steps TensorRT can be busy for long; then the process ends without asking it."""
OUT_OF_MEMORY_SCORE = "1000"
Tell = Callable[[Answer], None]


class Refused(Exception):
    """TensorRT does not take the unit."""

    def __init__(self, reason: str, nodes: tuple[BadNode, ...] = ()) -> None:
        super().__init__(reason)
        self.nodes = nodes


def main() -> int:
    """Do the one job on stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes our stdin
    answers, turn = _take_stdout(), threading.Lock()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write(OUT_OF_MEMORY_SCORE)
    cancelled = threading.Event()

    def tell(answer: Answer) -> None:
        try:
            with turn:
                answers.write(msgspec.json.encode(answer) + b"\n")
                answers.flush()
        except (OSError, ValueError):
            # Nobody reads any more; and nothing may be raised into TensorRT, which may be our caller.
            cancelled.set()

    job: Job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=_watch, args=(cancelled,), daemon=True).start()
    try:
        api = load_api(job.package)
        if isinstance(job, BuildJob):
            tell(build(api, job, tell, cancelled.is_set))
        else:
            parse_all(api, job, tell, cancelled.is_set)
    except Refused as error:
        tell(Failed(reason=str(error), nodes=error.nodes))
    except (StorageError, EngineError, MissingExtra) as error:
        tell(
            Failed(reason=str(error), storage=isinstance(error, StorageError), missing=isinstance(error, MissingExtra))
        )
    except MemoryError:
        tell(Failed(reason="the memory did not suffice"))
    return 0


def build(api: Api, job: BuildJob, tell: Tell, cancelled: Callable[[], bool]) -> Built:
    """Build an engine and write it.

    Raises:
        Refused: TensorRT does not take the unit.
        StorageError: the engine cannot be written; nothing but an empty file is left.
    """
    trt, started = api.trt, time.monotonic()
    logger = _logger(trt, tell)
    builder = _make(trt.Builder, logger)
    network, parser = parse(trt, builder, logger, job.source)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace_bytes)
    config.builder_optimization_level = job.optimization_level
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: it would multiply fp32 with fp16's ten bits
    config.progress_monitor = make_monitor(trt, lambda share, phase: tell(Progress(share, phase)), cancelled)
    _set_batch(builder, network, config, job)
    if api.rtx:
        _set_target(trt, config, job)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Refused("cancelled" if cancelled() else "TensorRT's builder gave no engine")
    del parser
    memory = _device_memory(trt, logger, plan) if job.target.kind == "device" else None
    digest, size = _write(job.engine, plan)
    return Built(sha256=digest, size_bytes=size, device_memory_bytes=memory, seconds=time.monotonic() - started)


def parse(trt: Any, builder: Any, logger: Any, source: Source) -> tuple[Any, Any]:
    """A unit's network, and the parser that must live as long as it.

    Raises:
        Refused: the parser cannot read nodes of it, or what goes in and out is not what the manifest says.
    """
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = _make(trt.OnnxParser, network, logger)
    if not parser.parse_from_file(source.file):
        raise Refused("TensorRT's parser cannot read it", bad_nodes(parser))
    inputs = [(network.get_input(i).name, tuple(network.get_input(i).shape)) for i in range(network.num_inputs)]
    outputs = [network.get_output(i).name for i in range(network.num_outputs)]
    free = (-1, *source.shape[1:])
    known = inputs in ([(source.input, source.shape)], [(source.input, free)])
    if not known or outputs != [source.output, *source.further]:
        raise Refused(
            f"it takes {inputs} and gives {outputs}, which is not what the manifest says; build the bundle again"
        )
    return network, parser


def parse_all(api: Api, job: ParseJob, tell: Tell, cancelled: Callable[[], bool]) -> None:
    """Run the parser over every file and tell what it found."""
    logger = _logger(api.trt, tell)
    builder = _make(api.trt.Builder, logger)
    for index, source in enumerate(job.sources):
        if cancelled():
            return
        tell(Parsing(index))
        try:
            parse(api.trt, builder, logger, source)
            tell(Parsed(index, (), ""))
        except Refused as error:
            tell(Parsed(index, error.nodes, str(error)))


def _set_batch(builder: Any, network: Any, config: Any, job: BuildJob) -> None:
    tensor, rest = network.get_input(0), job.source.shape[1:]
    if job.max_batch == 1:
        tensor.shape = (1, *rest)
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor.name, (1, *rest), (job.max_batch, *rest), (job.max_batch, *rest))
    if config.add_optimization_profile(profile) < 0:
        raise Refused(f"TensorRT does not take the profile of 1 to {job.max_batch} frames")


def _set_target(trt: Any, config: Any, job: BuildJob) -> None:
    known = trt.ComputeCapability.__members__
    wanted = "CURRENT" if job.target.kind == "device" else job.target.sm.upper()
    config.num_compute_capabilities = 1
    config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # a CUDA graph cannot record an engine that allocates
    if wanted not in known or not config.set_compute_capability(known[wanted], 0):
        raise Refused(f"TensorRT for RTX does not build for {job.target.sm}")


def _device_memory(trt: Any, logger: Any, plan: Any) -> int:
    """Scratch that an engine asks for; loading it also shows that what was built here runs here."""
    runtime = _make(trt.Runtime, logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise Refused("TensorRT built the engine and cannot load it")
    return int(engine.device_memory_size_v2)


def _write(file: bytes, plan: Any) -> tuple[str, int]:
    content = memoryview(plan)
    path = os.fsdecode(file)
    try:
        with storage(Path(path)), open(path, "wb") as stream:  # noqa: PTH123
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.truncate(path, 0)
        raise
    return hashlib.sha256(content).hexdigest(), content.nbytes


def _make(kind: Any, *arguments: Any) -> Any:
    """Call a constructor of TensorRT; what it gives for nothing is an exception of pybind11."""
    try:
        return kind(*arguments)
    except (RuntimeError, TypeError) as error:
        raise Refused(f"TensorRT does not start: {first_line(error)}") from error


def _logger(trt: Any, tell: Tell) -> Any:
    return make_logger(trt, lambda text, error: tell(Said(text.encode(errors="replace").decode(), error)))


def _watch(cancelled: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 1 << 10):
            pass
    cancelled.set()
    time.sleep(CANCEL_GRACE_S)
    os._exit(1)


def _take_stdout() -> BinaryIO:
    """What was stdout, for answers alone; whatever writes to stdout from now on writes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    sys.exit(main())
