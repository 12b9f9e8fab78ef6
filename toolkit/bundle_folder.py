"""The folder of a bundle: what may be replaced there, and a manifest that is read back before it replaces another."""

from __future__ import annotations

from pathlib import Path

import msgspec

from jetson.bundle import MANIFEST, Bundle
from jetson.errors import BadInput, BundleError
from jetson.files import storage, write_file
from jetson.manifest import FORMAT, Manifest
from toolkit.export.units import UNITS


def old_bundle(out: Path) -> Bundle | None:
    """The bundle in place; None when there is none, or a damaged one that is to be replaced.

    Raises:
        BadInput: something else is there.
    """
    with storage(out, "read"):
        if not out.exists():
            return None
        if not out.is_dir() or (any(out.iterdir()) and not _has_our_manifest(out)):
            raise BadInput(f"{out} is there already and is no bundle; choose another --out or remove it")
    try:
        return Bundle.open(out)
    except BundleError:
        return None


def _has_our_manifest(out: Path) -> bool:
    """Whether there is a manifest and it is, or was before it was damaged, ours: others use that name too."""
    file = out / MANIFEST
    return file.is_file() and FORMAT.encode() in file.read_bytes()


def refuse_to_lose_files(out: Path, remedy: str) -> None:
    """The folder of a bundle is replaced as a whole; what is no part of it would be lost.

    Raises:
        BadInput: something else lies in it, or among its units.
    """
    with storage(out, "read"):
        foreign = sorted(f.name for f in out.iterdir() if f.name not in (MANIFEST, UNITS)) if out.exists() else []
        if (out / UNITS).is_dir():
            strange = (f for f in (out / UNITS).iterdir() if f.suffix != ".onnx" or not f.is_file())
            foreign += sorted(f"{UNITS}/{f.name}" for f in strange)
    if foreign:
        raise BadInput(f"{out} holds other files than a bundle's ({foreign[0]}); {remedy}")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and open the bundle as its readers will: one that they refuse must not replace a good one.

    Raises:
        BundleError: it is refused.
        StorageError: it cannot be written.
    """
    write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    Bundle.open(folder)
