"""Models learn real data well within a minute."""

from pathlib import Path

import pytest

from toolkit.data import load
from toolkit.models.checkpoint import load_checkpoint
from toolkit.models.config import ARCHITECTURES
from toolkit.training.run import train
from toolkit.training.settings import TrainSettings

pytestmark = pytest.mark.slow


def test_all_seven_branches_learn_digits(tmp_path: Path) -> None:
    exits = "1:cnn-ignore,1:cnn-add,2:cnn-project,2:mlp,3:vit,3:mlp-mixer,3:resmlp"
    settings = TrainSettings(data="digits", out=tmp_path / "out", exits=exits, depth=4, epochs=4)
    found = load_checkpoint(train(settings))
    assert found.training is not None
    scores = {score.exit: score.value for score in found.training.test}
    assert {name.partition(":")[2] for name in scores} == {*ARCHITECTURES, "head"}
    assert min(scores.values()) > 0.9, scores
    assert scores["4:head"] > 0.96, scores


def test_counting_is_far_better_than_the_mean(tmp_path: Path) -> None:
    settings = TrainSettings(
        data="counting", out=tmp_path / "out", exits="1:cnn-add", depth=2, patch_size=16, epochs=6, limit=600
    )
    found = load_checkpoint(train(settings))
    assert found.training is not None
    targets = load("counting").test.targets
    assert targets is not None
    guess = abs(targets - targets.mean()).mean()
    assert max(score.value for score in found.training.test) < 0.3 * guess
