"""A checkpoint on disk: `config.json`, `model.safetensors`, `training.json`. Nothing in it is executable, no pickle.

The three files appear together or not at all. Decoding is strict: an unknown key is an error that names it, and a
newer format version is refused before anything else is looked at.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from jetson.errors import ModelError, StorageError, first_line
from jetson.files import new_folder, storage, write_file
from jetson.record import Record
from toolkit.models.code import trust
from toolkit.models.config import VERSION, ModelConfig
from toolkit.models.multi_exit import MultiExitModel
from toolkit.models.record import TrainingRecord

CONFIG, WEIGHTS, TRAINING, STATE = "config.json", "model.safetensors", "training.json", "state"
FILES = (CONFIG, WEIGHTS, TRAINING)
FORMAT = "offramp-checkpoint"
_Known = TypeVar("_Known", bound=Record)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    model: MultiExitModel
    """In evaluation mode, on the CPU."""
    training: TrainingRecord | None
    """None when the model was saved without training."""
    digest: str
    """SHA-256 over config.json and model.safetensors, as 64 hex digits."""


def save_checkpoint(folder: Path, model: MultiExitModel, training: TrainingRecord | None = None) -> None:
    """Write a checkpoint; one that stood there is replaced as a whole, with any training state beside it.

    Raises:
        StorageError: the folder cannot be written, or holds files that are not a checkpoint's.
    """
    if foreign := foreign_files(folder):
        raise StorageError(f"{folder} holds other files than a checkpoint's ({foreign[0]}); name another folder")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with new_folder(folder.resolve()) as fresh:
        write_file(fresh / WEIGHTS, safetensors.torch.save(tensors))
        if training is not None:
            write_file(fresh / TRAINING, _json(training))
        write_file(fresh / CONFIG, _json(model.config))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelError: a file is missing or damaged, of a newer version, or the weights do not fill the model.
        StorageError: a file cannot be read.
    """
    config, content = read_config(folder)
    weights = _read(folder, WEIGHTS)
    # Building draws random weights; the caller's random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        try:
            model = MultiExitModel(config)
        except ModelError as error:
            raise ModelError(f"{folder / CONFIG}: {error}") from None
        except Exception as error:  # transformers and torch raise many kinds; the file is the user's
            raise ModelError(f"{folder / CONFIG}: no model can be built from it ({first_line(error)})") from error
    fill(model, decode_tensors(weights, folder / WEIGHTS), folder / WEIGHTS)
    training = read_training(folder) if (folder / TRAINING).exists() else None
    return Checkpoint(model.eval(), training, hashlib.sha256(content + weights).hexdigest())


def read_config(folder: Path) -> tuple[ModelConfig, bytes]:
    """The model's configuration, and the bytes it was read from; raises as `load_checkpoint` does."""
    content = _read(folder, CONFIG)
    config = decode_record(content, ModelConfig, FORMAT, folder / CONFIG)
    return msgspec.structs.replace(config, version=VERSION), content


def trust_code(folder: Path, file: Path) -> None:
    """Let a checkpoint whose backbone is Python code run `file`; raises as `toolkit.models.code.trust` does."""
    trust(file, read_config(folder)[0].backbone.code)


def read_training(folder: Path) -> TrainingRecord:
    """How the model was trained; raises as `load_checkpoint` does."""
    return decode_record(_read(folder, TRAINING), TrainingRecord, "offramp-training", folder / TRAINING)


def foreign_files(folder: Path) -> list[str]:
    """What is in `folder` besides a checkpoint and its training state; replacing the folder would lose it.

    A `transformers` checkpoint has files of the same names, so a config.json that is not ours is foreign too.
    """
    with storage(folder, "read"):
        if not folder.is_dir():
            return [folder.name] if folder.exists() else []
        names = sorted(entry.name for entry in folder.iterdir())
        foreign = [name for name in names if name not in (*FILES, STATE)]
        if CONFIG in names and FORMAT.encode() not in (folder / CONFIG).read_bytes():
            foreign.insert(0, CONFIG)
    return foreign


def decode_record(content: bytes, kind: type[_Known], format_: str, where: Path) -> _Known:
    """Read a JSON record of format `format_`.

    Raises:
        ModelError: not JSON, another format, a newer version, or a key that is unknown, missing or of another type.
    """
    try:
        head = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{where}: not valid JSON ({error}); the file is damaged") from None
    if not isinstance(head, dict) or head.get("format") != format_:
        hint = "; a transformers checkpoint is given to `offramp train --backbone`" if _is_transformers(head) else ""
        raise ModelError(f"{where}: not of an Offramp checkpoint (no format {format_!r} in it){hint}")
    version, newest = head.get("version"), VERSION if format_ == FORMAT else 1
    if isinstance(version, int) and version > newest:
        raise ModelError(f"{where}: format version {version} is newer than this Offramp reads ({newest}); upgrade it")
    if version not in range(1, newest + 1):
        raise ModelError(f"{where}: format version {version!r} is not one this Offramp reads ({newest})")
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise ModelError(f"{where}: {error}") from None


def decode_tensors(content: bytes, where: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; a damaged one is a ModelError."""
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # safetensors has its own kind, and KeyError for types torch does not know
        raise ModelError(f"{where}: damaged or not a safetensors file ({first_line(error)})") from None


def fill(model: MultiExitModel, tensors: dict[str, Tensor], where: Path) -> None:
    """Give `model` the weights in `tensors`: exactly its own, no more, no fewer.

    Raises:
        ModelError: naming the first weight that is missing, unknown, or of another shape or type.
    """
    own = model.state_dict()
    for name, tensor in own.items():
        found = tensors.get(name)
        if found is None:
            raise ModelError(f"{where}: no weights for {name}; it belongs to another model")
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            is_, needs = (f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in (found, tensor))
            raise ModelError(f"{where}: {name} is {is_}, the model needs {needs}")
    if unknown := sorted(tensors.keys() - own.keys()):
        raise ModelError(f"{where}: {unknown[0]} is no weight of this model; it belongs to another one")
    model.load_state_dict(tensors)


def _read(folder: Path, name: str) -> bytes:
    if not (folder / name).is_file():
        unfinished = (folder / STATE).is_dir()
        hint = "its training has not ended; the same `offramp train` goes on" if unfinished else "not a checkpoint"
        raise ModelError(f"{folder}: no {name} in it ({hint})" if folder.is_dir() else f"{folder}: no such folder")
    with storage(folder / name, "read"):
        return (folder / name).read_bytes()


def _json(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def _is_transformers(head: Any) -> bool:
    return isinstance(head, dict) and "model_type" in head
