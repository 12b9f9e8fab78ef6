"""Machines made of a few files, so that a test sees a Jetson where there is none."""

from pathlib import Path

import pytest

from jetson.doctor.facts import Facts
from jetson.doctor.machine import Machine
from tests.jetson.doctor.machines import NO_CUDA, NO_TENSORRT, ONNXRUNTIME


@pytest.fixture
def make(tmp_path):
    """A function that makes a machine of files and of tools, each a shell script."""

    def machine(files=(), tools=(), **options):
        root = tmp_path / "root"
        (root / "bin").mkdir(parents=True, exist_ok=True)
        for name, content in dict(files).items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        for name, script in dict(tools).items():
            tool = root / "bin" / name
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)
        defaults = {
            "tools": str(root / "bin"),
            "cache": tmp_path / "cache",
            "modules": (),
            "prefix": Path("/usr"),
            "base_prefix": Path("/usr"),
            "python": (3, 10),
        }
        return Machine(root=root, **{**defaults, **options})

    return machine


@pytest.fixture
def facts(make):
    """A function that puts a machine and what its libraries said together."""

    def about(files=(), tools=(), cuda=None, tensorrt=None, onnxruntime=ONNXRUNTIME, **options):
        return Facts(
            machine=make(files, tools, **options),
            cuda={**NO_CUDA, **(cuda or {})},
            tensorrt={**NO_TENSORRT, **(tensorrt or {})},
            onnxruntime=onnxruntime,
        )

    return about


@pytest.fixture
def say():
    """A shell script that prints a text as it is."""
    return lambda text: f"cat <<'END'\n{text}\nEND"
