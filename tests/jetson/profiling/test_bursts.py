"""Energy of units, on a clock that stands still between them and sensors that tell what the board is made to draw."""

import dataclasses
from types import SimpleNamespace

import pytest

from jetson.profiling import bursts
from jetson.profiling.bursts import LEAST_READINGS, mean_power_w, measure_energy
from jetson.profiling.measure import measure as measure_profile
from jetson.scheduling.induction import Prices
from jetson.telemetry import sources
from jetson.telemetry.reading import Reading
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("e") / "bundle")


@dataclasses.dataclass
class Board:
    """Draws 3 W at rest, 7 W while a segment runs and 5 W while a branch does, and is read ten times a second."""

    clock: VirtualClock
    interval_s: float = 0.1
    rails: tuple[str, ...] = ("VDD_IN", "VDD_SOC")
    spells: list = dataclasses.field(default_factory=list)

    @property
    def source(self):
        return SimpleNamespace(name="tegrastats", interval_s=self.interval_s)

    def draws(self, moment):
        return next((w for began, ended, w in self.spells if began <= moment < ended), 3.0)

    def next(self):
        return Reading(self.clock.now, dict.fromkeys(self.rails, 3.0), {})

    def between(self, start, end):
        first, last = int(start / self.interval_s) + 1, int(end / self.interval_s)
        moments = [n * self.interval_s for n in range(first, last + 1)]
        # A reading tells what was drawn a moment before.
        return [Reading(m, dict.fromkeys(self.rails, self.draws(m - 0.05)), {}) for m in moments]


@pytest.fixture
def measure(bundle, monkeypatch):
    """A function that measures; units take 20 ms and 5 ms."""
    clock = VirtualClock()
    engines = FakeEngines(bundle, clock, fake_profile(bundle, segment_ms=20.0, branch_ms=5.0))
    run = engines.run

    def watched(unit):
        began = clock.now
        run(unit)
        board.spells.append((began, clock.now, 7.0 if engines.names[unit].startswith("segment") else 5.0))

    engines.run = watched
    board = Board(clock)
    monkeypatch.setattr(bursts, "clock", clock)
    monkeypatch.setattr(bursts.time, "sleep", lambda s: clock.advance(s * 1e3))

    def start(**changes):
        for name, value in changes.items():
            setattr(board, name, value)
        return measure_energy(engines, bundle.manifest, board)

    start.engines = engines
    return start


def test_a_run_takes_its_share_of_the_power_of_its_burst(measure, bundle):
    found = measure()
    assert (found.source, found.rails, found.idle_w) == ("tegrastats", ("VDD_IN",), 3.0)
    assert list(found.units) == [u.name for u in bundle.manifest.units]
    segment, head = found.units["segment-1"], found.units["head"]
    assert segment.run_ms == pytest.approx(20.0) and segment.power_w == pytest.approx(7.0)
    assert segment.mj == pytest.approx(140.0) and segment.above_idle_mj == pytest.approx(80.0)
    assert head.mj == pytest.approx(25.0) and head.above_idle_mj == pytest.approx(10.0)
    assert segment.runs in (100, 101) and segment.readings >= 8 <= found.idle_readings
    # Three segments of 20 ms at 7 W, four branches of 5 ms at 5 W.
    assert found.power_w == pytest.approx((3 * 140 + 4 * 25) / (3 * 20 + 4 * 5))


def test_a_slow_source_has_longer_bursts(measure):
    found = measure(interval_s=1.0)
    assert all(u.readings >= LEAST_READINGS and u.runs * u.run_ms >= 1e4 for u in found.units.values())


def test_rails_that_are_not_known_to_be_the_board_tell_no_energy(measure):
    assert measure(rails=("VDD_SOC",)) is None and measure(rails=()) is None
    assert not measure.engines.ran


def test_a_source_that_falls_silent_tells_no_energy(measure):
    assert measure(between=lambda *_: []) is None


def test_a_profile_has_them_where_the_board_tells_its_power(bundle, monkeypatch):
    """Sensors that are read as often as anybody wants, so that the machine's pace does not matter."""

    class Sensors(Board):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.clock = None

    monkeypatch.setattr(sources, "record", lambda: Sensors(VirtualClock(), interval_s=1e-4))
    monkeypatch.setattr(bursts, "LAG_S", 0.0)
    profile = measure_profile(bundle, rounds=1, warm_up=0, seconds=0, burst_s=0.002)
    assert profile.power_w == profile.energy.power_w == pytest.approx(3.0)
    assert set(profile.energy.units) == set(profile.units)
    parts = [profile.energy.units[n].mj for n in ("segment-1", "segment-2", "segment-3", "head")]
    assert profile.exits[-1].energy_mj == pytest.approx(sum(parts))
    assert profile.start.power_w == profile.end.power_w == 3.0
    assert Prices.of(profile, per_mj=0.5).per_ms == pytest.approx(1.5)
    without = measure_profile(bundle, rounds=1, warm_up=0, seconds=0, burst_s=None)
    assert without.energy is None and without.power_w is None


@pytest.mark.parametrize(
    ("points", "mean"),
    [
        ([(0.0, 10.0), (1.0, 10.0), (2.0, 10.0)], 10.0),
        ([(0.0, 0.0), (1.0, 10.0)], 5.0),
        ([(0.0, 4.0), (0.1, 4.0), (2.0, 4.0), (2.1, 8.0)], 4.0 + 4.0 * 0.05 / 2.1),  # readings that come unevenly
    ],
)
def test_mean_power(points, mean):
    assert mean_power_w(points) == pytest.approx(mean)
