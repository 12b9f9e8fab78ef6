"""A whole run on a stand-in data set: what it writes, how it goes on, what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from jetson.errors import BadInput, ModelError, StorageError, WorkFailed
from tests.toolkit.training.small import settings
from toolkit.models.checkpoint import Checkpoint, load_checkpoint
from toolkit.models.record import EpochRecord
from toolkit.training.augment import draw
from toolkit.training.dataset import Frames
from toolkit.training.run import train
from toolkit.training.seeds import generator
from toolkit.training.settings import Progress
from toolkit.training.state import FILE

pytestmark = pytest.mark.usefixtures("stand_in")


class Recorder(Progress):
    """Remembers what it was told; interrupts in the middle of an epoch when asked."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.notes: list[str] = []
        self.phases: list[tuple[str, int, int, int]] = []
        self.epochs: list[EpochRecord] = []
        self.steps, self.interrupt_at, self.ended = 0, interrupt_at, 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        self.phases.append((name, epochs, steps, done))

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.interrupt_at:
            raise KeyboardInterrupt

    def epoch(self, record: EpochRecord, epochs: int) -> None:
        self.epochs.append(record)

    def end(self) -> None:
        self.ended += 1


def run(out: Path, progress: Progress | None = None, **changes: Any) -> Checkpoint:
    return load_checkpoint(train(settings(out, **changes), progress))


def test_a_run_writes_a_checkpoint_with_its_record(tmp_path: Path) -> None:
    told = Recorder()
    found = run(tmp_path / "out", told)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors", "training.json"]
    record = found.training
    assert record is not None
    names = ["1:mlp", "1:cnn-add", "2:vit", "2:head"]
    assert [(e.phase, e.epoch) for e in record.history] == [("end-to-end", 1), ("end-to-end", 2)]
    for epoch in record.history:
        assert list(epoch.exits) == names
        losses = [figures["loss"] for figures in epoch.exits.values()]
        assert epoch.loss == pytest.approx((sum(losses) + losses[-1]) / 5, rel=1e-5), "the final exit weighs twice"
        assert all(
            figures["accuracy"] * 15 == pytest.approx(round(figures["accuracy"] * 15))
            for figures in epoch.exits.values()
        )
    assert [(t.exit, t.metric, t.n) for t in record.test] == [(name, "accuracy", 17) for name in names]
    assert record.data.name == "squares" and record.data_spec == "digits"
    assert {"offramp", "torch", "transformers", "accelerate"} <= record.versions.keys()
    assert (record.processes, told.phases, told.steps, told.ended) == (1, [("end-to-end", 2, 5, 0)], 10, 1)
    assert told.epochs == list(record.history)
    assert record.seconds > 0
    json.loads((tmp_path / "out" / "training.json").read_text())


def test_the_reported_accuracy_is_the_saved_models(tmp_path: Path) -> None:
    from tests.toolkit.training.small import squares

    found = run(tmp_path / "out")
    assert found.training is not None
    pixels, targets, _ = Frames(squares().test, found.model.config.preprocessing).__getitems__(range(17))
    with torch.no_grad():
        accuracies = [(answer.argmax(1) == targets).double().mean().item() for answer in found.model(pixels)]
    assert accuracies == pytest.approx([score.value for score in found.training.test])


def test_regression_answers_in_raw_units(tmp_path: Path) -> None:
    found = run(tmp_path / "out", data="counting", epochs=30, exits="1:cnn-add,2:vit")
    assert found.training is not None
    assert [t.metric for t in found.training.test] == ["mean_absolute_error"] * 3
    # The targets lie between 100,000 and 250,000: guessing the middle is 37,500 off.
    assert max(t.value for t in found.training.test) < 15_000
    assert found.training.history[0].exits["2:head"]["mean_absolute_error"] > 1000


@pytest.mark.parametrize("strategy", ["classifier-wise", "layer-wise"])
def test_the_other_strategies_run_phase_by_phase(strategy: Any, tmp_path: Path) -> None:
    told = Recorder()
    run(tmp_path / "out", told, strategy=strategy, epochs=1)
    expected = ["backbone", "branches"] if strategy == "classifier-wise" else ["layer 1", "layer 2"]
    assert [phase[0] for phase in told.phases] == expected
    exits = [list(epoch.exits) for epoch in told.epochs]
    assert exits == (
        [["2:head"], ["1:mlp", "1:cnn-add", "2:vit"]]
        if strategy == "classifier-wise"
        else [["1:mlp", "1:cnn-add"], ["2:vit", "2:head"]]
    )


@pytest.mark.parametrize("strategy", ["end-to-end", "classifier-wise"])
def test_distillation_changes_the_early_exits(strategy: Any, tmp_path: Path) -> None:
    plain, distilled = (run(tmp_path / str(d), strategy=strategy, distillation=d, epochs=1) for d in (0.0, 0.7))
    early = "branches.0.mlp.0.weight"
    assert not torch.equal(plain.model.state_dict()[early], distilled.model.state_dict()[early])
    if strategy == "classifier-wise":
        head = "backbone.head.classifier.weight"
        assert torch.equal(plain.model.state_dict()[head], distilled.model.state_dict()[head])


def test_layer_wise_with_distillation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layer-wise trains it last"):
        run(tmp_path / "out", strategy="layer-wise", distillation=0.5)
    assert not (tmp_path / "out").exists()


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(tmp_path: Path) -> None:
    first, second, other = (run(tmp_path / str(i), seed=seed).digest for i, seed in enumerate((0, 0, 1)))
    assert first == second != other


