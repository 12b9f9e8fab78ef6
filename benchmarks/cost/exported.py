"""Models that benchmarks run: exported anew, or kept in a folder from run to run, since that takes a minute each."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.cost.record import tell
from jetson.beliefs import Posterior
from jetson.bundle import MANIFEST, Bundle
from jetson.errors import BadInput

DEPTH = 12
POSTERIOR = Posterior(alone=(0.0, 1.0), joined=(0.0, 1.0, 0.5, 0.5))


def folder_option(parser: argparse.ArgumentParser) -> None:
    """Where models are kept."""
    parser.add_argument("--models", type=Path, help="folder to keep exported models in; a temporary one by default")


@contextlib.contextmanager
def folder_of(options: argparse.Namespace) -> Iterator[Path]:
    """The folder for models; what it is called is no setting of the figures."""
    kept: Path | None = options.models
    del options.models
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def check_even(parts: int) -> None:
    """Refuse a number of segments that layers cannot be dealt out to evenly.

    Raises:
        BadInput: it does not divide the depth.
    """
    if parts < 1 or DEPTH % parts:
        raise BadInput(f"{parts} exits do not lie evenly in {DEPTH} layers")


def cases_option(parser: argparse.ArgumentParser) -> None:
    """Which models, in what setting, and where they are kept."""
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small"], choices=("tiny", "small", "base"))
    parser.add_argument("--exits", nargs="+", type=int, default=[4, 12], help="divisors of 12")
    parser.add_argument("--threads", type=int, default=1, help="of the engines")
    parser.add_argument("--image", type=int, default=224, help="edge, pixels")
    parser.add_argument("--patch", type=int, default=16, help="edge, pixels")
    folder_option(parser)


def model_option(parser: argparse.ArgumentParser) -> None:
    """Which model."""
    parser.add_argument("--size", default="small", help="of the ViT: tiny, small or base")
    parser.add_argument("--image", type=int, default=224, help="edge of its input, pixels")
    parser.add_argument("--patch", type=int, default=16, help="edge of a patch, pixels")


def cut_model(folder: Path, size: str, cuts: int, image: int, patch: int) -> Path:
    """A ViT of 12 layers cut into segments of as many layers each, with an MLP exit after each but the last.

    Returns:
        The bundle's folder. Later exits are worth more, and they have posteriors.

    Raises:
        BadInput: so many segments do not lie evenly in its layers.
    """
    check_even(cuts)
    from benchmarks.models import cut_bundle, random_model
    from toolkit.models.config import ExitConfig

    made = folder / f"{size}-{image}-{patch}-{cuts}"
    if not (made / MANIFEST).exists():
        tell(f"exporting ViT-{size} in {cuts} segments")
        layers = range(DEPTH // cuts, DEPTH, DEPTH // cuts)
        exits = tuple(ExitConfig(layer=layer, architecture="mlp") for layer in layers)
        manifest = cut_bundle(random_model(size, image, patch, exits), made).manifest
        count = len(manifest.exits)
        believed = tuple(
            msgspec.structs.replace(
                e,
                quality=tuple(msgspec.structs.replace(q, value=0.5 + 0.4 * (i + 1) / count) for q in e.quality),
                posterior=POSTERIOR,
            )
            for i, e in enumerate(manifest.exits)
        )
        _write(made, msgspec.structs.replace(manifest, exits=believed))
    return made


def whole_model(folder: Path, size: str, image: int, patch: int) -> Path:
    """The same backbone and head in one graph; the folder of a bundle that `opened` takes."""
    from benchmarks.models import random_model, whole_bundle

    made = folder / f"{size}-{image}-{patch}-whole"
    if not (made / MANIFEST).exists():
        tell(f"exporting ViT-{size} as a whole")
        _write(made, whole_bundle(random_model(size, image, patch, ()), made).manifest)
    return made


def opened(folder: Path) -> Bundle:
    """A bundle as it was written, also one without exits."""
    from jetson.manifest import Manifest

    return Bundle(folder, msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest))


def _write(folder: Path, manifest: msgspec.Struct) -> None:
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
