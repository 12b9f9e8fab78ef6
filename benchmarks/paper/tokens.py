"""Tokens of a frozen backbone after every layer, computed once and kept on disk in half precision."""

from __future__ import annotations

import hashlib
import json
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
Progress = Callable[[str, int, int], None]
"""Told the part, the images done and how many there are."""
TELL = 1000


@dataclass(frozen=True)
class Tokens:
    """Where the tokens of one part after one layer lie, and the targets that go with them."""

    file: Path
    targets: Tensor

    def load(self) -> np.ndarray:
        """Float16, (images, tokens, width), mapped rather than read."""
        return np.load(self.file, mmap_mode="r")


class TokenStore:
    """A folder of tokens: for each part and layer one array. What is there is not computed again."""

    def __init__(self, folder: Path, model: MultiExitModel, data: DataSet) -> None:
        """Name the folder.

        Args:
            folder: for these tokens alone.
            model: whose backbone is frozen.
            data: its three parts.

        Raises:
            BadInput: the folder holds the tokens of another backbone or other data.
        """
        self.folder, self.model, self.data = folder, model.eval(), data
        self.depth = model.backbone.depth
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
        for split in SPLITS:
            if not all(self.at(split, layer).file.exists() for layer in range(1, self.depth + 1)):
                self._compute(split, progress)

    def _compute(self, split: str, progress: Progress) -> None:
        part, backbone = self.data.part(split), self.model.backbone
        frames = Frames(part, self.model.config.preprocessing)
        shape = (len(part), backbone.tokens.count, backbone.tokens.width)
        temporary = [self.folder / f".{split}-{layer:02}.part" for layer in range(1, self.depth + 1)]
        with storage(self.folder):
            arrays = [np.lib.format.open_memmap(f, mode="w+", dtype=np.float16, shape=shape) for f in temporary]
        for start in range(0, len(part), CHUNK):
            chosen = range(start, min(start + CHUNK, len(part)))
            with torch.inference_mode():
                tokens = backbone.stem(frames.__getitems__(chosen)[0])
                for array, layer in zip(arrays, backbone.layers, strict=True):
                    tokens = layer(tokens)
                    array[start : chosen.stop] = tokens.clamp(-65504, 65504).numpy()
            if chosen.stop % TELL == 0 or chosen.stop == len(part):
                progress(split, chosen.stop, len(part))
        with storage(self.folder):
            for layer, (array, file) in enumerate(zip(arrays, temporary, strict=True), start=1):
                array.flush()
                file.replace(self.at(split, layer).file)

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
