import json
import random

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson.errors import OfframpError, ProfileError, StorageError
from jetson.profiling.profile import LEVELS, LatencyProfile, Sketch
from tests.batches import with_batches
from tests.bundles import fake_profile, tiny_bundle

FUZZ = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    return fake_profile(tiny_bundle(tmp_path_factory.mktemp("p") / "bundle"), spread=0.1)


@pytest.fixture
def spoil(profile, tmp_path):
    """A function that writes the profile with one value replaced and returns its file."""

    def write(*path_and_value):
        *path, key, value = path_and_value
        data = msgspec.to_builtins(profile)
        place = data
        for step in path:
            place = place[step]
        place[key] = value
        file = tmp_path / "profile.json"
        file.write_text(json.dumps(data))
        return file

    return write


def refuses(file, says):
    with pytest.raises(ProfileError, match=says) as caught:
        LatencyProfile.load(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_profile_survives_the_way_to_disk_and_back(profile, tmp_path):
    profile.save(tmp_path / "deep" / "profile.json")
    assert LatencyProfile.load(tmp_path / "deep" / "profile.json") == profile
    assert LatencyProfile.load(str(tmp_path / "deep" / "profile.json")) == profile
    assert (tmp_path / "deep" / "profile.json").read_bytes().endswith(b"}\n")


def test_a_missing_profile_says_how_to_make_one(tmp_path):
    refuses(tmp_path / "p.json", r"no such profile; make one with: offramp profile BUNDLE --out .*p\.json")
    refuses(tmp_path, "no such profile")
    (tmp_path / "15W.json").touch()
    refuses(tmp_path, "a folder; give one of the profiles in it")
    with pytest.raises(StorageError, match="cannot read"):
        LatencyProfile.load("x" * 5000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON .*; measure again with: offramp profile"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "not an Offramp profile"),
        (b"{}", "not an Offramp profile"),
        (b'{"format": "offramp-bundle", "version": 1}', "not an Offramp profile"),
        (b'{"format": "offramp-profile", "version": 7}', "format version 7 is not the one"),
        (b'{"format": "offramp-profile", "version": "1"}', "format version '1' is not the one"),
        (b'{"format": "offramp-profile"}', "format version None is not the one"),
        (b'{"format": "offramp-profile", "version": 1}', "missing required field"),
    ],
)
def test_what_is_no_profile_is_one_line(tmp_path, content, says):
    (tmp_path / "p.json").write_bytes(content)
    refuses(tmp_path / "p.json", says)


def test_a_truncated_profile_is_one_line(profile, tmp_path):
    content = msgspec.json.encode(profile)
    for keep in (1, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "p.json").write_bytes(content[:keep])
        refuses(tmp_path / "p.json", "not valid JSON")


@pytest.mark.parametrize(
    "path", [(), ("device",), ("engine",), ("units", "head"), ("units", "head", "host_ms"), ("exits", 0), ("start",)]
)
def test_an_unknown_key_is_named_wherever_it_is(spoil, path):
    refuses(spoil(*path, "surprise", 1), "unknown field `surprise`")


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0] * (len(LEVELS) - 1),
        [1.0] * (len(LEVELS) + 1),
        [-1.0] + [1.0] * (len(LEVELS) - 1),
        [1.0] * (len(LEVELS) - 1) + [0.5],
        [1.0] * (len(LEVELS) - 1) + [1e300],
        list(range(len(LEVELS), 0, -1)),
    ],
)
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("units", "segment-1", "end_to_end_ms"), r"segment-1\.end_to_end_ms"),
        (("units", "head", "host_ms"), r"head\.host_ms"),
        (("exits", 1, "end_to_end_ms"), "exit 2:cnn-add"),
        (("preprocess_ms",), "preprocess_ms"),
    ],
)
def test_quantiles_that_are_no_distribution_are_named(spoil, place, name, values):
    refuses(spoil(*place, "quantiles", values), f"the quantiles of {name} are not a latency distribution")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999", "null", '"1"'])
def test_a_quantile_that_is_no_number_is_refused(profile, tmp_path, literal):
    data = msgspec.to_builtins(profile)
    data["units"]["head"]["host_ms"]["quantiles"] = ["HERE", *[1.0] * (len(LEVELS) - 1)]
    (tmp_path / "p.json").write_text(json.dumps(data).replace('"HERE"', literal))
    refuses(tmp_path / "p.json", r"not valid JSON|Expected `float`")


@pytest.mark.parametrize(
    ("path_and_value", "says"),
    [
        (("levels", [0.5]), "its quantile levels are not this version's"),
        (("preprocess_ms", "n", 0), "the quantiles of preprocess_ms"),
        (("units", {}), "no units, no exits"),
        (("exits", []), "no units, no exits"),
        (("engine", "threads", 0), "an impossible number of threads"),
        (("engine", "threads", -5), "an impossible number of threads"),
        (("engine", "threads", 1_000_000), "an impossible number of threads"),
        (("engine", "threads", 1.5), "Expected `int`, got `float`"),
        (("frame", [480]), "Expected `array` of length 2"),
        (("power_w", -3.0), "a device does not draw -3.0 W"),
    ],
)
def test_figures_that_cannot_be_are_refused(spoil, path_and_value, says):
    refuses(spoil(*path_and_value), says)


ENERGY = {
    "source": "tegrastats",
    "rails": ["VDD_IN"],
    "idle_w": 3.0,
    "idle_readings": 18,
    "units": {
        "head": {"mj": 25.0, "above_idle_mj": 10.0, "power_w": 5.0, "run_ms": 5.0, "runs": 400, "readings": 18},
        "segment-1": {"mj": 140.0, "above_idle_mj": 80.0, "power_w": 7.0, "run_ms": 20.0, "runs": 100, "readings": 18},
    },
}


