"""`offramp version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import click

from jetson import __version__
from toolkit.cli.console import print_json, print_table
from toolkit.cli.options import JSON

PACKAGES = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt_rtx"),
    "pycuda": ("pycuda",),
    "cuda": ("cuda-bindings",),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "onnx": ("onnx",),
}
"""By what is imported, the distributions that may bring it."""


def found() -> dict[str, str | None]:
    """Versions of Offramp, of Python and of the packages it stands on, by their metadata: nothing is imported."""
    packages = {name: _installed(distributions) for name, distributions in PACKAGES.items()}
    system = f"{platform.system()} {platform.machine()}"
    return {"offramp": __version__, "python": platform.python_version(), "platform": system, **packages}


@click.command("version")
@JSON
def command(as_json: bool) -> None:
    """Print the versions of offramp, of Python and of the packages that it stands on."""
    versions = found()
    if as_json:
        print_json(versions)
    else:
        print_table("Versions", ["what", "version"], [[k, v or "not installed"] for k, v in versions.items()], left=2)


def _installed(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
