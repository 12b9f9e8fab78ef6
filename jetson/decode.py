"""Reading a manifest, and the rules that its records keep between them.

Decoding is strict: an unknown key is an error that names it, and a newer format version is refused before anything
else is looked at.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import PurePosixPath

import msgspec

from jetson.beliefs import HELD_OUT
from jetson.errors import BundleError
from jetson.manifest import FORMAT, MAX_ELEMENTS, METRICS, READABLE, VERSION, Exit, Manifest, Unit

Demand = Callable[[bool, str], None]


def decode_manifest(content: bytes, where: str) -> Manifest:
    """Read and check a manifest.

    Args:
        content: the bytes of manifest.json.
        where: its path, for messages.

    Raises:
        BundleError: not JSON, another format, a newer version, an unknown key, or records that contradict each other.
    """
    try:
        head = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{where}: not valid JSON ({error}); the file is damaged, build or copy it again") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BundleError(f"{where}: not the manifest of an Offramp bundle")
    version = head.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(
            f"{where}: format version {version} is newer than this Offramp reads ({VERSION}); upgrade offramp here"
        )
    if version not in READABLE:
        raise BundleError(f"{where}: format version {version!r} is not one this Offramp reads ({VERSION})")
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{where}: {error}") from None
    _check(manifest, where)
    return msgspec.structs.replace(manifest, version=VERSION)


def _check(manifest: Manifest, where: str) -> None:
    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise BundleError(f"{where}: {what}")

    names = [u.name for u in manifest.units]
    demand(len(set(names)) == len(names), "two units have the same name")
    segments = manifest.segments
    demand(bool(segments) and bool(manifest.exits), "a bundle needs at least one segment and one exit")
    for unit in manifest.units:
        _check_unit(unit, demand)
        _check_fused(manifest, unit, demand)
    layers = [s.layer for s in segments]
    demand(layers == sorted(set(layers)), "the segments are not in the order of their layers")
    for before, after in itertools.pairwise(segments):
        demand(_fits(before, after), f"{after.name} does not fit behind {before.name}")
    _check_preprocessing(manifest, demand)
    for exit_ in manifest.exits:
        _check_exit(manifest, exit_, demand)
    order = [e.layer for e in manifest.exits]
    demand(order == sorted(order), "the exits are not in the order of their layers")
    demand(order[-1] == layers[-1], "the last segment leads to no exit")
    demand(len({e.name for e in manifest.exits}) == len(manifest.exits), "two exits have the same name")
    branches = sorted(u.name for u in manifest.units if u.kind == "branch")
    demand(branches == sorted(e.units[-1] for e in manifest.exits), "branches and exits are not one to one")
    if manifest.task == "classification":
        classes = manifest.classes or ()
        demand(len(classes) == manifest.outputs, "the number of classes is not the number of outputs")
    _check_joint(manifest, demand)
    _check_samples(manifest, demand)
    for plan in manifest.plans.values():
        there = len(plan) == len(manifest.units) and all(
            p in [v.precision for v in u.files] for p, u in zip(plan, manifest.units, strict=True)
        )
        demand(there, "the plan names a precision that a unit does not have")
        ran_in = dict(zip(names, plan, strict=True))
        together = all(ran_in[u.name] == ran_in[u.fused] for u in manifest.units if u.fused is not None)
        demand(together, "the plan parts a fused branch from its segment")
    kept = manifest.quantisation.kept if manifest.quantisation is not None else ()
    demand({k.unit for k in kept} <= set(names), "the quantisation speaks of a unit that is not there")


def _check_unit(unit: Unit, demand: Demand) -> None:
    for variant in unit.files:
        demand(_stays_inside(variant.file), f"the file {variant.file!r} of unit {unit.name} leaves the bundle")
        demand(_is_sha256(variant.sha256), f"the hash of unit {unit.name} is not a SHA-256")
    found = [v.precision for v in unit.files]
    demand(len(set(found)) == len(found), f"unit {unit.name} is there twice in one precision")
    for shape in (unit.input.shape, unit.output.shape):
        possible = bool(shape) and min(shape) > 0 and math.prod(shape) <= MAX_ELEMENTS
        demand(possible, f"unit {unit.name} has an impossible shape")


def _check_fused(manifest: Manifest, unit: Unit, demand: Demand) -> None:
    if unit.fused is None:
        return
    segment = next((s for s in manifest.segments if s.name == unit.fused), None)
    fits = unit.kind == "branch" and segment is not None and segment.layer == unit.layer
    demand(fits, f"{unit.name} is said to be fused into {unit.fused}, which is no segment that leads to it")
    assert segment is not None
    demand(
        unit.files == segment.files, f"the files of {unit.name} are not those of {segment.name}, which it is fused into"
    )
    found = [t.name for t in manifest.given(segment)]
    demand(len(set(found)) == len(found), f"two outputs of {segment.name} have the same name")


def _fits(before: Unit, after: Unit) -> bool:
    """Whether one unit reads what the other writes; names differ."""
    return (before.output.shape, before.output.dtype) == (after.input.shape, after.input.dtype)


def _check_preprocessing(manifest: Manifest, demand: Demand) -> None:
    p = manifest.preprocessing
    demand(min(p.height, p.width, p.channels) > 0, "the preprocessing has an empty shape")
    demand(len(p.mean) == len(p.std) == p.channels, "mean and std need one value per channel")
    usable = all(abs(m) <= 1e6 for m in p.mean) and all(1e-6 <= s <= 1e6 for s in p.std)
    demand(usable, "mean or std is not usable")
    first = manifest.segments[0].input
    fits = first.shape == (1, p.channels, p.height, p.width) and first.dtype == "float32"
    demand(fits, "the first segment does not take what the preprocessing makes")


def _check_exit(manifest: Manifest, exit_: Exit, demand: Demand) -> None:
    names = {u.name for u in manifest.units}
    demand(bool(exit_.units) and set(exit_.units) <= names, f"exit {exit_.name} names a unit that is not there")
    branch = manifest.unit(exit_.units[-1])
    demand(branch.kind == "branch", f"exit {exit_.name} does not end in a branch")
    before = tuple(s.name for s in manifest.segments if s.layer <= exit_.layer)
    demand(exit_.units[:-1] == before and bool(before), f"exit {exit_.name} does not run the segments up to its layer")
    last = manifest.unit(before[-1])
    demand(last.layer == branch.layer == exit_.layer, f"exit {exit_.name}: its layer is not its branch's and segment's")
    demand(_fits(last, branch), f"branch {branch.name} does not fit behind {last.name}")
    demand(branch.output.shape == (1, manifest.outputs), f"{branch.name} does not give {manifest.outputs} outputs")
    demand(bool(exit_.quality), f"exit {exit_.name} has no quality")
    metric = METRICS[manifest.task]
    _check_beliefs(manifest, exit_, demand)
    every = (*exit_.quality, *(q for found in exit_.variant_quality.values() for q in found))
    demand(all(q.metric == metric for q in every), f"the quality of exit {exit_.name} is not its {metric}")
    if manifest.task == "classification":
        usable = exit_.temperature is not None and 1e-3 <= exit_.temperature <= 1e3
        demand(usable, f"the temperature of exit {exit_.name} is not a number between 0.001 and 1000")
    else:
        demand(exit_.temperature is None, f"exit {exit_.name} has a temperature, which regression does not know")


def _check_beliefs(manifest: Manifest, exit_: Exit, demand: Demand) -> None:
    classify = manifest.task == "classification"
    posterior, interval = exit_.posterior, exit_.interval
    demand(classify or posterior is None, f"exit {exit_.name} has a posterior, which regression does not know")
    if posterior is not None:
        weights = (*posterior.alone, *(posterior.joined or ()))
        demand(all(abs(w) <= 1e6 for w in weights), f"the posterior of exit {exit_.name} is not usable")
    demand(not classify or interval is None, f"exit {exit_.name} has an interval, which classification does not know")
    if interval is not None:
        widths = interval.half_width
        usable = len(widths) == manifest.outputs and all(0 <= w < 1e30 for w in widths) and 0 < interval.level < 1
        demand(usable, f"the interval of exit {exit_.name} is not usable")
    for quality in (*exit_.quality, *(q for found in exit_.variant_quality.values() for q in found)):
        classes = quality.per_class
        fits = classes is None or (classify and len(classes) == manifest.outputs)
        demand(fits, f"the quality of exit {exit_.name} is not that of {manifest.outputs} classes")


def _check_joint(manifest: Manifest, demand: Demand) -> None:
    joint = manifest.joint
    if joint is None:
        return
    exits = len(manifest.exits)
    fits = len(joint.edges) == len(joint.n) == len(joint.value) == exits
    for edges, n, value in zip(joint.edges, joint.n, joint.value, strict=False):
        fits &= list(edges) == sorted(edges) and len(edges) + 1 == len(n) == len(value) and min(n) >= 0
        fits &= all(len(row) == exits and all(0 <= v < 1e30 for v in row) for row in value)
    demand(fits, "the joint table does not fit the exits")


def _check_samples(manifest: Manifest, demand: Demand) -> None:
    for role, samples in manifest.samples.items():
        demand(role in HELD_OUT, f"there are samples of {role!r}, which is none of {', '.join(HELD_OUT)}")
        demand(_stays_inside(samples.file), f"the file {samples.file!r} of the {role} samples leaves the bundle")
        demand(_is_sha256(samples.sha256), f"the hash of the {role} samples is not a SHA-256")
        demand(samples.n > 0, f"the {role} samples have no frames")


def _stays_inside(file: str) -> bool:
    path = PurePosixPath(file)
    inside = not path.is_absolute() and ".." not in path.parts and bool(path.parts)
    return inside and not set(file) & set("\\\0")


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
