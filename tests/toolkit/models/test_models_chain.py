"""Models from Python code: what a chain must be, and that only code which the user named is ever run."""

import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from jetson.errors import ModelError
from tests.toolkit.models.small import shaken
from toolkit.models.backbone import Backbone
from toolkit.models.checkpoint import load_checkpoint, save_checkpoint, trust_code
from toolkit.models.code import kept_at, parse_code
from toolkit.models.config import ARCHITECTURES
from toolkit.models.head import Head
from toolkit.models.recognise import recognise
from toolkit.training.untrained import untrained

CNN = """
import torch
from torch import nn
from toolkit.models.chain import Chain

def stage(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())

def cnn(weights=None, **changes):
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))
    layers = [stage(4, 8), nn.Sequential(stage(8, 12), nn.Dropout(0.5))]
    whole = nn.Sequential(stage(3, 4), *layers, head)
    if weights is not None:
        whole.load_state_dict(torch.load(weights, weights_only=True))
    return Chain(**{"stem": whole[0], "layers": layers, "head": head, "image": (32, 48), "classes": "abcde", **changes})

def headless():
    return cnn(head=None)

def tokens():
    class Patches(nn.Module):
        def forward(self, pixels):
            return torch.cat([pixels.mean((2, 3))[:, None], nn.functional.avg_pool2d(pixels, 8).flatten(2).mT], dim=1)
    return Chain(stem=Patches(), layers=[nn.Linear(3, 6), nn.Linear(6, 6)], image=(16, 24), prefix=1, mean=[0, 0, 0],
                 std=[1, 1, 1])
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with models, and a cache that knows none."""
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "mine.py"
    file.write_text(CNN)
    return file


def checkpoint_of(spec: str, folder: Path, exits: str = "1:mlp,2:vit", **options: Any) -> Path:
    save_checkpoint(folder, untrained(recognise(spec), exits, 0, **options).model)
    return folder


def test_a_cnn_gets_every_branch_and_keeps_its_head(code: Path, tmp_path: Path) -> None:
    found = recognise(f"{code}:cnn")
    assert found.labels == tuple("abcde") and found.config.pooling == "own" and "ImageNet" in found.normalisation
    exits = ",".join(f"{layer}:{branch}" for layer in (1, 2) for branch in ARCHITECTURES)
    model = shaken(untrained(found, exits, 0).model)
    assert [(s.width, s.grid, s.map) for s in model.backbone.shapes] == [(8, (8, 12), True), (12, (4, 6), True)]
    pixels = torch.randn(3, 3, 32, 48)
    save_checkpoint(tmp_path / "out", model)
    again = load_checkpoint(tmp_path / "out").model
    with torch.no_grad():
        answers = again(pixels)
        expected = found.encoder.head(found.encoder.layers[1](found.encoder.layers[0](found.encoder.stem(pixels))))
        assert all(a.shape == (3, 5) and torch.isfinite(a).all() for a in answers)
        torch.testing.assert_close(answers[-1], expected)


def test_weights_are_handed_on_and_come_from_the_checkpoint_later(code: Path, tmp_path: Path) -> None:
    own = recognise(f"{code}:cnn").encoder
    whole = shaken(torch.nn.Sequential(own.stem, *own.layers, own.head)).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    found = recognise(f"{code}:cnn", weights=tmp_path / "w.pth")
    save_checkpoint(tmp_path / "out", untrained(found, "1:mlp", 0).model)
    (tmp_path / "w.pth").unlink()
    pixels = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(load_checkpoint(tmp_path / "out").model(pixels)[-1], whole(pixels))
    with pytest.raises(ModelError, match=r"--weights .*: no such file"):
        recognise(f"{code}:cnn", weights=tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"mine\.py:headless has no parameter `weights`"):
        recognise(f"{code}:headless", weights=code)


def test_tokens_and_a_new_head(code: Path, tmp_path: Path) -> None:
    found = recognise(f"{code}:tokens")
    backbone = Backbone(found.config, 4, found.encoder)
    assert [(s.width, s.grid, s.prefix, s.map) for s in backbone.shapes] == [(6, (2, 3), 1, False)] * 2
    assert isinstance(backbone.head, Head) and backbone.head.pooling == "class"
    assert backbone.head(backbone.layers[0](backbone.stem(torch.zeros(2, 3, 16, 24)))).shape == (2, 4)
    folder = checkpoint_of(f"{code}:headless", tmp_path / "out", outputs=4)
    model = load_checkpoint(folder).model
    assert model.config.untrained == ("1:mlp", "2:vit", "2:head") and model(torch.zeros(2, 3, 32, 48))[-1].shape == (
        2,
        4,
    )


def test_a_head_of_other_outputs_is_given_a_new_last_layer(code: Path) -> None:
    found = recognise(f"{code}:cnn", image=(48, 48))
    head = Backbone(found.config, 7, found.encoder).head
    assert head(torch.zeros(2, 12, 6, 6)).shape == (2, 7) and found.encoder.head[2].out_features == 5


