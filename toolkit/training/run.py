"""`train`: from settings to a finished checkpoint, going on where a killed run of the same settings stopped."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration

from jetson import __version__
from jetson.errors import BadInput
from jetson.files import storage
from jetson.log import get_logger
from toolkit.data import load
from toolkit.models.checkpoint import STATE, foreign_files, save_checkpoint
from toolkit.models.record import EpochRecord, TestScore, TrainingRecord
from toolkit.training.compose import Plan, compose
from toolkit.training.dataset import Frames, evaluation_loader
from toolkit.training.evaluate import evaluate
from toolkit.training.loop import Loop
from toolkit.training.losses import Objective
from toolkit.training.partial import PhaseModel
from toolkit.training.phases import Phase, phases
from toolkit.training.same import demand_same, finished
from toolkit.training.settings import Progress, TrainSettings
from toolkit.training.standardise import all_to_raw, spread
from toolkit.training.state import Position, State, drop_state, load_state, save_state, tidy

logger = get_logger(__name__)


def train(settings: TrainSettings, progress: Progress | None = None) -> Path:
    """Train a multi-exit model and write its checkpoint.

    Works alone and in several processes, started by `torchrun` or `accelerate launch`. A run that was killed goes on
    from its last whole epoch when it is called again with the same settings, and then gives, bit for bit, what it
    would have given; a finished one is left as it is. That holds on the CPU with the same number of processes and
    threads.

    Args:
        settings: what to train and how.
        progress: is told how it goes, in the main process only.

    Returns:
        The folder of the checkpoint, `settings.out`.

    Raises:
        BadInput: the settings make no sense, or `settings.out` holds another run.
        ModelError: the backbone or an exit cannot be built so.
        DataError: the data cannot be used.
        WorkFailed: the loss is no longer a number.
        StorageError: the checkpoint cannot be written.
        KeyboardInterrupt: by the user; says how to go on.
    """
    settings.check()
    accelerator = _accelerator()
    told = progress if progress is not None and accelerator.is_main_process else Progress()
    _check_out(settings.out)
    plan = compose(settings, load(settings.data))
    recipe, config = plan.recipe, plan.model.config
    _check_processes(recipe.batch_size, accelerator.num_processes)
    todo = phases(
        recipe.strategy,
        plan.model.exits,
        recipe.epochs,
        pretrained=plan.pretrained,
        new_head=plan.new_head,
        distillation=recipe.distillation,
    )
    for note in plan.notes:
        told.note(note)
    state = None if settings.restart else load_state(settings.out)
    if state is not None:
        demand_same(settings.out, (state.position.config, state.position.recipe), (config, recipe))
    elif not settings.restart and (old := finished(settings.out)) is not None:
        demand_same(settings.out, old, (config, recipe))
        told.note(f"{settings.out} is finished and has these settings: nothing to do")
        return settings.out
    # Nobody removes what another process is still reading.
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (tidy if state else drop_state)(settings.out)
        _check_writable(settings.out)
    _train(plan, todo, state, settings.out, accelerator, told)
    return settings.out


def _train(
    plan: Plan, todo: list[Phase], state: State | None, out: Path, accelerator: Accelerator, progress: Progress
) -> None:
    recipe = plan.recipe
    position = Position(config=plan.model.config, recipe=recipe, phase=0, epoch=0, seconds=0.0, history=())
    if state is not None:
        state.into_model(plan.model)
        position = state.position
        progress.note(f"going on after epoch {position.epoch} of phase {todo[position.phase].name}")
    goal = _objective(plan).to(accelerator.device)

    def keep(epoch: int, record: EpochRecord, optimizer: torch.optim.Optimizer) -> None:
        nonlocal position
        history = (*position.history, record)
        position = Position(
            config=plan.model.config,
            recipe=recipe,
            phase=number,
            epoch=epoch,
            seconds=position.seconds + record.seconds,
            history=history,
        )
        if accelerator.is_main_process:
            save_state(out, position, plan.model, optimizer)
            logger.info("epoch %d of phase %s in %.2f s", epoch, todo[number].name, record.seconds)

    try:
        loop = Loop.of(plan, goal, accelerator, progress)
        for number in range(position.phase, len(todo)):
            done = position.epoch if number == position.phase else 0
            loop.run(number, todo[number], done, state, keep)
            state = None
        _finish(plan, position, out, accelerator)
    except KeyboardInterrupt:
        where = f"after epoch {position.epoch} of phase {todo[position.phase].name}" if position.history else "anew"
        again = "goes on" if position.history else "begins"
        raise KeyboardInterrupt(f"interrupted; the same command {again} {where}") from None
    finally:
        progress.end()


def _finish(plan: Plan, position: Position, out: Path, accelerator: Accelerator) -> None:
    """Judge every exit on the test part and write the checkpoint, which takes the place of the state."""
    model, data = plan.model.to(accelerator.device), plan.data
    if data.task == "regression":
        assert data.train.targets is not None
        all_to_raw(model, *(t.to(accelerator.device) for t in spread(data.train.targets)))
    raw = Objective(data.task)
    whole = PhaseModel(model, Phase("test", (), {e.name: 1.0 for e in model.exits}, 0))
    frames = Frames(data.test, model.config.preprocessing)
    loader = accelerator.prepare(evaluation_loader(frames, accelerator.num_processes))
    values = evaluate(accelerator, whole, loader, raw)
    model.requires_grad_(True)
    if accelerator.is_main_process:
        choices = {name: getattr(plan.recipe, name) for name in plan.recipe.__struct_fields__}
        record = TrainingRecord(
            **choices,
            versions=_versions(),
            processes=accelerator.num_processes,
            seconds=round(position.seconds, 3),
            history=position.history,
            test=tuple(
                TestScore(exit=e.name, metric=raw.metric, value=value, n=len(data.test))
                for e, value in zip(model.exits, values, strict=True)
            ),
        )
        save_checkpoint(out, model, record)
    accelerator.wait_for_everyone()


def _objective(plan: Plan) -> Objective:
    recipe, data = plan.recipe, plan.data
    if data.task == "classification":
        return Objective("classification", None, None, recipe.distillation, recipe.label_smoothing)
    assert data.train.targets is not None
    return Objective("regression", *spread(data.train.targets), recipe.distillation)


def _accelerator() -> Accelerator:
    # Without a GPU, Accelerate takes several processes for so many lone runs unless it is told that the CPU is meant.
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    on_cpu = together and not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=on_cpu, dataloader_config=DataLoaderConfiguration(split_batches=True))
    if together and accelerator.num_processes == 1:
        raise BadInput("these processes were started together but do not see each other; they would write one --out")
    return accelerator


def _check_out(out: Path) -> None:
    if foreign := foreign_files(out):
        raise BadInput(
            f"{out} holds other files than a checkpoint's ({foreign[0]}); name a folder of its own with --out"
        )
    if out.is_mount():
        raise BadInput(f"{out} is a mount point and cannot be replaced as a whole; name a folder inside it with --out")


def _check_writable(out: Path) -> None:
    """Find out now, not after the first epoch or at the end; the checkpoint is renamed into its place."""
    with storage(out):
        (out / STATE).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.resolve().parent):
            pass


def _check_processes(batch_size: int, processes: int) -> None:
    if batch_size % processes or batch_size // processes < 2:
        # Batch norm needs two images at least.
        raise BadInput(f"a batch of {batch_size} images does not divide among {processes} processes, 2 or more each")


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("transformers", "accelerate", "safetensors")}
    own = {"offramp": __version__, "python": platform.python_version(), "numpy": np.__version__}
    return own | {"torch": str(torch.__version__)} | packages
