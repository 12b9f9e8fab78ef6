"""The data behind a report, as plain values for JSON."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from jetson.profiling.profile import LatencyProfile, Sketch
from jetson.scheduling.explain import explain
from jetson.scheduling.planner import Planner
from toolkit.report.comparison import Comparison
from toolkit.report.facts import tool_version
from toolkit.report.gather import Logged, Measured, Run
from toolkit.report.outlook import asked_budgets
from toolkit.report.plan_view import usual_budgets
from toolkit.report.readings import energy_mj

LEVELS = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}


def report_data(run: Run, compared: Comparison | None = None) -> dict[str, Any]:
    """What the page shows. A part that there is no data for is None or empty; a figure that is not known is None.

    Args:
        run: as it was gathered.
        compared: the policies, where they were compared.
    """
    found = {
        "offramp": tool_version(),
        "bundle": _bundle(run),
        "profiles": [_profile(m) for m in run.profiles],
        "budgets": [_budgets(run, m) for m in run.profiles] if run.bundle is not None else [],
        "policies": _policies(compared),
        "runs": [_run(m) for m in run.logs],
        "training": msgspec.to_builtins(run.history) if run.history is not None else None,
    }
    cleaned: dict[str, Any] = _finite(found)
    return cleaned


def _bundle(run: Run) -> dict[str, Any] | None:
    if run.bundle is None:
        return None
    manifest = run.bundle
    exits = [
        {
            "name": e.name,
            "layer": e.layer,
            "branch": e.architecture,
            "units": list(e.units),
            "parameters": sum(u.parameters for u in run.path_units(e)),
            "flops": sum(u.flops for u in run.path_units(e)),
            "quality": [_quality(q) for q in e.quality],
            "quality_in": {p: [_quality(q) for q in found] for p, found in e.variant_quality.items()},
            "calibration": [
                {"split": r.split, "n": r.n, "error_before": r.before, "error_after": r.after} for r in e.reliability
            ],
            "interval": msgspec.to_builtins(e.interval) if e.interval is not None else None,
            "temperature": e.temperature,
            "difference_to_pytorch": e.max_difference,
        }
        for e in manifest.exits
    ]
    units = [
        {
            "name": u.name,
            "kind": u.kind,
            "layer": u.layer,
            "parameters": u.parameters,
            "flops": u.flops,
            "files": [{"precision": v.precision, "size_bytes": v.size_bytes, "sha256": v.sha256} for v in u.files],
        }
        for u in manifest.units
    ]
    return {
        "identity": manifest.identity,
        "task": manifest.task,
        "classes": list(manifest.classes) if manifest.classes is not None else None,
        "exits": exits,
        "units": units,
        "int8": msgspec.to_builtins(manifest.quantisation) if manifest.quantisation is not None else None,
        "provenance": msgspec.to_builtins(manifest.provenance),
    }


def _quality(found: Any) -> dict[str, Any]:
    kept = ("metric", "split", "value", "low", "high", "level", "n")
    return {key: getattr(found, key) for key in kept}


def _profile(measured: Measured) -> dict[str, Any]:
    profile: LatencyProfile = measured.profile
    return {
        "label": measured.label,
        "file": str(measured.file),
        "created": profile.created,
        "device": msgspec.to_builtins(profile.device),
        "engine": msgspec.to_builtins(profile.engine),
        "start": msgspec.to_builtins(profile.start),
        "end": msgspec.to_builtins(profile.end),
        "power_w": profile.power_w,
        "exits": [
            {"name": e.name, "ms": _sketch(e.end_to_end_ms), "energy_mj": energy_mj(profile, e.name)}
            for e in profile.exits
        ],
        "units": [
            {"name": name, "precision": u.precision, "host_ms": _sketch(u.host_ms)} for name, u in profile.units.items()
        ],
    }


def _sketch(sketch: Sketch) -> dict[str, Any]:
    return {"n": sketch.n, "mean": sketch.mean} | {
        name: float(sketch.quantile(level)) for name, level in LEVELS.items()
    }


def _budgets(run: Run, measured: Measured) -> dict[str, Any]:
    """What the slider knows, and the way through the tables for the page's three budgets."""
    planner = Planner(run.manifest, measured.profile, run.samples)
    asked = [explain(planner, ms).to_dict() for ms in asked_budgets(measured.profile)]
    return {
        "profile": measured.label,
        "expected": [{k: v for k, v in told.items() if k not in ("steps", "replay")} for told in asked],
        "explained": [explain(planner, ms).to_dict() for ms in usual_budgets(measured.profile)],
    }


def _policies(compared: Comparison | None) -> dict[str, Any] | None:
    if compared is None:
        return None
    return {"frames": compared.frames, "images": compared.images, "scenarios": compared.figures}


def _run(logged: Logged) -> dict[str, Any]:
    log = logged.log
    return {
        "label": logged.label,
        "file": str(logged.file),
        "frames": len(log.frames),
        "exits": log.used(log.exits),
        "summary": log.summary,
    }


def _finite(value: Any) -> Any:
    """Without what JSON cannot say."""
    if isinstance(value, float) or type(value).__module__ == "numpy":
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
