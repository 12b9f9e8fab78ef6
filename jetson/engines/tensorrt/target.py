"""What engines are built for: this device, or a named kind of RTX GPU."""

from __future__ import annotations

import re

from jetson.cuda import Cuda
from jetson.engines.tensorrt.api import Api
from jetson.engines.tensorrt.records import Target
from jetson.errors import BadInput
from jetson.profiling.device import this_device


def this_target(cuda: Cuda) -> Target:
    """This device, as engines built on it are marked."""
    here = this_device()
    return Target(
        kind="device",
        compute_capability=cuda.device.compute_capability,
        gpu=cuda.device.name,
        board=here.board,
        jetpack=here.jetpack,
    )


def rtx_targets(api: Api) -> dict[str, tuple[int, int]]:
    """The GPUs that this TensorRT for RTX builds for without having one: name and compute capability."""
    if not api.rtx:
        return {}
    found = (re.fullmatch(r"SM(\d+)(\d)", name) for name in api.trt.ComputeCapability.__members__)
    return {match[0].lower(): (int(match[1]), int(match[2])) for match in found if match}


def device_target() -> Target:
    """This device.

    Raises:
        MissingExtra: no package for CUDA is installed.
        CudaError: there is no GPU.
    """
    from jetson.cuda import load_cuda

    cuda = load_cuda()
    try:
        return this_target(cuda)
    finally:
        cuda.close()  # its context would take memory from the builds


def rtx_target(name: str, api: Api) -> Target:
    """A named kind of RTX GPU.

    Args:
        name: e.g. `sm86`.
        api: TensorRT for RTX.

    Raises:
        BadInput: it is not TensorRT for RTX, or it does not build for that.
    """
    if not api.rtx:
        raise BadInput(
            f"TensorRT {api.version} builds only for the device it runs on; for {name} it takes TensorRT for RTX: "
            "pip install 'offramp[rtx]'"
        )
    known = rtx_targets(api)
    if name.lower() not in known:
        raise BadInput(
            f"TensorRT for RTX {api.version} does not build for {name}; it knows {', '.join(known)}, and the "
            "engines of a Jetson are built on that Jetson"
        )
    return Target(kind="rtx", compute_capability=known[name.lower()])


def check_runs_here(target: Target, api: Api) -> None:
    """See that a TensorRT builds for this device's GPU.

    Raises:
        BadInput: it is TensorRT for RTX, and this is no GPU it knows.
    """
    known = rtx_targets(api)
    if api.rtx and target.compute_capability not in known.values():
        raise BadInput(
            f"TensorRT for RTX {api.version} does not know this GPU ({target}); it knows {', '.join(known)}. On a "
            "Jetson JetPack's own TensorRT is needed: apt-get install tensorrt python3-libnvinfer"
        )
