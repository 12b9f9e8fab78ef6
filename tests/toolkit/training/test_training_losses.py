"""Losses against values worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from toolkit.training.losses import TEMPERATURE, Objective

LABELS = torch.tensor([0, 2])
LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.5, 0.2, 0.1]])
TEACHER = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])


def test_classification_is_cross_entropy() -> None:
    loss = Objective("classification").hard(LOGITS, LABELS)
    rows = [math.log(sum(math.exp(v) for v in row)) - row[i] for row, i in zip(LOGITS.tolist(), (0, 2), strict=True)]
    assert loss.item() == pytest.approx(sum(rows) / 2, abs=1e-6)
    smooth = Objective("classification", label_smoothing=0.3).hard(LOGITS, LABELS)
    assert smooth.item() == pytest.approx(F.cross_entropy(LOGITS, LABELS, label_smoothing=0.3).item())


def test_distillation_is_the_softened_divergence_times_the_squared_temperature() -> None:
    goal = Objective("classification", distillation=1.0)
    ours, theirs = ((logits / TEMPERATURE).softmax(1) for logits in (LOGITS, TEACHER))
    expected = TEMPERATURE**2 * (theirs * (theirs.log() - ours.log())).sum(1).mean()
    assert goal.soft(LOGITS, TEACHER).item() == pytest.approx(expected.item(), abs=1e-6)
    assert goal.soft(TEACHER, TEACHER).item() == pytest.approx(0.0, abs=1e-7)


def test_distillation_in_regression_is_the_squared_error() -> None:
    goal = Objective("regression", torch.zeros(1), torch.ones(1), distillation=1.0)
    assert goal.soft(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]])).item() == 2.0


def test_the_teacher_does_not_learn_from_its_pupils() -> None:
    teacher, pupil = TEACHER.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    for goal in (Objective("classification"), Objective("regression")):
        teacher.grad = pupil.grad = None
        goal.soft(pupil, teacher).backward()
        assert teacher.grad is None
        assert pupil.grad is not None


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_only_early_exits_are_distilled(share: float) -> None:
    goal = Objective("classification", distillation=share)
    early, final = goal.losses([LOGITS, TEACHER], [True, True], LABELS, final=True)
    hard, soft = goal.hard(LOGITS, LABELS), goal.soft(LOGITS, TEACHER)
    assert early.item() == pytest.approx(((1 - share) * hard + share * soft).item(), abs=1e-6)
    assert final.item() == goal.hard(TEACHER, LABELS).item()


def test_an_exit_that_does_not_train_has_no_loss() -> None:
    goal = Objective("classification", distillation=0.5)
    assert len(goal.losses([LOGITS, LOGITS, TEACHER], [True, True, False], LABELS, final=True)) == 2


def test_regression_learns_standardised_targets_and_scores_raw_ones() -> None:
    goal = Objective("regression", torch.tensor([100.0, 1.0]), torch.tensor([10.0, 0.5]))
    outputs, targets = torch.tensor([[0.0, 0.0]]), torch.tensor([[105.0, 2.5]])
    # 0.5 standard deviations off is squared, 3 are taken as they are: (0.5 ** 2 / 2 + 3 - 1 / 2) / 2.
    assert goal.hard(outputs, targets).item() == pytest.approx((0.125 + 2.5) / 2)
    assert goal.score(outputs, targets).tolist() == [pytest.approx((5 + 1.5) / 2)]
    assert Objective("regression").score(outputs, targets).tolist() == [pytest.approx((105 + 2.5) / 2)]


def test_accuracy_per_image() -> None:
    goal = Objective("classification")
    assert goal.score(LOGITS, LABELS).tolist() == [1.0, 0.0]
    assert (goal.metric, Objective("regression").metric) == ("accuracy", "mean_absolute_error")
