"""LatencyProfile: the latency of every unit and exit of one bundle, as measured on one device.

Format and versions are documented in docs/reference/profile.md. Three times are kept apart, all in milliseconds:

- `gpu_ms`: between two events on the device's stream; None where there is no GPU.
- `host_ms`: from the call into the engine until it returns with the unit's output written.
- `end_to_end_ms`: for a unit, from one boundary to the next, bookkeeping of the runtime included; for an exit, from a
  host array to a host answer.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from jetson.errors import ProfileError
from jetson.files import storage, write_file
from jetson.manifest import Precision
from jetson.profiling.energy import Energy
from jetson.profiling.memory import MemoryUse
from jetson.record import Record

FORMAT = "offramp-profile"
VERSION = 6
READABLE = (1, 2, 3, 4, 5, 6)
"""Version 1 knew one precision, the units' own; version 2 no power; version 3 no cost of a call; version 4 no energy of
units and no latency but the warm one; version 5 no batches."""
LEVELS = (0.01, 0.02, 0.05, *(round(0.1 + 0.05 * i, 2) for i in range(17)), 0.95, 0.98, 0.99, 0.995, 0.999)
"""Probabilities at which a sketch keeps its quantiles: p1 .. p99.9."""
LONGEST_MS = 1e9
"""A unit that takes longer (eleven days) was not measured by us."""
MAX_THREADS = 1024
MOST_TOGETHER = 64
"""Frames of a batch at most."""
MOST_W = 1e4
"""More than that is drawn by no board."""


class Sketch(Record, frozen=True, kw_only=True):
    """A latency distribution, kept as quantiles at the profile's levels."""

    n: int
    mean: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, samples_ms: npt.ArrayLike) -> Sketch:
        """Sketch the samples (milliseconds, any shape)."""
        samples = np.asarray(samples_ms, dtype=np.float64).ravel()
        values = np.quantile(samples, LEVELS)
        return cls(n=samples.size, mean=float(samples.mean()), quantiles=tuple(round(float(v), 6) for v in values))

    def quantile(self, level: float | npt.NDArray[np.float64]) -> Any:
        """Latency at `level` (0..1), by linear interpolation; beyond the outer levels the outer value."""
        return np.interp(level, LEVELS, self.quantiles)

    @property
    def median(self) -> float:
        """The 50 % quantile, milliseconds."""
        return float(self.quantile(0.5))


class UnitLatency(Record, frozen=True, kw_only=True):
    """The three times of one unit, in the precision it ran in."""

    host_ms: Sketch
    end_to_end_ms: Sketch
    gpu_ms: Sketch | None = None
    precision: Precision = "fp32"


class ExitLatency(Record, frozen=True, kw_only=True):
    """Host array in, host answer out, when inference goes straight to this exit."""

    name: str
    end_to_end_ms: Sketch
    energy_mj: float | None = None
    """Of the units on the way, millijoules; None where it was not measured."""


class BatchLatency(Record, frozen=True, kw_only=True):
    """Several frames at once."""

    frames: int
    units: dict[str, Sketch]
    """From boundary to boundary, for all of them."""
    exits: tuple[ExitLatency, ...]
    """From the host arrays of all to the host answers of all."""
    in_turn: tuple[ExitLatency, ...]
    """The same for as many frames one right after another: weights may still lie in the caches then, and it takes less
    than so many times what one frame takes alone."""


class Device(Record, frozen=True, kw_only=True):
    """What was measured on. Two devices with equal records may share a profile."""

    machine: str
    processor: str
    cores: int
    board: str | None = None
    jetpack: str | None = None
    gpu: str | None = None
    power_mode: str | None = None


class EngineInfo(Record, frozen=True, kw_only=True):
    """Which engine ran the units."""

    name: str
    version: str
    threads: int


class Conditions(Record, frozen=True, kw_only=True):
    """Telemetry at one moment; what the device does not tell is None."""

    temperature_c: float | None = None
    cpu_mhz: float | None = None
    load: float | None = None
    gpu_mhz: float | None = None
    power_w: float | None = None


class Circumstance(Record, frozen=True, kw_only=True):
    """Latency under other circumstances than those of the profile itself, which is of a warm and idle device."""

    name: Literal["cold", "idle", "loaded"]
    """`cold`: the first inference after loading, in a process that ran units before. `idle`: after a pause. `loaded`:
    while another process, or several, keep the device busy."""
    units: dict[str, Sketch]
    """From boundary to boundary."""
    exits: tuple[ExitLatency, ...]
    load_ms: Sketch | None = None
    """Of `cold`: what loading took before."""
    pause_s: float | None = None
    """Of `idle`: how long the device rested before each inference."""
    others: int | None = None
    """Of `loaded`: how many processes beside this one ran the deepest exit over and over,"""
    other_ms: float | None = None
    """and what it took there on average."""
    start: Conditions
    end: Conditions


