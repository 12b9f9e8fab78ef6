"""`offramp import` as a user meets it: a ViT from elsewhere becomes a checkpoint that builds as it is."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from jetson import Bundle
from tests.toolkit.models.timm_files import save, vit
from toolkit.cli import main
from toolkit.models.checkpoint import load_checkpoint

EXITS = ["--exits", "1:mlp,2:cnn-add"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def theirs(here):
    """A ViT with five classes; its state dict is in vit.safetensors."""
    found = vit()
    save(here / "vit.safetensors", found.weights)
    return found


def imported(capsys, *words, model="vit.safetensors"):
    """Run a command that works; gives what it printed."""
    assert main(["import", model, "--heads", "4", *EXITS, "--out", "checkpoint", *words]) == 0
    return capsys.readouterr()


def fails(capsys, *words, model="vit.safetensors", out="checkpoint", heads=("--heads", "4")):
    """Run a command that cannot work; gives its one line."""
    before = sorted(Path().rglob("*"))
    assert main(["import", model, *heads, *EXITS, "--out", out, *words]) == 2
    stdout, err = capsys.readouterr()
    assert stdout == "" and len(err.splitlines()) == 1 and err.startswith("offramp import: ")
    assert sorted(Path().rglob("*")) == before
    return err


def test_the_final_exit_answers_as_the_model_did(theirs, capsys):
    imported(capsys)
    model = load_checkpoint(Path("checkpoint")).model
    pixels = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels)[-1], theirs.logits(pixels), atol=1e-5, rtol=0)
    assert [e.name for e in model.exits] == ["1:mlp", "2:cnn-add", "3:head"]
    assert not Path("checkpoint/training.json").exists()


def test_it_tells_what_it_recognised(theirs, capsys):
    out, err = imported(capsys)
    text = " ".join(out.split())
    for words in (
        "Recognised in vit.safetensors",
        "3 of width 32, 4 attention heads",
        "1 class",
        "16x16x3, patches of 4x4",
        "mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5: the usual one of vit (no config.json of timm beside the file says it)",
        "kept, the model's own; 5 outputs, reads class",
        "0, 1, 2, ... 4: numbered",
        "4 attention heads: as --heads says",
        "2:cnn-add │ cnn-add │ random",
        "3:head │ head │ the model's",
        "offramp build checkpoint --data DATA --out BUNDLE",
        "offramp train --backbone checkpoint --data DATA --out TRAINED",
    ):
        assert words in text
    assert err == "checkpoint, its branches untrained -> checkpoint\n"


def test_json_says_the_same(here, capsys):
    found = vit("Dinov2WithRegisters", classifiers=0)
    save(here / "m.pth", found.weights, "model")
    (here / "names.txt").write_text("cat\nsmall dog\n\n")
    out, _ = imported(capsys, "--json", "--classes", "names.txt", "--image", "20x24", model="m.pth")
    facts = json.loads(out)
    checkpoint = load_checkpoint(Path("checkpoint"))
    assert facts["digest"] == checkpoint.digest and facts["checkpoint"] == "checkpoint"
    assert facts["prefix_tokens"] == {"class": 1, "distillation": 0, "registers": 4}
    assert (facts["family"], facts["layers"], facts["width"], facts["heads"]) == ("dinov2_with_registers", 3, 32, 4)
    assert (facts["patch"], facts["image"], facts["channels"]) == (4, [20, 24], 3)
    assert (facts["head"], facts["pooling"], facts["outputs"]) == ("new", "class+mean", 2)
    assert facts["classes"] == ["cat", "small dog"] == list(checkpoint.model.config.classes)
    assert [e["trained"] for e in facts["exits"]] == [False, False, False]
    assert facts["parameters"] == sum(p.numel() for p in checkpoint.model.parameters())
    assert facts["normalisation"]["mean"] == list(checkpoint.model.config.preprocessing.mean)
    assert facts["next"][2]["command"] == "offramp train --backbone checkpoint --data DATA --out TRAINED"
    assert checkpoint.model.config.untrained == ("1:mlp", "2:cnn-add", "3:head")


def test_names_and_normalisation_of_a_transformers_checkpoint_are_kept(here, capsys):
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32,
        num_attention_heads=4,
        num_hidden_layers=2,
        intermediate_size=64,
        image_size=8,
        patch_size=4,
        id2label={0: "cat", 1: "dog"},
    )
    transformers.utils.logging.disable_progress_bar()
    transformers.ViTForImageClassification(config).save_pretrained("vit")
    words = ["import", "vit", *EXITS, "--out", "checkpoint", "--json"]
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == ["cat", "dog"] and facts["classes_source"] == "the model's own names"
    assert "no preprocessor_config.json" in facts["normalisation"]["source"]
    del config.id2label
    config.num_labels = 3
    transformers.ViTForImageClassification(config).save_pretrained("vit")
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == ["0", "1", "2"] and facts["classes_source"].startswith("numbered")


def test_the_seed_decides_the_branches(theirs, capsys):
    def digest(*words):
        return json.loads(imported(capsys, "--json", *words)[0])["digest"]

    first = digest()
    assert digest() == first != digest("--seed", "1")


def test_a_head_needs_to_know_its_classes(here, capsys):
    save(here / "vit.safetensors", vit(classifiers=0).weights)
    assert "give --outputs N or --classes FILE" in fails(capsys)
    (here / "names.txt").write_text("a\nb\n")
    assert "--outputs says 3 and --classes names 2" in fails(capsys, "--outputs", "3", "--classes", "names.txt")
    assert "1 is not in the range" in fails(capsys, "--outputs", "1")
    out, _ = imported(capsys, "--outputs", "7")
    assert "new, random weights; 7 outputs" in out


def test_a_head_that_is_there_is_not_given_up_in_silence(theirs, here, capsys):
    (here / "names.txt").write_text("a\nb\n")
    assert "classifier has 5 outputs and --classes names 2" in fails(capsys, "--classes", "names.txt")
    assert "classifier has 5 outputs and --outputs says 6" in fails(capsys, "--outputs", "6")
    (here / "names.txt").write_text("e\nd\nc\nb\na")
    imported(capsys, "--classes", "names.txt", "--outputs", "5")
    assert load_checkpoint(Path("checkpoint")).model.config.classes == tuple("edcba")


def test_a_model_with_one_output_is_no_classifier(here, capsys):
    weights = vit().weights
    weights |= {"head.weight": weights["head.weight"][:1], "head.bias": weights["head.bias"][:1]}
    save(here / "vit.safetensors", weights)
    assert "one output; a regression comes from offramp train" in fails(capsys)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\n\nb\n", "line 2 is empty"),
        (b"a\nb\na\n", "line 3 names 'a' again"),
        (b"a\n", "1 classes; there must be two"),
        (b"\xff\xfe\n", "not UTF-8 text"),
        (None, "cannot read names.txt"),
    ],
)
def test_a_file_of_classes_that_cannot_be_used(content, words, theirs, here, capsys):
    if content is not None:
        (here / "names.txt").write_bytes(content)
    assert words in fails(capsys, "--classes", "names.txt")


def test_mistakes_are_one_line_and_write_nothing(theirs, here, capsys):
    assert "no such file or folder" in fails(capsys, model="nowhere")
    assert "layer 9 is out of range" in fails(capsys, "--exits", "9:mlp")
    assert "unknown branch 'cnn'" in fails(capsys, "--exits", "1:cnn")
    assert "smaller than one patch" in fails(capsys, "--image", "3")
    assert "is not a size" in fails(capsys, "--image", "x")
    assert "does not tell the number of attention heads" in fails(capsys, heads=())
    assert "-1 is not in the range" in fails(capsys, "--seed", "-1")
    (here / "vit.safetensors").write_bytes(b"short")
    assert "damaged or not a safetensors file" in fails(capsys)


def test_only_an_untrained_checkpoint_is_replaced(theirs, here, capsys):
    imported(capsys)
    imported(capsys, "--seed", "3")
    Path("checkpoint/training.json").write_text("{}")
    assert "holds a checkpoint that was trained" in fails(capsys)
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    assert "other holds other files than a checkpoint's (notes.txt)" in fails(capsys, out="other")


def test_a_failed_write_leaves_nothing(theirs, here, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.models.checkpoint.write_file", full)
    assert "disk is full" in fails(capsys)


def test_train_takes_the_same_models(theirs, here, monkeypatch, capsys):
    from tests.toolkit.training.small import squares

    monkeypatch.setattr("toolkit.training.run.load", lambda _spec: squares(channels=3))
    words = ["train", "--backbone", "vit.safetensors", "--data", "digits", *EXITS, "--out", "trained"]
    assert main([*words, "--heads", "4", "--epochs", "1", "--image-size", "16"]) == 0
    err = capsys.readouterr().err
    assert "backbone: vit, pretrained" in err and "4 attention heads: as --heads says" in err
    assert "head: new, 3 outputs (the checkpoint's has 5)" in err
    trained = load_checkpoint(Path("trained")).model
    layer = trained.backbone.layers[1].layer
    torch.testing.assert_close(layer.mlp.fc1.weight.data, theirs.weights["blocks.1.mlp.fc1.weight"])
    for more, said in (
        (["--patch-size", "4", "--heads", "4"], "--patch-size is for the sizes"),
        ([], "does not tell the number of attention heads"),
        (["--heads", "0"], "--heads 0: must be 1 or more"),
        (["--heads", "2", "--backbone", "tiny"], "--heads is for a timm state dict"),
    ):
        assert main([*words[:-1], "other", *more]) == 2
        assert said in capsys.readouterr().err


def test_training_goes_on_from_what_was_imported(theirs, here, monkeypatch, capsys):
    from tests.toolkit.training.small import squares

    monkeypatch.setattr("toolkit.training.run.load", lambda _spec: squares(channels=3))
    imported(capsys)
    words = ["train", "--backbone", "checkpoint", "--data", "digits", "--epochs", "1", "--out"]
    assert main([*words, "trained"]) == 0
    err = capsys.readouterr().err
    assert "normalised by the checkpoint" in err and "head: new, 3 outputs (the checkpoint's has 5)" in err
    start, trained = (load_checkpoint(Path(name)).model for name in ("checkpoint", "trained"))
    assert trained.config.exits == start.config.exits and trained.config.untrained == ()
    weights = [m.backbone.layers[1].layer.mlp.fc1.weight for m in (start, trained)]
    torch.testing.assert_close(weights[0], weights[1])
    # From a trained one: the exits that both have go on from its weights, the head stays.
    assert main(["train", "--backbone", "trained", *words[3:], "more", "--exits", "1:mlp,2:vit", "--lr", "1e-9"]) == 0
    err = capsys.readouterr().err
    assert "exits: 1:mlp go on from the checkpoint's weights" in err and "head: the checkpoint's own, kept" in err
    more = load_checkpoint(Path("more")).model
    assert [e.name for e in more.exits] == ["1:mlp", "2:vit", "3:head"]
    for ours, before in zip(more.branch(0).parameters(), trained.branch(0).parameters(), strict=True):
        torch.testing.assert_close(ours, before, atol=1e-6, rtol=0)
    for changes, said in (
        (["--image-size", "32"], "a checkpoint for 16x16 images"),
        (["--heads", "4"], "--heads is for a timm state dict"),
        (["--backbone", "vit.safetensors", "--heads", "4"], "no early exits given"),
        (["--code", "mine.py"], "this checkpoint's backbone is no Python code"),
    ):
        assert main([*words, "other", *changes]) == 2
        assert said in capsys.readouterr().err


def test_a_preprocessor_config_is_read_as_it_is_meant(here, capsys):
    import transformers

    transformers.utils.logging.disable_progress_bar()
    config = transformers.ViTConfig(
        hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=64, image_size=8, patch_size=4
    )
    transformers.ViTForImageClassification(config).save_pretrained("vit")
    for settings, mean, std in (
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}, [0.1, 0.2, 0.3], [1, 2, 3]),
        ({"do_normalize": False}, [0, 0, 0], [1, 1, 1]),
        ({"rescale_factor": 2 / 255, "image_mean": [1] * 3, "image_std": [1] * 3}, [0.5] * 3, [0.5] * 3),
        ({"do_rescale": False, "image_mean": [51] * 3, "image_std": [51] * 3}, [0.2] * 3, [0.2] * 3),
    ):
        Path("vit/preprocessor_config.json").write_text(json.dumps(settings | {"size": {"height": 16, "width": 20}}))
        assert main(["import", "vit", *EXITS, "--out", "checkpoint", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["normalisation"]["mean"] == pytest.approx(mean)
        assert facts["normalisation"]["std"] == pytest.approx(std)
        assert "--image 16x20 runs the model at that size" in facts["remarks"][0]
    Path("vit/preprocessor_config.json").write_text('{"image_mean": [0, 0, 0], "image_std": [0, 1, 1]}')
    assert main(["import", "vit", *EXITS, "--out", "other"]) == 2
    assert "normalise no image" in capsys.readouterr().err


def swin(here):
    """A Swin with stages of one block, whose grid no window divides."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    config = transformers.SwinConfig(
        image_size=22, patch_size=2, embed_dim=8, depths=[2, 1], num_heads=[1, 2], window_size=4, num_labels=10
    )
    transformers.SwinForImageClassification(config).save_pretrained("model")
    return "model", "2:vit"


