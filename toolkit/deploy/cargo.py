"""What goes to every board: the files of a bundle, and Offramp itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jetson.bundle import MANIFEST, Bundle
from jetson.files import sha256_file
from toolkit.deploy import own_wheel


@dataclass(frozen=True)
class Item:
    """A file, known by its content."""

    path: Path
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> Item:
        """Hash a file."""
        return cls(path, sha256_file(path), path.stat().st_size)


@dataclass(frozen=True)
class Cargo:
    """All that is to be on a board in the end."""

    bundle: Bundle
    files: dict[str, Item]
    """Of the bundle, by the path in it."""
    offramp: Item

    @property
    def name(self) -> str:
        """The bundle's on the board."""
        return re.sub(r"[^\w.+-]", "_", self.bundle.path.resolve().name).lstrip(".") or "bundle"

    @property
    def identity(self) -> str:
        """Of this very bundle."""
        return self.files[MANIFEST].sha256

    @classmethod
    def pack(cls, bundle: Path, folder: Path) -> Cargo:
        """Open a bundle, every byte checked, and make a wheel of the Offramp that runs.

        Args:
            bundle: that is to be deployed.
            folder: to put the wheel.

        Raises:
            BundleError: it is none, or altered.
        """
        opened = Bundle.open(bundle)
        manifest = opened.manifest
        stated = [v for u in manifest.filed for v in u.files] + list(manifest.samples.values())
        files = {s.file: Item(opened.path / s.file, s.sha256, s.size_bytes) for s in stated}
        files[MANIFEST] = Item.of(opened.path / MANIFEST)
        return cls(opened, files, Item.of(own_wheel.write_wheel(folder)))


def total_bytes(items: Sequence[Item]) -> int:
    """Of all of them, each content once."""
    return sum({i.sha256: i.size_bytes for i in items}.values())
