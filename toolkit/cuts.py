"""Where a build cuts and what it fuses: the options, the decision, and the lines that state both."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jetson.bundle import Bundle
from jetson.cutting import Choice, Cutting
from jetson.errors import BadInput, ProfileError
from jetson.files import storage
from jetson.manifest import Manifest
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import LatencyProfile

if TYPE_CHECKING:
    from toolkit.export.cut import ExitPlan, UnitPlan
    from toolkit.models.multi_exit import MultiExitModel

AUTO, ALL, NONE = "auto", "all", "none"


@dataclass(frozen=True)
class CutSettings:
    """What the user says of cuts."""

    exits: str | None = None
    """Early exits to build, `LAYER:BRANCH,...`; all of the checkpoint's when None."""
    cuts: str = AUTO
    """`auto`: after the layers with an exit; `all`: after every layer; else layers to cut after."""
    profile: Path | None = None
    """Measured on the bundle in place, with every branch apart; decides which branches are fused."""
    fuse: str | None = None
    """Exits whose branch is fused, `LAYER:BRANCH,...`, or `none`; as the profile says when None."""

    @property
    def facts(self) -> tuple[str, ...]:
        """What a build depends on; nothing when all is as by default.

        Raises:
            StorageError: the profile cannot be read.
        """
        if self == CutSettings():
            return ()
        measured = ""
        if self.profile is not None:
            LatencyProfile.load(self.profile)
            with storage(self.profile, "read"):
                measured = hashlib.sha256(self.profile.read_bytes()).hexdigest()
        return (*(repr(words(v)) for v in (self.exits, self.cuts, self.fuse)), measured)


@dataclass(frozen=True)
class Cuts:
    """A model, cut."""

    plans: list[UnitPlan]
    exits: list[ExitPlan]
    record: Cutting
    remarks: tuple[str, ...]


def words(text: str | None) -> tuple[str, ...] | None:
    """The parts of a list between commas, each once; None for None."""
    return None if text is None else tuple(dict.fromkeys(p.strip() for p in text.split(",") if p.strip()))


def only(model: MultiExitModel, exits: str | None) -> MultiExitModel:
    """The model with some of its early exits.

    Raises:
        BadInput: it has no such exit, or none is named.
    """
    wanted = words(exits)
    if wanted is None:
        return model
    early = [e.name for e in model.config.exits]
    if not wanted or not set(wanted) <= set(early):
        unknown = next((w for w in wanted if w not in early), "")
        raise BadInput(f"--exits {unknown or exits!r}: the checkpoint's early exits are {', '.join(early) or 'none'}")
    return model.only([early.index(name) for name in early if name in wanted])


def layers_of(cuts: str, model: MultiExitModel) -> tuple[int, ...]:
    """The layers that a model is cut after.

    Raises:
        BadInput: no list of layers, a layer that is not there, or an exit lies after one that is not named.
    """
    depth = model.backbone.depth
    if cuts == AUTO:
        return model.cuts
    if cuts == ALL:
        return tuple(range(1, depth + 1))
    found = words(cuts) or ()
    if not found or not all(w.isascii() and w.isdigit() and 1 <= int(w[:9]) <= depth for w in found):
        raise BadInput(f"--cuts {cuts}: give auto, all, or layers between 1 and {depth}, e.g. 2,4")
    layers = {*map(int, found), depth}
    for exit_ in model.exits:
        if exit_.layer not in layers:
            raise BadInput(
                f"--cuts {cuts}: exit {exit_.name} needs a cut after layer {exit_.layer}; name that layer too"
            )
    return tuple(sorted(layers))


