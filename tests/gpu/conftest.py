"""A real GPU, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jetson.cuda import Cuda, load_cuda
from jetson.cuda.layer import NO_DRIVER
from jetson.errors import CudaError, MissingExtra


def open_gpu(name: str | None = None) -> Cuda:
    """CUDA on this machine's GPU; skips where there is no GPU, fails where there is one that does not start."""
    try:
        return load_cuda(name)
    except MissingExtra as error:
        pytest.skip(str(error))
    except CudaError as error:
        if str(error) == NO_DRIVER or "CUDA_ERROR_NO_DEVICE" in str(error):
            pytest.skip(f"no NVIDIA GPU here: {error}")
        raise


@pytest.fixture
def cuda() -> Iterator[Cuda]:
    """CUDA through the package that a user would get."""
    opened = open_gpu()
    yield opened
    opened.close()
