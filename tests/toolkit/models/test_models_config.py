"""Exits as the user writes them."""

import pytest

from jetson.errors import ModelError
from toolkit.models.config import ARCHITECTURES, ExitConfig, parse_exits


def test_exits_are_sorted_by_layer_and_keep_their_options() -> None:
    assert parse_exits(" 4:cnn-add:channels=64:layers=3 ,2:mlp,", 6) == (
        ExitConfig(layer=2, architecture="mlp"),
        ExitConfig(layer=4, architecture="cnn-add", channels=64, layers=3),
    )


def test_several_exits_may_follow_one_layer() -> None:
    exits = parse_exits(",".join(f"6:{name}" for name in ARCHITECTURES), 6)
    assert [e.name for e in exits] == [f"6:{name}" for name in ARCHITECTURES]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no exits given; write them as LAYER:BRANCH"),
        (" , ", "no exits given"),
        ("2:foo", "unknown branch 'foo'; the branches are mlp, cnn-ignore"),
        ("0:mlp", "exit 0:mlp: layer 0 is out of range, the backbone has layers 1..6"),
        ("7:mlp", "exit 7:mlp: layer 7 is out of range, the backbone has layers 1..6"),
        ("2:mlp,2:mlp", "exit 2:mlp is given twice"),
        ("2:mlp,2:mlp:hidden=8", "exit 2:mlp is given twice"),
        ("mlp", "exit 'mlp' is not of the form LAYER:BRANCH"),
        ("-1:mlp", "is not of the form LAYER:BRANCH"),
        ("2", "is not of the form LAYER:BRANCH"),
        ("2:mlp:depth=3", "'depth=3' is not hidden=N, channels=N or layers=N"),
        ("2:mlp:hidden=", "'hidden=' is not hidden=N"),
        ("2:mlp:channels=3", "mlp has no option 'channels'; it has hidden, layers"),
        ("2:vit:layers=0", "layers=0 is not between 1 and 65536"),
        ("2:mlp:hidden=65537", "hidden=65537 is not between 1 and 65536"),
        ("2:head", "unknown branch 'head'"),
    ],
)
def test_a_wrong_exit_is_named(text: str, words: str) -> None:
    with pytest.raises(ModelError) as error:
        parse_exits(text, 6)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
