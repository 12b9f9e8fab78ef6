"""Both implementations of `Cuda` against the contract, on the software driver."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.jetson.cuda.conftest import Result, Run
from tests.jetson.cuda.contract import CHECKS


@pytest.fixture(scope="module")
def contract(run: Run) -> tuple[dict[str, Any], Result]:
    """What each check came to, all run in one process."""
    result = run("contract")
    return {line["check"]: line for line in map(json.loads, result.said)}, result


@pytest.mark.parametrize("check", CHECKS)
def test_contract(contract: tuple[dict[str, Any], Result], check: str) -> None:
    found, result = contract
    assert check in found, f"the process ended before this check\n{result.errors}"
    assert not found[check]["error"], found[check]["error"]
    left = found[check]["left"]
    assert left.pop("releases") == (2 if check == "two_at_once" else 1)
    assert not any(left.values()), f"left behind: {left}"


def test_quiet(contract: tuple[dict[str, Any], Result]) -> None:
    _, result = contract
    assert (result.code, result.errors) == (0, "")


def test_integrated_gpu(run: Run) -> None:
    result = run("integrated", SOFT_CUDA_INTEGRATED=1)
    assert (result.code, result.errors) == (0, "")
