"""Everything a report shows, read from files and checked to belong together. Each part may be missing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from jetson.bundle import Bundle
from jetson.errors import BadInput, ProfileError
from jetson.files import storage
from jetson.manifest import Exit, Manifest, Quality, Unit
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import FORMAT, ExitLatency, LatencyProfile
from jetson.samples import Samples
from toolkit.report.frames import FrameLog, read_frames
from toolkit.report.history import History, read_history
from toolkit.report.naming import log_names, profile_names
from toolkit.report.palette import Style, style_of

BUNDLE = "bundle"
PROFILE = "profile.json"
FRAMES = "frames.jsonl"
TRAINING = Path("checkpoint") / "training.json"
PROFILES = ("profile*.json", "profiles/*.json")
LOGS = ("frames*.jsonl", "frames/*.jsonl")
"""What is taken from a run's folder."""


@dataclass(frozen=True)
class Measured:
    """A profile, and what sets it apart from the others."""

    label: str
    file: Path
    profile: LatencyProfile


@dataclass(frozen=True)
class Logged:
    """The frames of one `offramp run`, and what sets them apart from the others."""

    label: str
    file: Path
    log: FrameLog


@dataclass(frozen=True)
class Parts:
    """Files of a report beside those of a run's folder."""

    bundle: Path | None = None
    profiles: Sequence[Path] = ()
    """Files, or folders of them."""
    frames: Sequence[Path] = ()


@dataclass(frozen=True)
class Run:
    """What there is. A run's folder has all of it; `history` is None where nothing says how the model was trained."""

    path: Path
    bundle: Manifest | None
    bundle_path: Path
    profiles: tuple[Measured, ...] = ()
    logs: tuple[Logged, ...] = ()
    history: History | None = None
    samples: Mapping[str, Samples] = field(default_factory=dict)
    """What the bundle records of its answers, by role; the planner learns from `fit` and `select` alone."""

    @property
    def manifest(self) -> Manifest:
        """Of the bundle, which must be there."""
        assert self.bundle is not None
        return self.bundle

    @property
    def profile(self) -> LatencyProfile:
        """The first, which must be there: what the page shows in one picture is of it."""
        return self.profiles[0].profile

    @property
    def names(self) -> tuple[str, ...]:
        """Of the exits, as far as anything tells them."""
        if self.bundle is not None:
            return tuple(e.name for e in self.bundle.exits)
        if self.profiles:
            return tuple(dict.fromkeys(e.name for m in self.profiles for e in m.profile.exits))
        return tuple(dict.fromkeys(name for logged in self.logs for name in logged.log.exits))

    @property
    def styles(self) -> dict[str, Style]:
        """How each exit looks, by name."""
        return {name: style_of(i, name) for i, name in enumerate(self.names)}

    @property
    def classify(self) -> bool:
        """Whether answers are classes."""
        if self.bundle is not None:
            return self.bundle.task == "classification"
        return not any(f.value is not None for logged in self.logs for f in logged.log.frames[:1])

    def exit_latency(self, exit_: Exit) -> ExitLatency:
        """The measured latency of `exit_`, by the first profile."""
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


def gather(path: Path | None, parts: Parts | None = None) -> Run:
    """Read the run at `path`, and what else is named.

    Args:
        path: a run's folder, or a bundle; None when `parts` are all there is.
        parts: files that take the place of those in the folder.

    Raises:
        BadInput: there is nothing to report, or a file that is named is not there.
        BundleError: the bundle is damaged.
        ProfileError: a profile is damaged, or was measured on another bundle.
        DataError: a frame log or training history cannot be read.
        StorageError: a file cannot be read.
    """
    parts = parts or Parts()
    folder = path or Path()
    bundle = _bundle(path, parts)
    profiles = [f for p in parts.profiles for f in _files(p, "*.json", is_profile)] or _found(
        path, PROFILES, is_profile
    )
    logs = [f for p in parts.frames for f in _files(p, "*.jsonl")] or _found(path, LOGS)
    if bundle is None and not profiles and not logs:
        raise BadInput(_nothing(path))
    opened = Bundle.open(bundle) if bundle is not None else None
    manifest = opened.manifest if opened is not None else None
    loaded = [LatencyProfile.load(file) for file in profiles]
    if manifest is not None and bundle is not None:
        for file, profile in zip(profiles, loaded, strict=True):
            check_profile(file, profile, manifest, bundle)
    exits = tuple(e.name for e in manifest.exits) if manifest is not None else None
    read = [read_frames(file, exits) for file in logs]
    history = folder / TRAINING
    return Run(
        path=folder,
        bundle=manifest,
        bundle_path=bundle or folder / BUNDLE,
        profiles=tuple(map(Measured, profile_names(profiles, loaded), profiles, loaded)),
        logs=tuple(map(Logged, log_names(logs), logs, read)),
        history=read_history(history) if path is not None and history.exists() else None,
        samples={role: found for role in ("fit", "select", "test") if (found := opened.samples(role)) is not None}
        if opened is not None
        else {},
    )


def _bundle(path: Path | None, parts: Parts) -> Path | None:
    if parts.bundle is not None:
        return parts.bundle
    if path is None:
        return None
    if (path / "manifest.json").is_file():
        return path
    return path / BUNDLE if (path / BUNDLE).exists() else None


def is_profile(file: Path) -> bool:
    """Whether a file in a folder is meant to be one; a damaged one is, so that reading it says what is wrong."""
    with storage(file, "read"):
        content = file.read_bytes()
    try:
        head = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return isinstance(head, dict) and head.get("format") == FORMAT


def _files(path: Path, pattern: str, counts: Callable[[Path], bool] = Path.is_file) -> list[Path]:
    """A file as it is, or those of a folder that count."""
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.glob(pattern)) if counts(file)]
    if not found:
        raise BadInput(f"{path}: no {pattern} in this folder that could be reported")
    return found


def _found(path: Path | None, patterns: Sequence[str], counts: Callable[[Path], bool] = Path.is_file) -> list[Path]:
    """What a run's folder holds; `profile.json` and `frames.jsonl` before the others, and whatever they are."""
    if path is None:
        return []
    found = itertools.chain.from_iterable(sorted(path.glob(pattern)) for pattern in patterns)
    first = (PROFILE, FRAMES)
    return sorted((f for f in found if f.name in first or counts(f)), key=lambda file: file.name not in first)


def _nothing(path: Path | None) -> str:
    if path is None:
        return "nothing to report; name a run's folder, or --bundle, --profile or --frames"
    what = f"no {BUNDLE}/, no {PROFILE} and no {FRAMES} in it" if path.is_dir() else "there is no such folder"
    return (
        f"{path}: not a run ({what}); make one with: offramp demo --out {path}, "
        f"or: offramp build CHECKPOINT --out {path / BUNDLE} and offramp profile {path / BUNDLE} --out {path / PROFILE}"
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
