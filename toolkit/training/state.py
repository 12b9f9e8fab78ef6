"""Where an unfinished run stands: one safetensors file in OUT/state, replaced as a whole after every epoch.

Its tensors are the model's weights and the optimizer's, its header holds a JSON record; no pickle anywhere.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from jetson.errors import ModelError
from jetson.files import storage, write_file
from jetson.record import Record
from toolkit.models.checkpoint import STATE, decode_record, fill
from toolkit.models.config import ModelConfig
from toolkit.models.multi_exit import MultiExitModel
from toolkit.models.record import EpochRecord, Recipe

FILE = "last.safetensors"
_RECORD = "offramp"
_MODEL, _OPTIMIZER = "model.", "optimizer."


class Position(Record, frozen=True, kw_only=True):
    """How far a run has come, and what it is a run of."""

    format: Literal["offramp-training-state"] = "offramp-training-state"
    version: int = 1
    config: ModelConfig
    recipe: Recipe
    phase: int
    """The phase that the next epoch belongs to (0-based)."""
    epoch: int
    """Epochs of that phase that are over."""
    seconds: float
    history: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class State:
    """A position with the weights that belong to it."""

    position: Position
    tensors: dict[str, Tensor]
    path: Path

    def into_model(self, model: MultiExitModel) -> None:
        """Give the model its weights back."""
        fill(model, _under(_MODEL, self.tensors), self.path)

    def into_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Give a new optimizer of the same phase its running averages back."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _under(_OPTIMIZER, self.tensors).items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save_state(out: Path, position: Position, model: MultiExitModel, optimizer: torch.optim.Optimizer | None) -> None:
    """Replace the state in `out`; a power cut leaves the old one or the new one."""
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for index, values in (optimizer.state_dict()["state"] if optimizer else {}).items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": value for name, value in values.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    record = {_RECORD: msgspec.json.encode(position).decode()}
    write_file(out / STATE / FILE, safetensors.torch.save(tensors, metadata=record))


def load_state(out: Path) -> State | None:
    """The state of an unfinished run in `out`; None when there is none.

    Raises:
        ModelError: it is damaged, or from a newer version.
    """
    path = out / STATE / FILE
    if not path.is_file():
        return None
    try:
        with storage(path, "read"), safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path}: damaged ({error}); begin anew with --restart") from None
    try:
        position = decode_record(metadata.get(_RECORD, "").encode(), Position, "offramp-training-state", path)
    except ModelError as error:
        raise ModelError(f"{error}; begin anew with --restart") from None
    return State(position, tensors, path)


def drop_state(out: Path) -> None:
    """Remove the state of an unfinished run, and what a killed process left of writing one."""
    with storage(out / STATE, "remove"), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(out / STATE)


def tidy(out: Path) -> None:
    """Remove what a killed process left half written beside the state."""
    for part in (out / STATE).glob(f".{FILE}.*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
