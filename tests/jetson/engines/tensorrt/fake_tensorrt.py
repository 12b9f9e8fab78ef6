"""A `tensorrt` without TensorRT: an engine's bytes name an ONNX file, and running it runs ONNX Runtime.

Real numbers flow through the memory that the contexts were bound to, on `FakeCuda`'s stream. A context that runs
scribbles over the whole of its scratch memory, as an engine may.
"""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from jetson.errors import CudaError
from tests.jetson.engines.tensorrt.fake_cuda import STREAM, UNIT_MS, FakeCuda

MAGIC = b"plan:"


class DataType(enum.Enum):
    FLOAT = "float"
    HALF = "half"
    UINT8 = "uint8"
    INT8 = "int8"


class TensorIOMode(enum.Enum):
    NONE = "none"
    INPUT = "input"
    OUTPUT = "output"


class TensorFormat(enum.Enum):
    LINEAR = "linear"
    CHW32 = "chw32"


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = "static"
    ON_PROFILE_CHANGE = "on profile change"
    USER_MANAGED = "user managed"


class Specialization(enum.Enum):
    LAZY = "lazy"
    EAGER = "eager"
    NONE = "none"


class Settings:
    """`IRuntimeConfig`, as TensorRT for RTX has it."""

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        self.strategy = strategy


class Severity(enum.Enum):
    INTERNAL_ERROR = "internal error"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    VERBOSE = "verbose"


class ILogger:
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING
    INFO, VERBOSE = Severity.INFO, Severity.VERBOSE

    def __init__(self) -> None:
        pass


def plan(file: Path, scratch: int = 4096, **changes: Any) -> bytes:
    """An engine's bytes.

    Args:
        file: ONNX file that the engine computes.
        scratch: bytes that it asks for.
        changes: what the engine says of itself other than the file does: `dtype`, `format`, `profile` (the smallest
            and the largest batch, which makes its first dimension -1), `outputs` (names).
    """
    return MAGIC + json.dumps({"file": str(file), "scratch": scratch, **changes}).encode() + b"}"


class FakeTensorRT:
    """The module. Units to fail are named by their file's stem."""

    __version__ = "10.3.0"
    DataType, TensorIOMode, TensorFormat, ILogger = DataType, TensorIOMode, TensorFormat, ILogger
    ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy

    def __init__(self, cuda: FakeCuda, rtx: bool = False) -> None:
        self.cuda, self.rtx = cuda, rtx
        if rtx:
            self.DynamicShapesKernelSpecializationStrategy = Specialization
        self.not_capturable: set[str] = set()
        self.settings: dict[str, dict[str, Any]] = {}
        """What TensorRT for RTX was told about a context, by unit."""
        self.refuses: set[str] = set()
        """`execute_async_v3` returns False."""
        self.raises: set[str] = set()
        """`execute_async_v3` raises."""
        self.crashes: set[str] = set()
        """The kernels fail when they run, and the device is lost."""
        self.nan: set[str] = set()
        self.no_context: set[str] = set()
        self.no_address: set[tuple[str, str]] = set()
        """Of units and tensors."""
        self.no_start = False
        self.alive: list[str] = []
        self.executed: list[str] = []

    def Runtime(self, log: Any) -> FakeRuntime:
        self.cuda.check()
        if self.no_start:
            log.log(Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return FakeRuntime(self, log)


class Counted:
    """An object of TensorRT's that says when it goes."""

    def __init__(self, trt: FakeTensorRT, kind: str) -> None:
        self.trt, self.kind = trt, kind
        trt.alive.append(kind)

    def __del__(self) -> None:
        self.trt.alive.remove(self.kind)
        self.trt.cuda.journal.append(f"free {self.kind}")


class FakeRuntime(Counted):
    def __init__(self, trt: FakeTensorRT, log: Any) -> None:
        super().__init__(trt, "runtime")
        self.log = log

    def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
        self.trt.cuda.check()
        if not (content.startswith(MAGIC) and content.endswith(b"}}")):
            self.log.log(Severity.ERROR, "deserializeCudaEngine: Error Code 1: Serialization assertion failed")
            return None
        return FakeEngine(self.trt, self.log, json.loads(content[len(MAGIC) : -1]))


class FakeEngine(Counted):
    def __init__(self, trt: FakeTensorRT, log: Any, says: dict[str, Any]) -> None:
        super().__init__(trt, "engine")
        self.log, self.says = log, says
        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False  # a process that has a shared pool allows nothing else
        options.add_free_dimension_override_by_name("batch", 1)
        self.session = onnxruntime.InferenceSession(says["file"], options, providers=["CPUExecutionProvider"])
        self.stem = Path(says["file"]).stem
        self.tensors = {t.name: (TensorIOMode.INPUT, list(t.shape)) for t in self.session.get_inputs()}
        self.tensors |= {t.name: (TensorIOMode.OUTPUT, list(t.shape)) for t in self.session.get_outputs()}
        if "profile" in says:
            for _, shape in self.tensors.values():
                shape[0] = -1

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    @property
    def device_memory_size_v2(self) -> int:
        return self.says["scratch"]

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self.tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name][1])

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self.says.get("dtype", "float"))

    def get_tensor_format(self, name: str) -> TensorFormat:
        return TensorFormat(self.says.get("format", "linear"))

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert profile == 0 and self.get_tensor_mode(name) == TensorIOMode.INPUT
        least, most = self.says["profile"]
        rest = self.get_tensor_shape(name)[1:]
        return [(least, *rest), (most, *rest), (most, *rest)]

    def create_runtime_config(self) -> Settings:
        assert self.trt.rtx
        return Settings()

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy | Settings) -> FakeContext | None:
        self.trt.cuda.check()
        if isinstance(strategy, Settings):
            self.trt.settings[self.stem] = vars(strategy)
            strategy = strategy.strategy
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED
        if self.stem in self.trt.no_context:
            self.log.log(Severity.ERROR, "createExecutionContext: Error Code 2: OutOfMemory")
            return None
        return FakeContext(self.trt, self)