def test_energies_that_cannot_be_are_refused(spoil):
    found = LatencyProfile.load(spoil("energy", ENERGY))
    assert found.energy.power_w == pytest.approx(165 / 25)
    head = ENERGY["units"]["head"]
    for wrong in ({"power_w": -5.0}, {"run_ms": 0.0}, {"mj": 1e9}, {"mj": -1.0}):
        refuses(spoil("energy", ENERGY | {"units": {"head": head | wrong}}), "its energies are none that units take")
    refuses(spoil("energy", ENERGY | {"units": {}}), "its energies are none")
    refuses(spoil("energy", ENERGY | {"idle_w": -1.0}), "its energies are none")
    refuses(spoil("exits", 0, "energy_mj", -1.0), "its energies are none")


def test_quantiles_under_other_circumstances_are_checked_too(profile, spoil):
    good = msgspec.to_builtins(profile.units["head"].host_ms)
    cold = {"name": "cold", "units": {"head": good}, "exits": [], "load_ms": good, "start": {}, "end": {}}
    assert LatencyProfile.load(spoil("circumstances", [cold])).circumstances[0].load_ms.n == good["n"]
    bad = good | {"quantiles": [1.0]}
    refuses(spoil("circumstances", [cold | {"load_ms": bad}]), "the quantiles of cold load_ms")
    refuses(spoil("circumstances", [cold | {"units": {"head": bad}}]), "the quantiles of cold head")
    refuses(spoil("circumstances", [cold | {"name": "hot"}]), "Invalid enum value 'hot'")


def test_a_profile_of_version_4_is_read(profile, tmp_path):
    """It knew neither energy nor circumstances, nor a GPU's clock and the power at start and end."""
    data = msgspec.to_builtins(profile)
    del data["energy"], data["circumstances"]
    for exit_ in data["exits"]:
        del exit_["energy_mj"]
    for moment in ("start", "end"):
        del data[moment]["gpu_mhz"], data[moment]["power_w"]
    (tmp_path / "p.json").write_text(json.dumps(data | {"version": 4, "power_w": 5.5}))
    found = LatencyProfile.load(tmp_path / "p.json")
    assert found == msgspec.structs.replace(profile, power_w=5.5) and found.version == 6


def test_gpu_quantiles_are_checked_too(spoil):
    bad = {"n": 5, "mean": 1.0, "quantiles": [1.0]}
    refuses(spoil("units", "head", "gpu_ms", bad), r"the quantiles of head\.gpu_ms")


@FUZZ
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 6), cut=st.booleans())
def test_spoilt_bytes_never_give_another_exception(profile, tmp_path, seed, flips, cut):
    rng = random.Random(seed)
    content = bytearray(msgspec.json.encode(profile))
    for _ in range(flips):
        content[rng.randrange(len(content))] = rng.choice([rng.randrange(256), *b'0123456789-.e"{}[]:,\\'])
    file = tmp_path / "p.json"
    file.write_bytes(content[: rng.randrange(len(content))] if cut else content)
    try:
        loaded = LatencyProfile.load(file)
    except OfframpError as error:
        assert error.exit_code == 2 and str(error)
    else:
        assert np.isfinite([e.end_to_end_ms.quantile(0.95) for e in loaded.exits]).all()


@FUZZ
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_a_sketch_is_ordered_and_within_its_samples(samples):
    sketch = Sketch.of(samples)
    assert sketch.n == len(samples)
    assert list(sketch.quantiles) == sorted(sketch.quantiles)
    assert min(samples) - 1e-6 <= sketch.quantile(0.0) <= sketch.median <= sketch.quantile(1.0) <= max(samples) + 1e-6


def test_a_sketch_keeps_the_quantiles_of_its_samples():
    samples = np.random.default_rng(0).lognormal(0, 0.5, (100, 50))
    sketch = Sketch.of(samples)
    assert sketch.n == 5000 and sketch.mean == pytest.approx(samples.mean())
    for level in (0.01, 0.5, 0.95, 0.999):
        assert sketch.quantile(level) == pytest.approx(np.quantile(samples, level), abs=1e-6)
    assert sketch.quantile(0.525) == pytest.approx((sketch.quantile(0.5) + sketch.quantile(0.55)) / 2)
    assert sketch.quantile(0.0) == sketch.quantile(0.01) and sketch.quantile(1.0) == sketch.quantile(0.999)


def test_levels_run_from_p1_to_p999():
    assert LEVELS[0] == 0.01 and LEVELS[-1] == 0.999 and 0.5 in LEVELS and 0.95 in LEVELS
    assert list(LEVELS) == sorted(set(LEVELS))


def test_batches_are_of_the_units_and_exits(profile, tmp_path):
    whole = with_batches(profile, {2: 0.8, 4: 0.7})
    whole.save(tmp_path / "p.json")
    assert LatencyProfile.load(tmp_path / "p.json") == whole
    first, second = whole.batches
    fewer = msgspec.structs.replace(second, units=dict(list(second.units.items())[1:]))
    for wrong in (
        (first, first),
        (msgspec.structs.replace(first, frames=1),),
        (fewer,),
        (msgspec.structs.replace(first, in_turn=first.in_turn[1:]),),
    ):
        msgspec.structs.replace(whole, batches=wrong).save(tmp_path / "p.json")
        refuses(tmp_path / "p.json", "its batches are not of its units and exits; measure again")


def test_a_profile_of_version_5_is_read(profile, tmp_path):
    data = json.loads(msgspec.json.encode(profile))
    del data["batches"]
    (tmp_path / "p.json").write_text(json.dumps(data | {"version": 5}))
    assert LatencyProfile.load(tmp_path / "p.json") == profile
