"""Everything a report shows, read from a run folder and checked to belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jetson.bundle import Bundle
from jetson.errors import BadInput, ProfileError
from jetson.manifest import Exit, Manifest, Quality, Unit
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import ExitLatency, LatencyProfile
from jetson.samples import Samples
from toolkit.report.frames import FrameLog, read_frames
from toolkit.report.history import History, read_history
from toolkit.report.palette import Style, style_of

BUNDLE = "bundle"
PROFILE = "profile.json"
FRAMES = "frames.jsonl"
TRAINING = Path("checkpoint") / "training.json"


@dataclass(frozen=True)
class Run:
    """One run folder. `frames` and `history` are None where the run has none."""

    path: Path
    manifest: Manifest
    profile: LatencyProfile
    frames: FrameLog | None
    history: History | None
    samples: Mapping[str, Samples] = field(default_factory=dict)
    """What the bundle records of its answers, by role; the planner learns from `fit` and `select` alone."""

    @property
    def styles(self) -> dict[str, Style]:
        """How each exit looks, by name."""
        return {e.name: style_of(i, e.name) for i, e in enumerate(self.manifest.exits)}

    @property
    def device_line(self) -> str:
        """The device in a few words: board or machine, processor, GPU."""
        device = self.profile.device
        cores = f"{device.cores} core{'s' if device.cores != 1 else ''}"
        parts = (device.board or device.machine, f"{device.processor} ({cores})", device.gpu)
        return ", ".join(part for part in parts if part)

    @property
    def engine_line(self) -> str:
        """The engine, its version and its threads."""
        engine = self.profile.engine
        return f"{engine.name} {engine.version}, {engine.threads} thread{'s' if engine.threads != 1 else ''}"

    def exit_latency(self, exit_: Exit) -> ExitLatency:
        """The measured latency of `exit_`."""
        return next(e for e in self.profile.exits if e.name == exit_.name)

    def path_units(self, exit_: Exit) -> list[Unit]:
        """The units that run when inference goes straight to `exit_`."""
        return [self.manifest.unit(name) for name in exit_.units]

    @property
    def shown_split(self) -> str:
        """The split whose quality the chart shows: `test` where every exit has it, else what the scheduler uses."""
        exits = self.manifest.exits
        return "test" if all(any(q.split == "test" for q in e.quality) for e in exits) else exits[0].quality[0].split

    def shown_quality(self, exit_: Exit) -> Quality:
        """The quality of `exit_` on `shown_split`."""
        return next((q for q in exit_.quality if q.split == self.shown_split), exit_.quality[0])


def gather(path: Path) -> Run:
    """Read the run at `path`.

    Raises:
        BadInput: there is no run at `path`.
        BundleError: its bundle is missing or damaged.
        ProfileError: its profile is missing, damaged, or was measured on another bundle.
        DataError: its frame log or training history cannot be read.
        StorageError: a file cannot be read.
    """
    bundle, profile = path / BUNDLE, path / PROFILE
    if not bundle.exists() and not profile.exists():
        what = f"no {BUNDLE}/ and no {PROFILE} in it" if path.is_dir() else "there is no such folder"
        raise BadInput(
            f"{path}: not a run ({what}); make one with: offramp demo --out {path}, "
            f"or: offramp build CHECKPOINT --out {bundle} and offramp profile {bundle} --out {profile}"
        )
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    latency = LatencyProfile.load(profile)
    check_profile(profile, latency, manifest, bundle)
    frames, history = path / FRAMES, path / TRAINING
    return Run(
        path=path,
        manifest=manifest,
        profile=latency,
        frames=read_frames(frames, tuple(e.name for e in manifest.exits)) if frames.exists() else None,
        history=read_history(history) if history.exists() else None,
        samples={role: found for role in ("fit", "select", "test") if (found := opened.samples(role)) is not None},
    )


def check_profile(file: Path, profile: LatencyProfile, manifest: Manifest, bundle: Path) -> None:
    """Refuse a profile of another bundle; the device may be any.

    Args:
        file: of the profile.
        profile: read from it.
        manifest: of the bundle.
        bundle: its folder.

    Raises:
        ProfileError: what differs, and the command that makes the right profile.
    """
    again = f"measure again with: offramp profile {bundle} --out {file}"
    if not speaks_of(profile, manifest):
        raise ProfileError(
            f"{file}: measured on bundle {profile.bundle[:12]}, and this one is {manifest.identity[:12]}; {again}"
        )
    missing = [u.name for u in manifest.units if u.name not in profile.units]
    measured = {e.name for e in profile.exits}
    missing += [e.name for e in manifest.exits if e.name not in measured]
    if missing:
        raise ProfileError(f"{file}: no latency of {', '.join(missing)}; {again}")