class FakeContext(Counted):
    def __init__(self, trt: FakeTensorRT, engine: FakeEngine) -> None:
        super().__init__(trt, "context")
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shapes = {n: engine.get_tensor_shape(n) for n in engine.tensors}
        self.scratch: tuple[int, int] | None = None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, most = self.engine.says.get("profile", (shape[0], shape[0]))
        known = self.engine.get_tensor_shape(name)
        if not least <= shape[0] <= most or any(k not in (-1, s) for k, s in zip(known, shape, strict=True)):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        assert self.trt.cuda.is_aligned(address)
        assert size >= self.engine.device_memory_size_v2, "the scratch block is too small"
        self.trt.cuda.view(address, size)
        self.scratch = (address, size)

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in self.engine.tensors or (self.engine.stem, name) in self.trt.no_address:
            self.engine.log.log(Severity.ERROR, f"setTensorAddress: {name} cannot be bound")
            return False
        assert self.trt.cuda.is_aligned(address)
        self.addresses[name] = address
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        assert self.trt.rtx and stream == STREAM
        return self.engine.stem not in self.trt.not_capturable

    def execute_async_v3(self, stream: int) -> bool:
        trt, stem, log = self.trt, self.engine.stem, self.engine.log
        assert stream == STREAM
        if trt.cuda.lost:
            log.log(Severity.ERROR, f"Cuda Runtime ({trt.cuda.lost})")
            return False
        trt.cuda.check()
        assert self.scratch is not None and set(self.addresses) == set(self.engine.tensors), "not all is bound"
        assert all(-1 not in self.shapes[t.name] for t in self.engine.session.get_inputs()), "no shape was set"
        if stem in trt.refuses:
            log.log(Severity.ERROR, f"enqueueV3: Error Code 7: Internal Error ({stem}: myelin graph failed)")
            return False
        if stem in trt.raises:
            raise RuntimeError(f"{stem}: std::exception in enqueueV3")
        trt.executed.append(stem)
        trt.cuda.put(self._compute)
        return True

    def _compute(self) -> None:
        """What the GPU does when it comes to it. Reads after it has scribbled, scribbles once more before it writes."""
        trt, cuda, stem = self.trt, self.trt.cuda, self.engine.stem
        if stem in trt.crashes:
            raise CudaError("CUDA_ERROR_ILLEGAL_ADDRESS")
        assert self.scratch is not None
        scratch = cuda.view(*self.scratch)
        scratch[...] = cuda.rng.integers(0, 256, scratch.size, np.uint8)
        (source,), targets = self.engine.session.get_inputs(), self.engine.session.get_outputs()
        shape = [1, *source.shape[1:]]
        given = cuda.view(self.addresses[source.name], int(np.prod(shape)) * 4).view(np.float32).reshape(shape)
        results = self.engine.session.run(None, {source.name: given})
        if stem in trt.nan:
            results = [np.full_like(result, np.nan) for result in results]
        scratch[...] = cuda.rng.integers(0, 256, scratch.size, np.uint8)
        for target, result in zip(targets, results, strict=True):
            cuda.view(self.addresses[target.name], result.nbytes)[...] = np.frombuffer(result.tobytes(), np.uint8)
        cuda.clock += UNIT_MS
