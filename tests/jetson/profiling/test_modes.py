"""Several profiles, one for each power mode, and which of them holds."""

import msgspec
import pytest

from jetson.errors import ProfileError
from jetson.profiling import modes
from jetson.profiling.modes import ModeProfiles
from tests.bundles import fake_profile, tiny_bundle

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("m") / "bundle")


@pytest.fixture
def profile(bundle):
    """A function that gives the profile of a mode."""
    base = fake_profile(bundle)

    def of(mode, **device):
        return replace(base, device=replace(base.device, power_mode=mode, **device))

    return of


@pytest.fixture
def holds(monkeypatch):
    """A function that lets a power mode hold."""
    from jetson.profiling import check

    here = modes.this_device()

    def change(mode, **device):
        for module in (modes, check):
            monkeypatch.setattr(module, "this_device", lambda: replace(here, power_mode=mode, **device))

    return change


def test_the_profile_of_the_mode_that_holds_is_taken(bundle, profile, holds):
    found = ModeProfiles.load([profile("15W", cores=4), profile("MAXN", cores=12)])
    assert found.modes == ["15W", "MAXN"] and len(found) == 2
    holds("MAXN", cores=12)
    assert found.here(bundle) == profile("MAXN", cores=12)
    holds("15W", cores=4)
    assert found.here(bundle) == profile("15W", cores=4)


def test_files_and_folders(bundle, profile, holds, tmp_path):
    for mode in ("15W", "MAXN"):
        profile(mode).save(tmp_path / "profiles" / f"{mode}.json")
    (tmp_path / "profiles" / "report.json").write_text("{}")
    (tmp_path / "profiles" / "folder.json").mkdir()
    profile("25W").save(tmp_path / "one.json")
    holds("25W")
    found = ModeProfiles.load([tmp_path / "profiles", str(tmp_path / "one.json")])
    assert found.modes == ["15W", "MAXN", "25W"] and found.here(bundle) == profile("25W")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "no profiles were given"),
        (["nothing.json"], "no such profile"),
        (["empty"], "empty: no profiles in this folder; make them with: offramp profile BUNDLE --power-modes all"),
        (["15W.json", "copy.json"], r"two profiles of power mode 15W: .*15W\.json and .*copy\.json; give one only"),
        (["damaged"], "not valid JSON"),
    ],
)
def test_what_cannot_be_taken(profile, tmp_path, monkeypatch, given, says):
    monkeypatch.chdir(tmp_path)
    for name in ("15W.json", "copy.json"):
        profile("15W").save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "p.json").write_bytes((tmp_path / "15W.json").read_bytes()[:-9])
    with pytest.raises(ProfileError, match=says) as caught:
        ModeProfiles.load(given)
    assert "\n" not in str(caught.value)


def test_a_mode_that_nobody_measured_is_named_with_the_remedy(bundle, profile, holds):
    holds("7W")
    with pytest.raises(ProfileError, match=r"mode 7W holds, and the profiles are of 15W, MAXN; .* --power-modes 7W"):
        ModeProfiles.load([profile("15W"), profile("MAXN")]).here(bundle)
    with pytest.raises(ProfileError, match=r"another device \(power_mode: '15W' there, '7W' here\)"):
        ModeProfiles.load(profile("15W")).here(bundle)


def test_where_no_mode_is_told(bundle, profile, holds):
    holds(None)
    with pytest.raises(
        ProfileError, match="nothing here tells which power mode holds, and the profiles are of 15W, MAXN"
    ):
        ModeProfiles.load([profile("15W"), profile("MAXN")]).here(bundle)


def test_profiles_of_the_other_modes_are_checked_too(bundle, profile, holds):
    holds("MAXN")
    with pytest.raises(ProfileError, match=r"another device \(processor"):
        ModeProfiles.load([profile("MAXN"), profile("15W", processor="Another")]).here(bundle)
    other = replace(profile("15W"), bundle="0" * 64)
    with pytest.raises(ProfileError, match="measured on another bundle"):
        ModeProfiles.load([profile("MAXN"), other]).here(bundle)
