"""Runs in processes of their own: killed, interrupted, and two at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toolkit.training.small import settings
from toolkit.data import load
from toolkit.models.checkpoint import Checkpoint, load_checkpoint
from toolkit.training.dataset import Frames
from toolkit.training.run import train
from toolkit.training.state import FILE

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
# One thread: the order of a sum depends on how many there are.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
CHOICES: dict[str, Any] = {"exits": "1:mlp,2:vit", "limit": 512, "epochs": 3, "batch_size": 16}
WORDS = ["--exits", "1:mlp,2:vit", "--depth", "2", "--patch-size", "4", "--limit", "512"]
WORDS += ["--epochs", "3", "--batch-size", "16"]


def start(data: str, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "toolkit", "train", "--data", data, *WORDS, "--out", str(out)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_epoch(process: subprocess.Popen[str], out: Path, after: int) -> int:
    """Wait until a new state is written, and then into the middle of the next epoch."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        file = out / "state" / FILE
        if file.exists() and file.stat().st_mtime_ns > after:
            time.sleep(0.1)
            return file.stat().st_mtime_ns
        time.sleep(0.005)
    raise AssertionError(f"no epoch came to its end: {process.communicate(timeout=10)}")


def same_bits(one: Checkpoint, other: Checkpoint) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(digits_file: str, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """What one process makes when nobody stops it."""
    return load_checkpoint(train(settings(tmp_path_factory.mktemp("whole") / "out", data=digits_file, **CHOICES)))


def test_a_killed_and_an_interrupted_run_go_on_to_the_same_bits(
    tmp_path: Path, digits_file: str, whole: Checkpoint
) -> None:
    out = tmp_path / "out"
    killed = start(digits_file, out)
    written = wait_for_epoch(killed, out, after=0)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(timeout=60) == -signal.SIGKILL
    assert not (out / "config.json").exists()

    interrupted = start(digits_file, out)
    wait_for_epoch(interrupted, out, after=written)
    interrupted.send_signal(signal.SIGINT)
    _, err = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert err.splitlines()[-1].startswith("offramp train: interrupted; the same command goes on after epoch 2")

    found = load_checkpoint(train(settings(out, data=digits_file, **CHOICES)))
    assert found.training is not None and [e.epoch for e in found.training.history] == [1, 2, 3]
    assert same_bits(found, whole)


def test_two_processes_train_the_model_that_one_trains(tmp_path: Path, digits_file: str, whole: Checkpoint) -> None:
    # `accelerate launch --cpu` starts one process unless there is an MPI; torchrun starts them anywhere.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launch += ["-m", "toolkit", "train", "--data", digits_file, *WORDS, "--out", str(tmp_path / "two"), "--json"]
    done = subprocess.run(launch, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert sum("end-to-end 3/3" in line for line in done.stderr.splitlines()) == 1, "only one process speaks"

    two = load_checkpoint(tmp_path / "two")
    assert two.training is not None and whole.training is not None
    assert (two.training.processes, whole.training.processes) == (2, 1)
    for a, b in zip(two.training.history, whole.training.history, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-3)
    for a, b in zip(two.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=5e-3, rtol=0)

    # Every test image counts once, although the last batch was filled up with repeats.
    pixels, targets, _ = Frames(load(digits_file).test, two.model.config.preprocessing).__getitems__(range(300))
    with torch.no_grad():
        accuracies = [(answer.argmax(1) == targets).double().mean().item() for answer in two.model(pixels)]
    assert [exit_["value"] for exit_ in printed["exits"]] == pytest.approx(accuracies, abs=1e-9)
