"""Training on a stand-in for the data sets, so that a run takes a fraction of a second."""

from __future__ import annotations

import pytest
import torch

from tests.toolkit.training.small import squares
from toolkit.models.backbone import SIZES


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone `tiny` is tinier yet, but where accuracy is at stake."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setitem(SIZES, "tiny", (32, 2))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`digits` are squares here, and `counting` is their brightness."""

    def load(spec: str, _seed: int = 0):
        return squares("regression" if spec == "counting" else "classification")

    monkeypatch.setattr("toolkit.training.run.load", load)
