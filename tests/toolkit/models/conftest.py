"""Small backbones for the model tests: no download, random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toolkit.models.small import DEPTH, HEADS, WIDTH, shaken, small_config
from toolkit.models.branches import TokenShape
from toolkit.models.config import ModelConfig
from toolkit.models.multi_exit import MultiExitModel


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def shape() -> Callable[..., TokenShape]:
    """Tokens of width 32 on a grid that is no square."""

    def make(prefix: int = 2, grid: tuple[int, int] = (2, 3)) -> TokenShape:
        return TokenShape(width=WIDTH, heads=HEADS, prefix=prefix, grid=grid)

    return make


@pytest.fixture
def config() -> ModelConfig:
    return small_config("1:mlp,2:cnn-add,3:vit")


@pytest.fixture
def model(config: ModelConfig) -> MultiExitModel:
    return shaken(MultiExitModel(config)).eval()


@pytest.fixture
def checkpoint_of(tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Make a `transformers` checkpoint directory of a class with random weights; gives it and the model."""

    def make(model_class: str, config_class: str, **settings: Any) -> tuple[Path, Any]:
        import transformers

        common = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": DEPTH, "num_labels": 5}
        config = getattr(transformers, config_class)(**common | {"intermediate_size": 64} | settings)
        model = shaken(getattr(transformers, model_class)(config)).eval()
        transformers.utils.logging.disable_progress_bar()
        model.save_pretrained(tmp_path / "pretrained")
        return tmp_path / "pretrained", model

    return make
