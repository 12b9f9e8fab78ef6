"""The driver's own library through ctypes: the few calls PyCUDA has no way to make, and CUDA's names for its errors."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_ulonglong, c_void_p
from functools import partial
from typing import Any

from jetson.cuda.layer import NO_DRIVER, Release, failure
from jetson.errors import CudaError

LIBRARY = "libcuda.so.1"
THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL of cuda.h."""
HIGHEST_ERROR = 999
"""CUDA_ERROR_UNKNOWN of cuda.h, the last."""
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuCtxSetCurrent": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
}
GRAPHS = tuple(name for name in SIGNATURES if "Graph" in name or "Capture" in name)


class LibCuda:
    """libcuda.so.1, which PyCUDA has loaded into this process already."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise CudaError(NO_DRIVER) from error
        self._functions: dict[str, Any] = {}
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name, None)
            if function is not None:
                function.argtypes = arguments
                function.restype = c_int
                self._functions[name] = function
        self.has_graphs = all(name in self._functions for name in GRAPHS)

    def set_current(self, context: int | None) -> None:
        """Make a context the calling thread's; None takes away the one it has."""
        self._call("cuCtxSetCurrent", context)

    def begin_capture(self, stream: int) -> None:
        """Record what comes into a stream from now on."""
        self._call("cuStreamBeginCapture_v2", stream, THREAD_LOCAL)

    def end_capture(self, stream: int) -> int | None:
        """The graph of what came."""
        graph = c_void_p()
        self._call("cuStreamEndCapture", stream, byref(graph))
        return graph.value

    def instantiate(self, graph: int | None) -> tuple[int | None, Release]:
        """Make a graph ready to launch; with the call that gives it back."""
        ready = c_void_p()
        self._call("cuGraphInstantiateWithFlags", byref(ready), graph, 0)
        return ready.value, partial(self._call, "cuGraphExecDestroy", ready.value)

    def destroy_graph(self, graph: int | None) -> None:
        """Give a graph back that is not needed once it was instantiated."""
        self._call("cuGraphDestroy", graph)

    def launch(self, graph: int | None, stream: int) -> None:
        """Put a graph's work into a stream."""
        self._call("cuGraphLaunch", graph, stream)

    def name_of(self, text: str) -> str | None:
        """CUDA's name for the error it describes so; None when it has none."""
        for code in range(1, HIGHEST_ERROR + 1):
            if self._text("cuGetErrorString", code) == text:
                return self._text("cuGetErrorName", code)
        return None

    def _call(self, name: str, *arguments: Any) -> None:
        function = self._functions.get(name)
        if function is None:
            raise CudaError(f"{name}: this driver does not have it; update the driver")
        status = function(*arguments)
        if status:
            raise failure(name.removesuffix("_v2"), self._text("cuGetErrorName", status) or f"error {status}")

    def _text(self, function: str, code: int) -> str | None:
        found = c_char_p()
        if function not in self._functions or self._functions[function](code, byref(found)) or found.value is None:
            return None
        return found.value.decode()