def from_guide(here):
    """The CNN that the guide shows."""
    guide = (Path(__file__).parents[3] / "docs/guide/import.md").read_text()
    (here / "small_cnn.py").write_text(guide.partition("```python\n")[2].partition("```")[0])
    return "small_cnn.py:small_cnn", "1:mlp"


@pytest.mark.slow
@pytest.mark.usefixtures("quick_exports", "no_preflight")
@pytest.mark.parametrize(("source", "precision"), [(swin, "fp16"), (from_guide, "int8")])
def test_stages_and_maps_build_profile_and_run(source, precision, here, digits_file, capsys):
    import onnxruntime

    model, exits = source(here)
    assert main(["import", model, "--exits", exits, "--out", "checkpoint"]) == 0
    build = ["build", "checkpoint", "--data", digits_file, "--out", "bundle", "--precision", precision]
    assert main([*build, "--parity-frames", "2", "--quality-frames", "40"]) == 0
    assert "untrained, with random weights; what they answer is a guess" in capsys.readouterr().err
    bundle = Bundle.open("bundle")
    assert all(unit.dynamic_batch for unit in bundle.manifest.units)
    assert {unit.output.shape for unit in bundle.manifest.segments} != {bundle.manifest.segments[0].output.shape}
    checkpoint = load_checkpoint(Path("checkpoint")).model
    inputs = np.random.default_rng(0).normal(size=(3, *bundle.manifest.units[0].input.shape[1:])).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    with torch.no_grad():
        expected = checkpoint.segments()[0](torch.from_numpy(inputs)).numpy()
    session = onnxruntime.InferenceSession(str(bundle.file(bundle.manifest.units[0])), options)
    np.testing.assert_allclose(session.run(None, {"pixels": inputs})[0], expected, atol=1e-4)
    assert main(["profile", "bundle", "--out", "profile.json", "--rounds", "3", "--warm-up", "1"]) == 0
    np.savez("frames.npz", images=np.random.default_rng(0).integers(0, 256, (3, 30, 40, 3), dtype=np.uint8))
    run = ["run", "bundle", "--profile", "profile.json", "--data", "frames.npz", "--budget-ms", "1000", "--json"]
    capsys.readouterr()
    assert main(run) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["frames"] == 3


