"""Your own model, trained without Offramp, gets early exits.

First comes what you have already: a Vision Transformer of the package transformers, trained by a loop of your own and
saved by `save_pretrained`. Then `offramp train` freezes it and trains two branches on it, and the rest is as ever. A
directory of your own goes into --model, with --data for what it was trained on; timm's files do as well.

    python examples/own_backbone.py
    python examples/own_backbone.py --model my-vit/ --data photos/ --exits 3:mlp,6:cnn-add
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from jetson.errors import OfframpError, missing_extra
from toolkit import data
from toolkit.cli import main as offramp


def main() -> None:
    """Train a model where none is given, then import it, train its branches, build, profile and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/own-backbone"), help="folder for what is made")
    parser.add_argument("--model", type=Path, help="a transformers directory or a timm file [default: trained here]")
    parser.add_argument("--data", default="digits", help="what the model was trained on")
    parser.add_argument("--exits", default="1:mlp,2:cnn-add")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--budget-ms", type=float, default=2.0)
    chosen = parser.parse_args()

    out, model = chosen.out, chosen.model or chosen.out / "model"
    if chosen.model is None and not (model / "config.json").is_file():
        train_with_transformers(model, chosen.epochs)
    exits, labelled = ("--exits", chosen.exits), ("--data", chosen.data)
    # What Offramp makes of the model, and what its exits would cost: nothing is trained yet.
    if not (out / "untrained").is_dir():
        run("import", model, *exits, "--out", out / "untrained")
    # The backbone stays as it is; only the branches learn. The model's own head is the last exit.
    run(
        "train",
        "--backbone",
        model,
        *exits,
        *labelled,
        "--epochs",
        str(chosen.epochs),
        "--threads",
        "1",
        "--out",
        out / "trained",
    )
    run("build", out / "trained", "--precision", "fp32", "--out", out / "bundle")
    run("profile", out / "bundle", "--seconds", "3", "--out", out / "profile.json")
    run("run", out / "bundle", "--profile", out / "profile.json", *labelled, "--budget-ms", str(chosen.budget_ms))


def train_with_transformers(folder: Path, epochs: int) -> None:
    """A small ViT for the digits, without a line of Offramp but for the images."""
    try:
        import torch
        from transformers import ViTConfig, ViTForImageClassification
    except ImportError as error:
        raise missing_extra(error.name or "torch", "host") from None

    digits = data.load("digits")
    torch.manual_seed(0)
    names = dict(enumerate(digits.classes or ()))
    size = {"hidden_size": 96, "num_attention_heads": 3, "num_hidden_layers": 4, "intermediate_size": 192}
    model = ViTForImageClassification(
        ViTConfig(
            **size,
            image_size=8,
            patch_size=4,
            num_channels=1,
            id2label=names,
            label2id={v: k for k, v in names.items()},
        )
    )
    # A transformers directory says in preprocessor_config.json how pixels were normalised; here as pixels / 255 - 0.5.
    pixels = (
        torch.stack([torch.from_numpy(image).float() for image in digits.train.images]).permute(0, 3, 1, 2) / 255 - 0.5
    )
    targets = torch.from_numpy(digits.train.targets)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for batch in torch.randperm(len(targets)).split(32):
            loss = model(pixel_values=pixels[batch], labels=targets[batch]).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"your own loop, epoch {epoch + 1}/{epochs}: loss {loss.item():.3f}", flush=True)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [1.0]}\n')


def run(*words: str | Path) -> None:
    """Run `offramp` with these words, as the command line would; stop where it fails."""
    arguments = [str(word) for word in words]
    print(f"\n$ offramp {shlex.join(arguments)}", flush=True)
    if code := offramp(arguments):
        sys.exit(code)


if __name__ == "__main__":
    try:
        main()
    except OfframpError as error:
        sys.exit(f"{error}")