def test_every_epoch_has_its_own_order_and_every_image_its_own_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    used: list[torch.Tensor] = []
    fetch = Frames.__getitems__

    def remember(frames: Frames, indices: list[int]) -> Any:
        asked.append(list(indices))
        return fetch(frames, indices)

    monkeypatch.setattr(Frames, "__getitems__", remember)
    monkeypatch.setattr("toolkit.training.loop.warp", lambda pixels, maps: used.append(maps) or pixels)
    run(tmp_path / "out", strategy="classifier-wise", epochs=2)
    batches = [indices for indices in asked if len(indices) == 8]
    assert len(batches) == len(used) == 4 * 5
    orders = []
    for number, place in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        order = [index for batch in batches[5 * number : 5 * number + 5] for index in batch]
        maps = draw(40, (8, 8), False, generator(0, "augment", *place))
        assert torch.equal(torch.cat(used[5 * number : 5 * number + 5]), maps[order])
        orders.append(tuple(order))
    assert len(set(orders)) == 4


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Checkpoint]]:
    """A folder, and by strategy the run that nobody interrupted: made by the test that asks for it first."""
    return tmp_path_factory.mktemp("whole"), {}


@pytest.mark.parametrize("strategy", ["end-to-end", "classifier-wise"])
@pytest.mark.parametrize("steps", [3, 8, 11, 18])
def test_an_interrupted_run_goes_on_bit_for_bit(
    strategy: Any, steps: int, tmp_path: Path, runs: tuple[Path, dict[str, Checkpoint]]
) -> None:
    changes = {"strategy": strategy, "epochs": 2 if strategy == "classifier-wise" else 4, "distillation": 0.3}
    folder, known = runs
    if strategy not in known:
        known[strategy] = run(folder / strategy, **changes)
    whole = known[strategy]
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt) as error:
        run(out, Recorder(interrupt_at=steps), **changes)
    assert not (out / "config.json").exists()
    done = (steps - 1) // 5
    assert "the same command " + ("goes on after epoch" if done else "begins anew") in str(error.value)
    told = Recorder()
    found = run(out, told, **changes)
    assert told.steps == 20 - 5 * done
    assert found.digest == whole.digest
    assert found.training is not None and whole.training is not None
    assert [(e.loss, e.exits) for e in found.training.history] == [(e.loss, e.exits) for e in whole.training.history]
    assert found.training.test == whole.training.test
    assert not (out / "state").exists()


def test_a_run_killed_before_its_checkpoint_was_written_only_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole").digest
    with monkeypatch.context() as patch:
        patch.setattr("toolkit.training.run.save_checkpoint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path / "out")
    told = Recorder()
    assert run(tmp_path / "out", told).digest == whole
    assert told.steps == 0


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out)
    before = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    told = Recorder()
    run(out, told)
    assert told.steps == 0 and told.notes[-1].endswith("nothing to do")
    assert {file: file.stat().st_mtime_ns for file in out.iterdir()} == before


def test_other_settings_need_restart(tmp_path: Path) -> None:
    out = tmp_path / "out"
    digest = run(out).digest
    with pytest.raises(BadInput, match=r"holds a run with --epochs 2, not 1; give --restart"):
        run(out, epochs=1)
    assert load_checkpoint(out).digest == digest
    again = run(out, epochs=1, restart=True)
    assert again.digest != digest and again.training is not None and again.training.epochs == 1


def test_an_unfinished_run_of_other_settings_needs_restart(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(out, Recorder(interrupt_at=7))
    with pytest.raises(BadInput, match="--seed 0, not 1"):
        run(out, seed=1)
    assert (out / "state" / FILE).exists()
    told = Recorder()
    run(out, told, restart=True)
    assert told.steps == 10


def test_a_restarted_run_keeps_the_old_checkpoint_until_it_ends(tmp_path: Path) -> None:
    out = tmp_path / "out"
    digest = run(out).digest
    with pytest.raises(KeyboardInterrupt):
        run(out, Recorder(interrupt_at=7), seed=1, restart=True)
    assert load_checkpoint(out).digest == digest
    told = Recorder()
    assert run(out, told, seed=1).digest != digest
    assert told.steps == 5, "it went on, without --restart"


def test_a_folder_with_other_files_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"other files than a checkpoint's \(precious.txt\)"):
        run(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_a_transformers_checkpoint_is_not_replaced_even_with_restart(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    for restart in (False, True):
        with pytest.raises(BadInput, match=r"other files than a checkpoint's \(config.json\)"):
            run(tmp_path, restart=restart)
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told = Recorder()
    with pytest.raises(StorageError):
        run(tmp_path / "file" / "out", told)
    assert told.steps == 0


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match=r"the loss became .* in phase end-to-end, epoch 1; a lower --lr"):
        run(tmp_path / "out", learning_rate=1e30, epochs=5)


def test_a_damaged_checkpoint_in_the_way_says_how_to_replace_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out)
    (out / "training.json").write_text("{")
    with pytest.raises(ModelError, match="--restart"):
        run(out)
    (out / "training.json").unlink()
    with pytest.raises(ModelError, match="--restart"):
        run(out)
    assert run(out, restart=True).training is not None


def test_few_images_are_one_batch(tmp_path: Path) -> None:
    told = Recorder()
    run(tmp_path / "out", told, limit=5, batch_size=32, epochs=1)
    assert told.steps == 1


@pytest.mark.parametrize(("batch_size", "processes"), [(9, 2), (2, 2), (6, 4)])
def test_a_batch_that_does_not_divide_among_the_processes_is_refused(batch_size: int, processes: int) -> None:
    from toolkit.training.run import _check_processes

    _check_processes(8, 4)
    with pytest.raises(BadInput, match=f"a batch of {batch_size} images does not divide among {processes} processes"):
        _check_processes(batch_size, processes)