@pytest.mark.slow
@pytest.mark.usefixtures("quick_exports", "no_preflight")
def test_what_is_imported_builds_profiles_and_runs(here, digits_file, capsys):
    theirs = vit("Dinov2", classifiers=0, image_size=8)
    save(here / "m.pth", theirs.weights, "model")
    out, _ = imported(capsys, "--outputs", "10", "--json", model="m.pth")
    build, profile, _ = (
        shlex.split(line["command"].replace("DATA", digits_file).replace("BUNDLE", "bundle"))[1:]
        for line in json.loads(out)["next"]
    )
    assert main([*build, "--parity-frames", "4", "--quality-frames", "80"]) == 0
    capsys.readouterr()
    manifest = Bundle.open("bundle").manifest
    assert manifest.classes == tuple("0123456789") and manifest.parity.frames == 4
    assert main([*profile, "--rounds", "3", "--warm-up", "1"]) == 0
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    np.savez("frames.npz", images=frames)
    capsys.readouterr()
    run = ["run", "bundle", "--profile", "profile.json", "--data", "frames.npz", "--budget-ms", "1000", "--json"]
    assert main(run) == 0
    *answers, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert summary["summary"]["frames"] == len(frames)
    mean, std = (torch.tensor(v)[:, None, None] for v in (manifest.preprocessing.mean, manifest.preprocessing.std))
    model = load_checkpoint(Path("checkpoint")).model
    with torch.no_grad():
        expected = model((torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - mean) / std)
    names = [e.name for e in model.exits]
    for index, answer in enumerate(answers):
        assert answer["class"] == int(expected[names.index(answer["exit_name"])][index].argmax())
