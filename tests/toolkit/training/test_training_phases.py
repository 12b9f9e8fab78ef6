"""Strategies as lists of phases."""

import pytest

from jetson.errors import ModelError
from toolkit.models.config import ExitConfig
from toolkit.models.record import Strategy
from toolkit.training.phases import STRATEGIES, Phase, is_final, phases

EXITS = tuple(
    ExitConfig(layer=layer, architecture=name)
    for layer, name in ((2, "mlp"), (2, "vit"), (4, "cnn-add"), (6, "resmlp"), (6, "head"))
)
EARLY = {"2:mlp": 1.0, "2:vit": 1.0, "4:cnn-add": 1.0, "6:resmlp": 1.0}


def test_end_to_end_trains_everything_and_weighs_the_final_exit_twice() -> None:
    for pretrained in (False, True):
        assert phases("end-to-end", EXITS, 3, pretrained=pretrained) == [
            Phase("end-to-end", (0, 1, 2), {**EARLY, "6:head": 2.0}, 3)
        ]


def test_classifier_wise_trains_the_backbone_and_then_the_branches() -> None:
    assert phases("classifier-wise", EXITS, 3) == [
        Phase("backbone", (0, 1, 2), {"6:head": 1.0}, 3),
        Phase("branches", (), EARLY, 3),
    ]


def test_classifier_wise_leaves_a_pretrained_backbone_frozen() -> None:
    assert phases("classifier-wise", EXITS, 3, pretrained=True, new_head=False) == [Phase("branches", (), EARLY, 3)]
    with_head = {**EARLY, "6:head": 1.0}
    assert phases("classifier-wise", EXITS, 3, pretrained=True, new_head=True) == [Phase("branches", (), with_head, 3)]


def test_layer_wise_goes_from_cut_to_cut() -> None:
    for pretrained in (False, True):
        assert phases("layer-wise", EXITS, 3, pretrained=pretrained) == [
            Phase("layer 2", (0,), {"2:mlp": 1.0, "2:vit": 1.0}, 3),
            Phase("layer 4", (1,), {"4:cnn-add": 1.0}, 3),
            Phase("layer 6", (2,), {"6:resmlp": 1.0, "6:head": 1.0}, 3),
        ]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("pretrained", [False, True])
def test_every_early_exit_trains_once(strategy: Strategy, pretrained: bool) -> None:
    trained = [name for phase in phases(strategy, EXITS, 1, pretrained=pretrained) for name in phase.weights]
    assert sorted(trained) == sorted(e.name for e in EXITS)


def test_layer_wise_cannot_distil() -> None:
    with pytest.raises(ModelError, match="final exit in the same or an earlier phase; layer-wise trains it last"):
        phases("layer-wise", EXITS, 3, distillation=0.5)
    for strategy in ("end-to-end", "classifier-wise"):
        assert phases(strategy, EXITS, 3, distillation=0.5) == phases(strategy, EXITS, 3)


def test_the_final_exit_is_known_by_its_name() -> None:
    assert [is_final(e.name) for e in EXITS] == [False, False, False, False, True]
