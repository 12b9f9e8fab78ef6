"""The CUDA layer's contract on a real GPU, through each package that is installed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from jetson.cuda import NAMES, Cuda
from tests.gpu.conftest import open_gpu
from tests.jetson.cuda.contract import CHECKS, MB

pytestmark = pytest.mark.gpu


@pytest.fixture(params=NAMES)
def each_cuda(request: pytest.FixtureRequest) -> Iterator[Cuda]:
    opened = open_gpu(request.param)
    yield opened
    opened.close()


@pytest.mark.parametrize("check", CHECKS)
def test_contract(each_cuda: Cuda, check: str) -> None:
    CHECKS[check](each_cuda)


def test_no_memory_is_left_behind(each_cuda: Cuda) -> None:
    """A hundred rounds of everything cost no memory that a first round did not."""

    def once() -> None:
        block, host = each_cuda.allocate(32 * MB), each_cuda.allocate_host(MB, mapped=False)
        graph = each_cuda.capture(lambda: each_cuda.fill(block.address, 1, 32 * MB))
        graph.launch()
        each_cuda.copy_to_host(host.array, block.address)
        each_cuda.synchronize()
        assert (host.array == 1).all()
        for thing in (graph, host, block):
            thing.free()

    once()
    before = each_cuda.memory()[0]
    for _ in range(100):
        once()
    assert each_cuda.memory()[0] > before - 512 * MB


def test_large_copies_are_complete_after_the_wait(each_cuda: Cuda) -> None:
    """256 MB there and back, through pageable and page-locked memory."""
    size = 256 * MB
    source = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    block, host = each_cuda.allocate(size), each_cuda.allocate_host(size, mapped=False)
    each_cuda.copy_to_device(block.address, source)
    each_cuda.copy_to_host(host.array, block.address)
    mark = each_cuda.event(timing=False)
    mark.record()
    mark.wait()
    assert np.array_equal(host.array, source)


def test_first_package_that_works(cuda: Cuda) -> None:
    CHECKS["copies"](cuda)
