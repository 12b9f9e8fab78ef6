"""ONNX Runtime, the packages of the base, and those of the development host."""

from __future__ import annotations

from importlib.metadata import Distribution, distributions

from jetson.doctor.check import Finding, State
from jetson.doctor.facts import Checks, Facts
from jetson.doctor.machine import Machine, plain

BASE = ("numpy", "msgspec", "click", "rich")
HOST = ("torch", "transformers", "onnx", "onnxscript", "scikit-learn", "scipy", "pillow", "jinja2")


def _onnxruntime(facts: Facts) -> Finding:
    tried, title = facts.onnxruntime, "ONNX Runtime"
    if tried.state == "ok":
        return _of("onnxruntime", title, "ok", tried.version or "its version is not told")
    if tried.state == "absent":
        return _of("onnxruntime", title, "missing", "ONNX Runtime is not installed", "pip install onnxruntime")
    mend = "pip install --force-reinstall onnxruntime"
    return _of("onnxruntime", title, "missing", f"ONNX Runtime cannot be loaded: {tried.why}", mend)


def _base(facts: Facts) -> Finding:
    versions = _versions(facts.machine)
    gone = [n for n in BASE if n not in versions]
    found = ", ".join(f"{n} {versions[n]}" for n in BASE if n in versions)
    if gone:
        found = ", ".join(filter(None, [found, *(f"{n} is not installed" for n in gone)]))
        return _of("base", "Base packages", "warning", found, f"pip install {' '.join(gone)}")
    return _of("base", "Base packages", "ok", found)


def _host(facts: Facts) -> Finding:
    versions = _versions(facts.machine)
    there, gone = [n for n in HOST if n in versions], [n for n in HOST if n not in versions]
    if not there:
        return _of("host", "For the host", "not here", "PyTorch and friends: only the development host needs them")
    found = ", ".join(f"{n} {versions[n]}" for n in there)
    if gone:
        found += f"; without {', '.join(gone)}, which only the development host needs"
    return _of("host", "For the host", "not here" if gone else "ok", found)


def _versions(machine: Machine) -> dict[str, str]:
    """Versions of what is installed, by name; where a package is there twice, the one that is imported."""
    found: dict[str, str] = {}
    for distribution in distributions(path=list(machine.modules)):
        name = _name(distribution)
        if name in (*BASE, *HOST):
            found.setdefault(name, plain(str(distribution.metadata["Version"]), 20))
    return found


def _name(distribution: Distribution) -> str:
    """Lower case, with hyphens; damaged metadata has none."""
    return str(distribution.metadata["Name"] or "").lower().replace("_", "-")


def _of(name: str, title: str, state: State, found: str, mend: str | None = None) -> Finding:
    return Finding(name=name, group="Engines", title=title, state=state, found=found, mend=mend)


CHECKS: Checks = {"onnxruntime": _onnxruntime, "base": _base, "host": _host}
