"""A weights file from anywhere: tensors, or one line that says why not. Nothing in it runs."""

import argparse
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from jetson.errors import ModelError, StorageError
from tests.toolkit.models.timm_files import save, vit
from toolkit.models.checkpoint import save_checkpoint
from toolkit.models.multi_exit import MultiExitModel
from toolkit.models.recognise import recognise
from toolkit.models.weights_file import read_tensors


class Program:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def refused(path: Path, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        recognise(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_the_order_of_the_file_and_the_prefix(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pt", {"module.b": torch.ones(2), "module.a": torch.zeros(3)}, "state_dict")
    tensors, said = read_tensors(path)
    assert list(tensors) == ["b", "a"] and len(said) == 2
    assert list(read_tensors(save(path, {"module.b": torch.ones(2), "a": torch.ones(1)}))[0]) == ["module.b", "a"]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_with_a_program_does_not_run(wrapped: bool, tmp_path: Path) -> None:
    program, path = Program(tmp_path / "ran"), tmp_path / "model.pth"
    torch.save({"model": {"cls_token": program}} if wrapped else program, path)
    refused(path, r"names \w+\.mkdir, and a file that brings more than tensors is not loaded")
    assert not (tmp_path / "ran").exists()


def test_arguments_of_a_training_script_are_named_and_what_to_do(tmp_path: Path) -> None:
    torch.save({"model": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", r"names argparse\.Namespace.*torch\.save\(model\.state_dict\(\), FILE\)")


DAMAGE: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("model.safetensors", lambda b: b[:-20], "damaged or not a safetensors file"),
    ("model.safetensors", lambda b: b[:40], "damaged or not a safetensors file"),
    ("model.safetensors", lambda b: b"", "damaged or not a safetensors file"),
    ("model.safetensors", lambda b: (1 << 62).to_bytes(8, "little") + b[8:], "damaged or not a safetensors file"),
    ("model.safetensors", lambda b: b[:8] + b.replace(b'"F32"', b'"F99"')[8:], "damaged or not a safetensors file"),
    ("model.pth", lambda b: b[: len(b) // 2], "damaged or not a file of torch.save"),
    ("model.pth", lambda b: b"", "damaged or not a file of torch.save"),
    ("model.pth", lambda b: b"PK\x03\x04 and nothing behind", "damaged or not a file of torch.save"),
    ("model.pth", lambda b: bytes(range(256)), "damaged or not a file of torch.save"),
]


@pytest.mark.parametrize(("name", "change", "words"), DAMAGE)
def test_a_damaged_file_is_one_line(name: str, change: Callable[[bytes], bytes], words: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, vit().weights)
    path.write_bytes(change(path.read_bytes()))
    refused(path, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no tensors in it"),
        ([torch.ones(1)], "holds a list, not a state dict"),
        (torch.ones(3), "holds a Tensor, not a state dict"),
        ({"cls_token": 3}, "cls_token is a int, not a tensor"),
        ({"cls_token": torch.ones(3, dtype=torch.int64)}, "cls_token is no plain floating-point tensor"),
        ({"cls_token": torch.ones(3, 3).to_sparse()}, "cls_token is no plain floating-point tensor"),
        ({"cls_token": torch.ones(0, 3)}, "cls_token is empty"),
        ({"cls_token": torch.zeros(1).expand(10**6, 10**6)}, "claims a shape of"),
        ({"model": {"x\n\x1b[31m": torch.ones(3)}}, "is not supported: no timm ViT"),
    ],
)
def test_what_is_no_state_dict_is_one_line(content: Any, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", words)


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.pth", {"cls_token": torch.zeros(10**5)})
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    refused(tmp_path / "b.pth", "a compressed archive")


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    refused(tmp_path / "model.onnx", "ends in none of .safetensors, .pth, .pt, .bin")
    refused(tmp_path / "nowhere.pth", "no such file or folder; Offramp downloads nothing")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_storage_error(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pth", vit().weights)
    path.chmod(0)
    with pytest.raises(StorageError, match="cannot read"):
        read_tensors(path)


def test_a_folder_of_timm_is_recognised(tmp_path: Path) -> None:
    save(tmp_path / "pytorch_model.bin", vit().weights)
    (tmp_path / "config.json").write_text('{"architecture": "vit_x", "num_classes": 5}')
    assert recognise(tmp_path, heads=4).config.family == "vit"
    (tmp_path / "pytorch_model.bin").unlink()
    refused(tmp_path, "its config.json is timm's, and no weights beside it")


def test_other_folders_are_told_apart(
    tmp_path: Path, model: MultiExitModel, checkpoint_of: Callable[..., tuple[Path, Any]]
) -> None:
    save_checkpoint(tmp_path / "ours", model)
    ours = recognise(tmp_path / "ours")
    assert ours.checkpoint is not None and ours.checkpoint.config == model.config
    refused(tmp_path, "no config.json in it")
    folder, theirs = checkpoint_of("ViTForImageClassification", "ViTConfig", image_size=8, patch_size=4)
    assert recognise(folder).heads[0].out_features == 5
    with pytest.raises(ModelError, match="--heads is for a timm state dict"):
        recognise(folder, heads=4)
    with torch.no_grad():
        theirs.classifier.bias[2] = float("nan")
    theirs.save_pretrained(folder)
    refused(folder, "bias holds NaN or infinite values")
