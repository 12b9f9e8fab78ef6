"""How a model was trained: the records of a checkpoint's training.json. Imports no PyTorch."""

from __future__ import annotations

from typing import Literal

from jetson.manifest import DataRecord, Metric
from jetson.record import Record

Strategy = Literal["end-to-end", "classifier-wise", "layer-wise"]


class Recipe(Record, frozen=True, kw_only=True):
    """How to train, every choice made; together with the `ModelConfig` it says what a run will give."""

    strategy: Strategy
    seed: int
    """Decides the initial weights, the order of the images and the augmentation; not how the data is split."""
    data_spec: str
    data: DataRecord
    limit: int | None
    """Only so many of the training images were used; None for all."""
    epochs: int
    """Of every phase."""
    batch_size: int
    """Images per step, all processes together."""
    learning_rate: float
    weight_decay: float
    distillation: float
    """Share of an early exit's loss that comes from the final exit's output, 0..1."""
    label_smoothing: float
    augment: bool


class EpochRecord(Record, frozen=True, kw_only=True):
    """One pass over the training images."""

    phase: str
    epoch: int
    """1 is the first of its phase."""
    loss: float
    """Mean training loss, the exits of the phase weighted as the strategy weighs them."""
    seconds: float
    """Evaluation included."""
    exits: dict[str, dict[str, float]]
    """By exit: its training `loss`, and its metric on the calibration part under the metric's name."""


class TestScore(Record, frozen=True, kw_only=True):
    """What an exit scores on the test part, in PyTorch."""

    __test__ = False  # pytest: no test in spite of the name

    exit: str
    metric: Metric
    value: float
    n: int


class TrainingRecord(Recipe, frozen=True, kw_only=True):
    """The whole of training.json: the recipe and what came of it."""

    format: Literal["offramp-training"] = "offramp-training"
    version: int = 1
    versions: dict[str, str]
    processes: int
    seconds: float
    """Of all epochs together."""
    history: tuple[EpochRecord, ...]
    test: tuple[TestScore, ...]

    def recipe(self) -> Recipe:
        """Only the choices."""
        return Recipe(**{name: getattr(self, name) for name in Recipe.__struct_fields__})
