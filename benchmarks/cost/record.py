"""How every benchmark here begins and ends: options, progress, and one JSON file of figures and how they came."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jetson.errors import BadInput
from jetson.files import storage, write_file
from jetson.profiling.device import available_cores

RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Recorded:
    """A benchmark's file."""

    name: str
    settings: dict[str, Any]
    """Its options, but for the file."""
    machine: dict[str, Any]
    figures: dict[str, Any]


def parser_for(name: str, text: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark has.

    Args:
        name: of the module.
        text: what it says of itself.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.cost.{name}", description=text)
    parser.add_argument("--out", type=Path, default=RESULTS / f"cost-{name}.json", help="file of figures to write")
    return parser


def record(name: str, options: argparse.Namespace, figures: dict[str, Any]) -> Recorded:
    """Write the figures, with the options that gave them and the machine."""
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    machine = {"processor": _processor(), "cores": available_cores(), "python": platform.python_version()}
    found = Recorded(name, settings, machine | versions("numpy", "onnxruntime"), figures)
    write_file(options.out, json.dumps(msgspec.to_builtins(found), indent=1) + "\n")
    print(f"-> {options.out}")
    return found


def versions(*packages: str) -> dict[str, str]:
    """Of packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read(file: Path) -> Recorded:
    """Read a benchmark's file.

    Raises:
        BadInput: it is not there, or it is another file.
        StorageError: it cannot be read.
    """
    name = file.stem.removeprefix("cost-")
    with storage(file, "read"):
        if not file.exists():
            raise BadInput(f"{file} is not there; make it with: python -m benchmarks.cost.{name}")
        content = file.read_bytes()
    try:
        return msgspec.json.decode(content, type=Recorded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: not the figures of benchmarks.cost.{name} ({error})") from None


def command(recorded: Recorded) -> str:
    """The command that made the figures."""
    words = [f"python -m benchmarks.cost.{recorded.name}"]
    for key, value in recorded.settings.items():
        option = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif value is not None:
            words += [option, *map(str, value if isinstance(value, list) else [value])]
    return " ".join(words)


def setting(recorded: Recorded) -> str:
    """Where it ran, in half a sentence."""
    machine = recorded.machine
    known = ", ".join(f"{k} {machine[k]}" for k in ("onnxruntime", "torch") if k in machine)
    return f"{machine['processor']}, {machine['cores']} cores, {known}"


def spread(values: Sequence[float]) -> list[float]:
    """Median, 10 % and 90 % quantile."""
    return [round(float(v), 6) for v in np.quantile(values, (0.5, 0.1, 0.9))]


def tell(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def in_process(function: Callable[..., Any], *arguments: Any, environment: dict[str, str] | None = None) -> Any:
    """Call a module's function in a new process and give what it returns: for what a process can do but once.

    Args:
        function: of a module.
        arguments: that can be pickled.
        environment: variables of the new process, beside this one's.
    """
    import concurrent.futures
    import multiprocessing

    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)
