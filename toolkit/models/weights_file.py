"""Read the tensors of a single weights file, `.safetensors` or PyTorch's own format; nothing in it is executed."""

from __future__ import annotations

import contextlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from jetson.errors import ModelError
from jetson.files import storage
from toolkit.data.wording import one_line

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPERS = ("model", "state_dict", "model_ema")
"""Under these keys training scripts keep the state dict, beside optimizer and arguments; the first found is taken."""
PREFIXES = ("module.", "_orig_mod.")
"""What data parallelism and `torch.compile` put before every name."""


def read_tensors(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict in a file, its wrapper and a prefix that all names share taken off.

    Returns:
        Floating-point tensors by name, on the CPU, in the order of the file; and what was taken off, in words.

    Raises:
        ModelError: not such a file, damaged, asking for code to be run, or holding something else than tensors.
        StorageError: it cannot be read.
    """
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path}: not a weights file by its name, which ends in none of {', '.join(SUFFIXES)}")
    with storage(path, "read"), path.open("rb"):
        pass
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    said: list[str] = []
    wrapper = next((w for w in WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(w), Mapping)), None)
    if wrapper is not None:
        content = content[wrapper]
        said.append(f"the state dict is taken from under {wrapper!r}")
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a state dict (tensors by name)")
    if not content:
        raise ModelError(f"{path}: no tensors in it")
    tensors = {str(name): _checked(path, str(name), value) for name, value in content.items()}
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        said.append(f"{prefix!r} is taken off every name")
    return tensors, tuple(said)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # safetensors has its own kind, and KeyError for types torch does not know
        raise ModelError(f"{path}: damaged or not a safetensors file ({one_line(error)})") from None


def _torch(path: Path) -> Any:
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise ModelError(
                f"{path}: names {one_line(named[1])}, and a file that brings more than tensors is not loaded; save its "
                "state dict alone: torch.save(model.state_dict(), FILE)"
            ) from None
        raise ModelError(f"{path}: damaged or not a file of torch.save") from None
    except Exception as error:  # PyTorch raises many kinds; the file is the user's
        raise ModelError(f"{path}: damaged or not a file of torch.save ({one_line(error)})") from None


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: `torch.save` stores, it does not compress."""
    with contextlib.suppress(zipfile.BadZipFile, OSError, ValueError), zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ModelError(f"{path}: a compressed archive, which torch.save does not write; save its state dict anew")


def _checked(path: Path, name: str, value: Any) -> Tensor:
    name = one_line(name)
    if not isinstance(value, Tensor):
        raise ModelError(f"{path}: {name} is a {type(value).__name__}, not a tensor; only a state dict is read")
    if value.device.type != "cpu" or value.layout != torch.strided or not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        raise ModelError(f"{path}: {name} is no plain floating-point tensor ({kind}, {value.layout}, {value.device})")
    if value.numel() == 0:
        raise ModelError(f"{path}: {name} is empty, of shape {list(value.shape)}")
    # A view may claim any shape over a few bytes, and would take that much memory as soon as it is copied.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ModelError(f"{path}: {name} claims a shape of {list(value.shape)}, and the file holds less than that")
    return value.detach()