def test_code_that_was_never_run_here_is_not_run(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's checkpoint: the file it names is there, and even so nothing runs until the user says so."""
    ran = tmp_path / "ran"
    code.write_text(CNN + f"\nopen({str(ran)!r}, 'a').write('x')\n")
    folder = checkpoint_of(f"{code}:cnn", tmp_path / "out")
    assert not [f for f in folder.iterdir() if f.suffix == ".py"]
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path / "another account"))
    ran.write_text("")
    with pytest.raises(
        ModelError, match=r"Python code, mine.py:cnn, that was never run here .* --code mine.py"
    ) as error:
        load_checkpoint(folder)
    assert "\n" not in str(error.value) and ran.read_text() == ""
    (tmp_path / "other.py").write_text(CNN)
    with pytest.raises(ModelError, match=r"other\.py: not the content that the checkpoint was made with"):
        trust_code(folder, tmp_path / "other.py")
    trust_code(folder, code)
    code.unlink()
    assert load_checkpoint(folder).model.backbone.depth == 2
    config = load_checkpoint(folder).model.config.backbone.code
    assert config is not None
    kept_at(config).write_text("raise SystemExit")
    with pytest.raises(ModelError, match="not the content that its name says"):
        load_checkpoint(folder)


def test_another_function_of_known_code_is_not_run(code: Path, tmp_path: Path) -> None:
    folder = checkpoint_of(f"{code}:cnn", tmp_path / "out")
    file = folder / "config.json"
    for function, words in (
        ("headless", r"mine\.py:headless, that was never run here"),
        ("../cnn", "is no name of a function"),
    ):
        file.write_text(file.read_text().replace('"function": "cnn"', f'"function": "{function}"'))
        with pytest.raises(ModelError, match=words):
            load_checkpoint(folder)
        file.write_text(file.read_text().replace(f'"function": "{function}"', '"function": "cnn"'))
    assert load_checkpoint(folder).model.backbone.depth == 2


def test_code_is_for_checkpoints_that_have_some(tmp_path: Path, model: Any, code: Path) -> None:
    save_checkpoint(tmp_path / "vit", model)
    with pytest.raises(ModelError, match="this checkpoint's backbone is no Python code"):
        trust_code(tmp_path / "vit", code)


WRONG = [
    ("return 3", "returns a int, not a toolkit.models.chain.Chain"),
    ("return cnn(layers=[])", "no layers"),
    ("return cnn(stem=3)", "stem is a int, not an nn.Module"),
    ("return cnn(mean=[0.5])", "mean has 1 entries, it takes 3"),
    ("return cnn(mean=[0, 0, 0])", "mean and std come together"),
    ("1 / 0", "mine.py:wrong, line [0-9]+: ZeroDivisionError: division by zero"),
    ("import sys; sys.exit('gone')", "SystemExit: gone"),
    ("return cnn(layers=[stage(5, 8)])", r"layer 1 does not take a tensor of shape \[2, 4, 16, 24\]"),
    ("return cnn(layers=[nn.Flatten()])", "layer 1 gives a tensor of shape .* for two frames, neither tokens"),
    ("return cnn(layers=[nn.Flatten(2)], head=None)", "layer 1 gives 4 tokens, which are not 0 and a grid"),
    ("return cnn(head=nn.Conv2d(12, 5, 1))", "the head has no nn.Linear"),
    ("return cnn(head=nn.Linear(6, 5))", r"the head must give one tensor \(batch, outputs\)"),
    ("return cnn(head=3)", "head is a int, not an nn.Module"),
    ("return cnn(stem=nn.LSTM(48, 4))", "the stem"),
]


@pytest.mark.parametrize(("body", "words"), WRONG)
def test_what_is_no_chain_is_one_line(body: str, words: str, code: Path) -> None:
    code.write_text(CNN + f"\ndef wrong():\n{textwrap.indent(body, '    ')}\n")
    with pytest.raises(ModelError, match=words) as error:
        untrained(recognise(f"{code}:wrong"), "1:mlp", 0, outputs=None if "head=None" not in body else 2)
    assert "\n" not in str(error.value)


def test_what_is_named_wrongly_is_one_line(code: Path, tmp_path: Path) -> None:
    for spec, words in (
        (str(code), "name the function in it"),
        (f"{code}:nothing", "no function nothing in it"),
        (f"{tmp_path}/none.py:f", "no such Python file"),
    ):
        with pytest.raises(ModelError, match=words):
            recognise(spec)
    code.write_text("def broken(:")
    with pytest.raises(ModelError, match=r"mine\.py:f, line 1: SyntaxError"):
        recognise(f"{code}:f")
    with pytest.raises(ModelError, match="--heads is for a timm"):
        recognise(f"{code}:f", heads=2)
    with pytest.raises(ModelError, match="--weights is for a model from Python code"):
        recognise(tmp_path, weights=code)
    assert parse_code("folder/x.py/model.pth") is None and parse_code("tiny") is None


def test_a_copy_of_the_file_elsewhere_is_the_same_code(code: Path, tmp_path: Path) -> None:
    shutil.copy(code, tmp_path / "copy.py")
    first, second = recognise(f"{code}:cnn").config.code, recognise(f"{tmp_path / 'copy.py'}:cnn").config.code
    assert first is not None and second is not None and first.sha256 == second.sha256
