"""Tokens of a frozen backbone after every layer, computed once and kept on disk in half precision."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jetson.errors import BadInput
from jetson.files import storage, write_file
from toolkit.data import DataSet
from toolkit.models.multi_exit import MultiExitModel
from toolkit.training.dataset import Frames

SPLITS = ("train", "calibration", "test")
CHUNK = 50
HALF = 65504.0
"""The largest number in half precision."""
Progress = Callable[[str, int, int], None]
"""Told the part, the images done and how many there are."""
TELL = 1000


@dataclass(frozen=True)
class Tokens:
    """Where the tokens of one part after one layer lie, and the targets that go with them."""

    file: Path
    targets: Tensor

    def load(self) -> np.ndarray:
        """Float16, (images, tokens, width): mapped, so worker processes share the pages; writing changes no file."""
        return np.load(self.file, mmap_mode="c")


class TokenStore:
    """A folder of tokens: for each part and layer one array. What is there is not computed again."""

    def __init__(self, folder: Path, model: MultiExitModel, data: DataSet) -> None:
        """Name the folder; only layers with an exit are stored.

        Args:
            folder: for these tokens alone.
            model: whose backbone is frozen.
            data: its three parts.

        Raises:
            BadInput: the folder holds the tokens of another backbone or other data.
        """
        self.folder, self.model, self.data = folder, model.eval(), data
        self.layers = sorted({e.layer for e in model.exits})
        found, here = folder / "tokens.json", json.dumps(self._facts(), indent=1) + "\n"
        with storage(folder):
            if found.exists() and found.read_text() != here:
                raise BadInput(f"{folder} holds the tokens of another backbone or other data; name another folder")
            folder.mkdir(parents=True, exist_ok=True)
        write_file(found, here)

    def at(self, split: str, layer: int) -> Tokens:
        """The tokens of a part after a layer, 1 to the depth."""
        targets = self.data.part(split).targets
        assert targets is not None
        return Tokens(self.folder / f"{split}-{layer:02}.npy", torch.from_numpy(targets))

    def compute(self, progress: Progress) -> None:
        """Run the backbone over every part whose tokens are not all there."""
        missing = [s for s in SPLITS if not all(self.at(s, layer).file.exists() for layer in self.layers)]
        shape = self.model.backbone.tokens
        images = sum(len(self.data.part(split)) for split in missing)
        needed = 2 * images * shape.count * shape.width * len(self.layers)
        with storage(self.folder):
            free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise BadInput(
                f"{self.folder}: the tokens take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; name another "
                "folder with --work, fewer --layers or a smaller --image-size"
            )
        for split in missing:
            self._compute(split, progress)

    def _compute(self, split: str, progress: Progress) -> None:
        part, backbone = self.data.part(split), self.model.backbone
        frames = Frames(part, self.model.config.preprocessing)
        shape = (len(part), backbone.tokens.count, backbone.tokens.width)
        temporary = {layer: self.folder / f".{split}-{layer:02}.part" for layer in self.layers}
        with storage(self.folder):
            arrays = {
                layer: np.lib.format.open_memmap(f, mode="w+", dtype=np.float16, shape=shape)
                for layer, f in temporary.items()
            }
        for start in range(0, len(part), CHUNK):
            chosen = range(start, min(start + CHUNK, len(part)))
            with torch.inference_mode():
                tokens = backbone.stem(frames.__getitems__(chosen)[0])
                for number, layer in enumerate(backbone.layers, start=1):
                    tokens = layer(tokens)
                    if number in arrays:
                        arrays[number][start : chosen.stop] = tokens.clamp(-HALF, HALF).numpy()
            if chosen.stop % TELL == 0 or chosen.stop == len(part):
                progress(split, chosen.stop, len(part))
        with storage(self.folder):
            for layer, array in arrays.items():
                array.flush()
                temporary[layer].replace(self.at(split, layer).file)

    def _facts(self) -> dict[str, object]:
        """What decides the tokens: the backbone's weights, the preprocessing, the images."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.backbone.state_dict().items()):
            if not name.startswith("head."):
                digest.update(name.encode())
                digest.update(value.detach().contiguous().numpy().tobytes())
        return {
            "backbone": digest.hexdigest(),
            "preprocessing": repr(self.model.config.preprocessing),
            "data": {split: self.data.part(split).sha256 for split in SPLITS},
        }