def cut_model(model: MultiExitModel, settings: CutSettings, old: Bundle | None) -> Cuts:
    """Cut a model as the settings say.

    Args:
        model: with the exits that are wanted.
        settings: of the user.
        old: the bundle in place, that a profile may speak of.

    Raises:
        BadInput: options that do not fit the model.
        ProfileError: the profile speaks of something else than this model cut so, with every branch apart.
    """
    from toolkit.export.cut import cut

    layers = layers_of(settings.cuts, model)
    names = [e.name for e in model.exits]
    named = () if settings.fuse == NONE else words(settings.fuse)
    if named is not None and not set(named) <= set(names):
        unknown = next(w for w in named if w not in names)
        raise BadInput(f"--fuse {unknown}: the exits are {', '.join(names)}; give some of them, or none")
    plans, exits = cut(model, layers)
    choices: tuple[Choice, ...] = ()
    measured = None
    if settings.profile is not None:
        profile = LatencyProfile.load(settings.profile)
        choices = _decided(settings.profile, profile, old, plans, exits)
        measured = profile.bundle
    if named is not None:
        choices = tuple(
            _overruled(c, fused=e.name in named) for c, e in zip(choices or _apart(exits), exits, strict=True)
        )
    fused = [e.name for c, e in zip(choices, exits, strict=False) if c.fused]
    if fused:
        plans, exits = cut(model, layers, fused)
    merged = tuple(layer for layer in range(1, model.backbone.depth) if layer not in layers)
    record = Cutting(asked=settings.cuts, merged=merged, profile=measured, choices=choices)
    return Cuts(plans, exits, record, told(record, layers))


def _decided(
    file: Path, profile: LatencyProfile, old: Bundle | None, plans: Sequence[UnitPlan], exits: Sequence[ExitPlan]
) -> tuple[Choice, ...]:
    from toolkit.fusing import decide

    if old is None or not _measured_on(profile, old.manifest, plans):
        raise ProfileError(
            f"{file}: not measured on the bundle at --out with every branch apart, or that is no longer what is built; "
            "build without --profile, measure that with offramp profile, then build with --profile"
        )
    samples = {role: found for role in ("fit", "select") if (found := old.samples(role)) is not None}
    return decide(old.manifest, profile, samples)


def _measured_on(profile: LatencyProfile, before: Manifest, plans: Sequence[UnitPlan]) -> bool:
    """Whether a profile speaks of these units, each apart: by the bundle in place, or what that one was made of."""
    names = {u.name for u in before.units}
    if names != {p.name for p in plans} or names != set(profile.units):
        return False
    if len(before.filed) == len(before.units):
        return speaks_of(profile, before) and {u.source for u in before.units} == {p.source for p in plans}
    if before.cutting is None or before.cutting.profile != profile.bundle:
        return False
    return {u.source for u in before.units} == {p.source for p in _fused_as(before, plans)}


def _fused_as(before: Manifest, plans: Sequence[UnitPlan]) -> list[UnitPlan]:
    from toolkit.export.cut import together

    into = {u.name: u.fused for u in before.units}
    return [together(p, [b for b in plans if into[b.name] == p.name]) if p.kind == "segment" else p for p in plans]


def _apart(exits: Sequence[ExitPlan]) -> list[Choice]:
    return [Choice(branch=e.units[-1], segment=e.units[-2], fused=False, reason="") for e in exits]


def _overruled(choice: Choice, fused: bool) -> Choice:
    said = f"--fuse says so ({choice.reason})" if choice.reason else "--fuse says so"
    return msgspec.structs.replace(choice, fused=fused, reason=said)


def told(record: Cutting, layers: Collection[int]) -> tuple[str, ...]:
    """Both choices, a line each, and one for every branch that was weighed."""
    inner = sorted(layers)[:-1]
    lines = [f"cut after {_layers(inner)}" if inner else "not cut: no early exit lies before the last layer"]
    if record.merged:
        lines[0] += f"; not after {_layers(record.merged)}: no exit lies there, so the segments are merged"
    lines += [told_of(c) for c in record.choices]
    if not record.choices:
        lines.append(
            "no branch is fused into its segment: whether that pays is told by a profile of this bundle "
            "(offramp profile, then build with --profile)"
        )
    return tuple(lines)


def told_of(choice: Choice) -> str:
    """One branch's line."""
    done = f"is fused into {choice.segment}" if choice.fused else f"stays apart from {choice.segment}"
    if choice.boundary_ms is None or choice.skipping_ms is None:
        return f"{choice.branch} {done}: {choice.reason}"
    return (
        f"{choice.branch} {done}: its boundary costs {1e3 * choice.boundary_ms:.1f} µs a frame, skipping it saves "
        f"{1e3 * choice.skipping_ms:.1f} µs; {choice.reason}"
    )


def _layers(layers: Sequence[int]) -> str:
    *most, last = map(str, layers)
    return f"layers {', '.join(most)} and {last}" if most else f"layer {last}"