class LatencyProfile(Record, frozen=True, kw_only=True):
    """The whole of a profile file."""

    format: Literal["offramp-profile"] = "offramp-profile"
    version: int = VERSION
    bundle: str
    """`Manifest.identity_at` of the bundle and the precisions that were measured."""
    device: Device
    engine: EngineInfo
    created: str
    frames: int
    """Inferences that were measured."""
    frame: tuple[int, int]
    """Height and width of the camera frames that `preprocess_ms` was measured on."""
    levels: tuple[float, ...] = LEVELS
    preprocess_ms: Sketch
    units: dict[str, UnitLatency]
    exits: tuple[ExitLatency, ...]
    batches: tuple[BatchLatency, ...] = ()
    """Of every size that was asked for."""
    memory: MemoryUse | None = None
    """What the engines held; None where they do not tell."""
    power_w: float | None = None
    """Watts that the whole board draws on average while units run; None where that was not measured."""
    energy: Energy | None = None
    """What that is made of; None where it was not measured."""
    circumstances: tuple[Circumstance, ...] = ()
    """Those that were asked for."""
    call_ms: float | None = None
    """What a call of the engine takes for a unit that computes nothing; None with a GPU, and where nobody measured."""
    start: Conditions
    end: Conditions

    def save(self, path: Path) -> None:
        """Write the profile as indented JSON; the file appears whole or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        write_file(path, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    @classmethod
    def load(cls, path: str | Path) -> LatencyProfile:
        """Read a profile and check that its figures can be used.

        Raises:
            ProfileError: not a profile, a newer version, an unknown key, or figures that are not latencies.
            StorageError: the file cannot be read.
        """
        file = Path(path)
        with storage(file, "read"):
            if any(file.glob("*.json")):
                raise ProfileError(f"{file}: a folder; give one of the profiles in it, each is of another power mode")
            if not file.is_file():
                raise ProfileError(f"{file}: no such profile; make one with: offramp profile BUNDLE --out {file}")
            content = file.read_bytes()
        try:
            head = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProfileError(f"{file}: not valid JSON ({error}); measure again with: offramp profile") from None
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise ProfileError(f"{file}: not an Offramp profile")
        if head.get("version") not in READABLE:
            raise ProfileError(
                f"{file}: format version {head.get('version')!r} is not the one this Offramp reads ({VERSION}); "
                "measure again with: offramp profile"
            )
        try:
            profile = msgspec.json.decode(content, type=cls)
        except msgspec.ValidationError as error:
            raise ProfileError(f"{file}: {error}") from None
        profile._check(file)
        return msgspec.structs.replace(profile, version=VERSION)

    def _check(self, file: Path) -> None:
        if self.levels != LEVELS:
            raise ProfileError(f"{file}: its quantile levels are not this version's; measure again")
        if not self.exits or not self.units or not 1 <= self.engine.threads <= MAX_THREADS:
            raise ProfileError(f"{file}: no units, no exits, or an impossible number of threads; measure again")
        if self.power_w is not None and not 0.0 < self.power_w <= MOST_W:
            raise ProfileError(f"{file}: a device does not draw {self.power_w!r} W; measure again")
        energies = [e.energy_mj for e in self.exits if e.energy_mj is not None]
        if (self.energy is not None and not self.energy.possible(MOST_W)) or not all(
            0.0 < e < math.inf for e in energies
        ):
            raise ProfileError(f"{file}: its energies are none that units take; measure again")
        if self.call_ms is not None and not 0.0 <= self.call_ms <= LONGEST_MS:
            raise ProfileError(f"{file}: a call does not take {self.call_ms!r} ms; measure again")
        sketches = {"preprocess_ms": self.preprocess_ms}
        for name, unit in self.units.items():
            sketches |= {f"{name}.host_ms": unit.host_ms, f"{name}.end_to_end_ms": unit.end_to_end_ms}
            if unit.gpu_ms is not None:
                sketches[f"{name}.gpu_ms"] = unit.gpu_ms
        sketches |= {f"exit {e.name}": e.end_to_end_ms for e in self.exits}
        self._check_batches(file)
        for batch in self.batches:
            named = [*batch.units.items()]
            named += [(f"exit {e.name}", e.end_to_end_ms) for e in (*batch.exits, *batch.in_turn)]
            sketches |= {f"batches of {batch.frames}, {i}, {name}": sketch for i, (name, sketch) in enumerate(named)}
        for found in self.circumstances:
            sketches |= {f"{found.name} {name}": sketch for name, sketch in found.units.items()}
            sketches |= {f"{found.name} exit {e.name}": e.end_to_end_ms for e in found.exits}
            if found.load_ms is not None:
                sketches[f"{found.name} load_ms"] = found.load_ms
        for name, sketch in sketches.items():
            values = sketch.quantiles
            usable = len(values) == len(LEVELS) and all(0 <= v <= LONGEST_MS for v in values)
            if not usable or list(values) != sorted(values) or sketch.n < 1:
                raise ProfileError(f"{file}: the quantiles of {name} are not a latency distribution; measure again")

    def _check_batches(self, file: Path) -> None:
        sizes = [b.frames for b in self.batches]
        named = [e.name for e in self.exits]
        fits = all(
            set(b.units) == set(self.units) and all([e.name for e in found] == named for found in (b.exits, b.in_turn))
            for b in self.batches
        )
        if len(set(sizes)) != len(sizes) or not all(2 <= s <= MOST_TOGETHER for s in sizes) or not fits:
            raise ProfileError(f"{file}: its batches are not of its units and exits; measure again")
