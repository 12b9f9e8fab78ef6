"""The folder of a bundle: what may be replaced there, its samples, and a manifest that is read back in time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from jetson.beliefs import SampleFile
from jetson.bundle import MANIFEST, Bundle
from jetson.errors import BadInput, BundleError
from jetson.files import storage, write_file
from jetson.manifest import FORMAT, Manifest
from jetson.samples import Samples
from toolkit.export.units import UNITS

SAMPLES = "samples"
"""The bundle's folder of what its exits answered."""
KINDS = {UNITS: ".onnx", SAMPLES: ".npz"}
"""Its folders, and what the files in each end in."""


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
        BadInput: something else lies in it, or among its units or samples.
    """
    with storage(out, "read"):
        foreign = sorted(f.name for f in out.iterdir() if f.name not in (MANIFEST, *KINDS)) if out.exists() else []
        for folder, suffix in KINDS.items():
            if (out / folder).is_dir():
                strange = (f for f in (out / folder).iterdir() if f.suffix != suffix or not f.is_file())
                foreign += sorted(f"{folder}/{f.name}" for f in strange)
    if foreign:
        raise BadInput(f"{out} holds other files than a bundle's ({foreign[0]}); {remedy}")


def write_samples(folder: Path, samples: Mapping[str, Samples]) -> dict[str, SampleFile]:
    """Write what the exits answered, a file for each role.

    Args:
        folder: of the bundle.
        samples: by role.

    Returns:
        What the manifest says of the files.

    Raises:
        StorageError: they cannot be written.
    """
    stated = {}
    for role, found in samples.items():
        file, content = f"{SAMPLES}/{role}.npz", found.encode()
        write_file(folder / file, content)
        digest = hashlib.sha256(content).hexdigest()
        stated[role] = SampleFile(file=file, sha256=digest, size_bytes=len(content), n=len(found))
    return stated


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and open the bundle as its readers will: one that they refuse must not replace a good one.

    Raises:
        BundleError: it is refused.
        StorageError: it cannot be written.
    """
    write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    bundle = Bundle.open(folder)
    for role in manifest.samples:
        bundle.samples(role)
