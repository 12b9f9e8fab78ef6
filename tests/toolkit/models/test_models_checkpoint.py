"""A checkpoint comes back as it was written; a damaged one is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from jetson.errors import ModelError, StorageError
from jetson.manifest import DataRecord, Split
from toolkit.models.checkpoint import load_checkpoint, save_checkpoint
from toolkit.models.multi_exit import MultiExitModel
from toolkit.models.record import EpochRecord, TestScore, TrainingRecord

SPLIT = Split(n=3, sha256="0" * 64)
TRAINING = TrainingRecord(
    strategy="end-to-end",
    seed=1,
    data_spec="digits",
    data=DataRecord(name="digits", splits={"train": SPLIT}),
    limit=None,
    epochs=1,
    batch_size=2,
    learning_rate=0.1,
    weight_decay=0.05,
    distillation=0.0,
    label_smoothing=0.0,
    augment=True,
    versions={"torch": "2"},
    processes=1,
    seconds=1.5,
    history=(EpochRecord(phase="end-to-end", epoch=1, loss=0.5, seconds=1.5, exits={"3:head": {"loss": 0.5}}),),
    test=(TestScore(exit="3:head", metric="accuracy", value=0.9, n=3),),
)


@pytest.fixture
def saved(model: MultiExitModel, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "out", model, TRAINING)
    return tmp_path / "out"


def change_json(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_it_comes_back_bit_for_bit(saved: Path, model: MultiExitModel) -> None:
    found = load_checkpoint(saved)
    pixels = torch.randn(2, 1, 8, 12)
    assert all(torch.equal(a, b) for a, b in zip(found.model(pixels), model(pixels), strict=True))
    assert found.model.config == model.config
    assert found.training == TRAINING
    assert not found.model.training
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors", "training.json"]


def test_the_digest_is_of_the_model_alone(saved: Path, model: MultiExitModel) -> None:
    digest = load_checkpoint(saved).digest
    save_checkpoint(saved, model)
    again = load_checkpoint(saved)
    assert (again.digest, again.training) == (digest, None)
    with torch.no_grad():
        model.backbone.head.classifier.bias.add_(1)
    save_checkpoint(saved, model)
    other = load_checkpoint(saved).digest
    assert other != digest
    change_json(saved / "config.json", lambda c: c.update(classes=["v", "w", "x", "y", "z"]))
    assert load_checkpoint(saved).digest not in (digest, other)


def test_loading_leaves_the_callers_random_numbers_alone(saved: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_checkpoint(saved)
    assert torch.equal(torch.rand(1), expected)


def test_a_folder_with_other_files_is_not_replaced(saved: Path, model: MultiExitModel) -> None:
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"other files than a checkpoint's \(notes.txt\)"):
        save_checkpoint(saved, model)
    assert (saved / "notes.txt").read_text() == "mine"


def test_a_file_is_not_replaced(tmp_path: Path, model: MultiExitModel) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError):
        save_checkpoint(tmp_path / "file", model)


def test_a_failed_write_leaves_the_old_checkpoint(
    saved: Path, model: MultiExitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = load_checkpoint(saved).digest
    monkeypatch.setattr("toolkit.models.checkpoint._json", lambda _record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(saved, model)
    assert load_checkpoint(saved).digest == digest
    assert [p.name for p in saved.parent.iterdir()] == ["out"]


def drop_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["backbone.stem.positions"]
    save_file(weights, folder / "model.safetensors")


def reshape_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["backbone.stem.positions"] = torch.zeros(1, 2, 3)
    save_file(weights, folder / "model.safetensors")


def half_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["backbone.stem.positions"] = weights["backbone.stem.positions"].half()
    save_file(weights, folder / "model.safetensors")


def add_weight(folder: Path) -> None:
    save_file(load_file(folder / "model.safetensors") | {"more": torch.zeros(1)}, folder / "model.safetensors")


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


DAMAGE: list[tuple[Callable[[Path], Any], str]] = [
    (lambda f: (f / "config.json").unlink(), "no config.json in it"),
    (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors in it"),
    (lambda f: (f / "config.json").write_bytes(b""), "config.json: not valid JSON"),
    (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "config.json: not valid JSON"),
    (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json: not valid JSON"),
    (lambda f: (f / "config.json").write_text('{"model_type": "vit"}'), "offramp train --backbone"),
    (lambda f: change_json(f / "config.json", lambda c: c.update(surprise=1)), "unknown field `surprise`"),
    (lambda f: change_json(f / "config.json", lambda c: c["exits"][0].update(odd=1)), "unknown field `odd`"),
    (lambda f: change_json(f / "config.json", lambda c: c.update(version=3)), "version 3 is newer than this Offramp"),
    (lambda f: change_json(f / "config.json", lambda c: c.update(version="1")), "version '1' is not one"),
    (lambda f: change_json(f / "config.json", lambda c: c.pop("exits")), "missing required field `exits`"),
    (lambda f: change_json(f / "config.json", lambda c: c["exits"][0].update(layer=9)), "layer 9 is out of range"),
    (lambda f: change_json(f / "config.json", lambda c: c["exits"][0].update(architecture="x")), "unknown branch 'x'"),
    (lambda f: change_json(f / "config.json", lambda c: c["preprocessing"].update(height=9)), "does not make what"),
    (
        lambda f: change_json(f / "config.json", lambda c: c["backbone"]["transformers"].update(hidden_size=33)),
        r"the model needs float32 \[1, 1, 33\]",
    ),
    (
        lambda f: change_json(f / "config.json", lambda c: c["backbone"]["transformers"].update(patch_size="4")),
        "config.json: ",
    ),
    (
        lambda f: change_json(f / "config.json", lambda c: c["backbone"]["transformers"].update(hidden_act="no")),
        "config.json: ",
    ),
    (lambda f: change_json(f / "config.json", lambda c: c.update(outputs=6)), "head.classifier.weight is float32"),
    (truncate, "model.safetensors: damaged or not a safetensors file"),
    (lambda f: (f / "model.safetensors").write_bytes(b"no"), "model.safetensors: damaged"),
    (drop_weight, "no weights for backbone.stem.positions"),
    (reshape_weight, r"positions is float32 \[1, 2, 3\], the model needs float32 \[1, 7, 32\]"),
    (half_weight, "positions is float16"),
    (add_weight, "more is no weight of this model"),
    (lambda f: (f / "training.json").write_text("{}"), "training.json: not of an Offramp checkpoint"),
    (lambda f: change_json(f / "training.json", lambda c: c.update(odd=1)), "training.json: .*unknown field `odd`"),
    (lambda f: change_json(f / "training.json", lambda c: c.update(version=7)), "training.json: .*version 7 is newer"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=[words[:40] for _, words in DAMAGE])
def test_damage_is_one_line(damage: Callable[[Path], Any], words: str, saved: Path) -> None:
    damage(saved)
    with pytest.raises(ModelError, match=words) as error:
        load_checkpoint(saved)
    assert "\n" not in str(error.value)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_checkpoint(tmp_path / "nothing")


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "out" / "state").mkdir(parents=True)
    with pytest.raises(ModelError, match="its training has not ended"):
        load_checkpoint(tmp_path / "out")


def test_the_report_reads_the_record(saved: Path) -> None:
    from toolkit.report.history import read_history

    history = read_history(saved / "training.json")
    assert history.strategy == "end-to-end" and history.history[0].exit_loss("3:head") == 0.5
    assert history.test[0].value == 0.9
    assert msgspec.json.decode((saved / "training.json").read_bytes())["history"][0]["phase"] == "end-to-end"
