"""Profiles of one bundle, one for each power mode: which of them holds now."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from jetson.bundle import Bundle
from jetson.errors import ProfileError
from jetson.files import storage
from jetson.profiling.check import check_profile
from jetson.profiling.device import this_device
from jetson.profiling.profile import FORMAT, Device, LatencyProfile

Given = LatencyProfile | str | Path
"""A profile, its file, or a folder that holds several."""
OF_THE_MODE = ("power_mode", "cores")
"""What of a device changes with its power mode: some modes switch cores off."""


class ModeProfiles:
    """One profile for each power mode that was measured."""

    def __init__(self, profiles: Iterable[tuple[LatencyProfile, Path | None]]) -> None:
        """Sort them by mode.

        Args:
            profiles: each with the file it came from.

        Raises:
            ProfileError: two of the same mode, or none at all.
        """
        self._found: dict[str | None, LatencyProfile] = {}
        files: dict[str | None, Path | None] = {}
        for profile, file in profiles:
            mode = profile.device.power_mode
            if mode in self._found:
                raise ProfileError(
                    f"two profiles of power mode {mode}: {files[mode] or 'one'} and {file or 'another'}; give one only"
                )
            self._found[mode], files[mode] = profile, file
        if not self._found:
            raise ProfileError("no profiles were given; make one with: offramp profile BUNDLE --out profile.json")

    @classmethod
    def load(cls, given: Given | Sequence[Given]) -> ModeProfiles:
        """Read what was given.

        Args:
            given: one or several; of a folder all profiles in it, other files in it do not count.

        Raises:
            ProfileError: a file is no profile, a folder holds none, or two are of the same mode.
            StorageError: one cannot be read.
        """
        several = [given] if isinstance(given, LatencyProfile | str | Path) else list(given)
        return cls(found for one in several for found in _read(one))

    @property
    def modes(self) -> list[str]:
        """The names of the modes, in the order in which they were given."""
        return [str(mode) for mode in self._found]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[LatencyProfile]:
        return iter(self._found.values())

    def of(self, mode: str | None) -> LatencyProfile | None:
        """The profile of a mode; None when it was not measured."""
        return self._found.get(mode)

    def here(self, bundle: Bundle) -> LatencyProfile:
        """The profile of the power mode that holds now, checked; the others are checked as far as they can be.

        Raises:
            ProfileError: none is of this mode, or one is of another bundle or device.
        """
        now = this_device()
        for profile in self:
            if profile.device.power_mode != now.power_mode and len(self) > 1:
                check_profile(msgspec.structs.replace(profile, device=_in_mode_of(profile.device, now)), bundle, now)
        found = self.of(now.power_mode)
        if found is None and len(self) > 1:
            raise ProfileError(missing(now.power_mode, self.modes, bundle))
        found = found or next(iter(self))
        check_profile(found, bundle, now)
        return found


def missing(mode: str | None, measured: Sequence[str], bundle: Bundle) -> str:
    """That a mode holds which was not measured, and what mends it."""
    of = f"the profiles are of {', '.join(measured)}"
    if mode is None:
        return f"nothing here tells which power mode holds, and {of}; give the one to be believed"
    remedy = f"offramp profile {shlex.quote(str(bundle.path))} --power-modes {shlex.quote(mode)} --out FOLDER"
    return f"power mode {mode} holds, and {of}; make one of it with: {remedy}"


def _in_mode_of(device: Device, now: Device) -> Device:
    return msgspec.structs.replace(device, **{key: getattr(now, key) for key in OF_THE_MODE})


def _read(given: Given) -> Iterator[tuple[LatencyProfile, Path | None]]:
    if isinstance(given, LatencyProfile):
        yield given, None
        return
    path = Path(given)
    if not path.is_dir():
        yield LatencyProfile.load(path), path
        return
    with storage(path, "read"):
        files = [f for f in sorted(path.glob("*.json")) if f.is_file() and FORMAT.encode() in f.read_bytes()[:4096]]
    if not files:
        raise ProfileError(
            f"{path}: no profiles in this folder; make them with: offramp profile BUNDLE --power-modes all"
        )
    for file in files:
        yield LatencyProfile.load(file), file
