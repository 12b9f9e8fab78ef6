"""The Offramp that runs here, checkout or installed package, as a wheel: the same content gives the same bytes."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

import calibration
import jetson
import toolkit
from jetson.errors import BadInput

PACKAGES = (toolkit, jetson, calibration)
EPOCH = (1980, 1, 1, 0, 0, 0)
WHEEL = "Wheel-Version: 1.0\nGenerator: offramp\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def requirements() -> list[Requirement]:
    """What Offramp needs on a device: its requirements without extras.

    Raises:
        BadInput: it runs from a folder and was never installed, so that nobody knows.
    """
    try:
        lines = importlib.metadata.requires("offramp") or []
    except importlib.metadata.PackageNotFoundError:
        raise BadInput("offramp is not installed here, so what it needs is not known: pip install -e .") from None
    found = [Requirement(line) for line in lines]
    return [r for r in found if r.marker is None or "extra" not in str(r.marker)]


def write_wheel(folder: Path) -> Path:
    """Pack it.

    Args:
        folder: to write it to; the name is the wheel's to choose.
    """
    name = f"offramp-{jetson.__version__}"
    head = f"Metadata-Version: 2.1\nName: offramp\nVersion: {jetson.__version__}\n"
    metadata = head + "".join(f"Requires-Dist: {r}\n" for r in requirements())
    files = {file: content for package in PACKAGES for file, content in _files(package.__file__)}
    files |= {f"{name}.dist-info/METADATA": metadata.encode(), f"{name}.dist-info/WHEEL": WHEEL.encode()}
    record = "".join(f"{file},sha256={_digest(content)},{len(content)}\n" for file, content in files.items())
    files[f"{name}.dist-info/RECORD"] = f"{record}{name}.dist-info/RECORD,,\n".encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file, EPOCH)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    path = folder / f"{name}-py3-none-any.whl"
    path.write_bytes(stream.getvalue())
    return path


def _files(init: str | None) -> list[tuple[str, bytes]]:
    assert init is not None
    folder = Path(init).parent
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".pyc"]
    return [(p.relative_to(folder.parent).as_posix(), p.read_bytes()) for p in found]


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
