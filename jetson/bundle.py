"""A bundle on disk: open it, check every byte of it, find its units and its samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jetson.beliefs import SampleFile
from jetson.decode import decode_manifest
from jetson.errors import BundleError
from jetson.files import sha256_files, storage
from jetson.manifest import Manifest, Precision, Unit, Variant
from jetson.samples import Samples
from jetson.samples import decode as decode_samples

MANIFEST = "manifest.json"


class Bundle:
    """An opened bundle whose manifest is consistent and whose files are the ones the manifest names."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Bundle:
        """Read the bundle at `path`.

        Args:
            path: the bundle's folder.
            verify: hash every file (on by default; a damaged unit is refused before an engine sees it).

        Raises:
            BundleError: not a bundle, a missing, truncated or altered file, or a manifest that cannot be used.
            StorageError: the folder cannot be read.
        """
        folder = Path(path)
        file = folder / MANIFEST
        with storage(folder, "read"):
            if not file.is_file():
                what = "there is no such folder" if not folder.exists() else f"no {MANIFEST} in it"
                raise BundleError(
                    f"{folder}: not a bundle ({what}); make one with: offramp build CHECKPOINT --out BUNDLE"
                )
            content = file.read_bytes()
        bundle = cls(folder, decode_manifest(content, str(file)))
        for name, stated in bundle._files():
            with storage(folder / stated.file, "read"):
                bundle._check_file(name, stated)
        with storage(folder, "read"):
            bundle._check_strangers()
        if verify:
            bundle.verify()
        return bundle

    def verify(self) -> None:
        """Hash every file, for who opened the bundle without.

        Raises:
            BundleError: one was altered.
            StorageError: one cannot be read.
        """
        self._check_hashes(self._files())

    def file(self, unit: Unit, precision: Precision | None = None) -> Path:
        """Where the ONNX file of `unit` lies, in its own precision or another.

        Raises:
            BundleError: the bundle does not hold the unit in that precision.
        """
        return self.path / (unit.file if precision is None else unit.at(precision).file)

    def samples(self, role: str) -> Samples | None:
        """What every exit answers on the frames of `fit`, `select` or `test`; None when the bundle does not tell.

        Raises:
            BundleError: the file is missing, altered, or not what it should be.
            StorageError: it cannot be read.
        """
        manifest = self.manifest
        stated = manifest.samples.get(role)
        if stated is None:
            return None
        file = self.path / stated.file
        with storage(file, "read"):
            self._check_file(f"the {role} samples", stated)
            self._check_hashes([(f"the {role} samples", stated)])
            content = file.read_bytes()
        found = decode_samples(content, str(file), manifest.task, len(manifest.exits), manifest.outputs)
        if len(found) != stated.n:
            raise BundleError(f"{file}: holds {len(found)} frames and should hold {stated.n}; build the bundle again")
        return found

    def _files(self) -> list[tuple[str, Variant | SampleFile]]:
        """Every file that the manifest names, and what messages call its content."""
        units: list[tuple[str, Variant | SampleFile]]
        units = [(f"unit {u.name}", v) for u in self.manifest.filed for v in u.files]
        return units + [(f"the {role} samples", s) for role, s in self.manifest.samples.items()]

    def _check_file(self, name: str, stated: Variant | SampleFile) -> None:
        file = self.path / stated.file
        # realpath, because Path.resolve raises RuntimeError when links go in a circle.
        if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(self.path)):
            raise BundleError(f"{file}: the file of {name} leaves the bundle")
        if not file.is_file():
            raise BundleError(f"{file}: the file of {name} is missing; build or copy the bundle again")
        size = file.stat().st_size
        if size != stated.size_bytes:
            raise BundleError(
                f"{file}: {name} has {size} bytes and should have {stated.size_bytes}; "
                "the file is truncated or altered, build or copy the bundle again"
            )

    def _check_hashes(self, files: Sequence[tuple[str, Variant | SampleFile]]) -> None:
        paths = [self.path / stated.file for _, stated in files]
        for (name, stated), path, found in zip(files, paths, sha256_files(paths), strict=True):
            if found != stated.sha256:
                raise BundleError(f"{path}: {name} was altered (its SHA-256 differs); build or copy it again")

    def _check_strangers(self) -> None:
        """A graph may name a file beside it that holds its weights; no such file would have been hashed."""
        files = [self.path / stated.file for _, stated in self._files()]
        known = {os.path.realpath(f) for f in files}
        known.add(os.path.realpath(self.path / MANIFEST))
        for folder in {f.parent for f in files}:
            for file in sorted(folder.iterdir()):
                if not file.is_dir() and os.path.realpath(file) not in known:
                    raise BundleError(f"{file}: the manifest does not name this file; remove it, or build again")
