import msgspec
import pytest

from jetson import Runtime
from jetson.engines import onnxruntime as ort_engines
from jetson.errors import BadInput, ProfileError
from jetson.profiling.check import check_engine, check_profile
from tests.bundles import fake_profile, tiny_bundle, with_half

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("c") / "bundle")


@pytest.fixture
def profile(bundle):
    return fake_profile(bundle)


def refuses(profile, bundle, says):
    with pytest.raises(ProfileError, match=says) as caught:
        Runtime.load(bundle, profile)
    assert f"offramp profile {bundle.path} --out profile.json" in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_the_profile_of_this_bundle_here_is_taken(bundle, profile):
    check_profile(profile, bundle)
    check_engine(profile, bundle, profile.engine, ["fp32"] * len(bundle.manifest.units))


def test_a_profile_of_another_bundle_is_refused(profile, tmp_path):
    refuses(profile, tiny_bundle(tmp_path / "other", seed=1), "was measured on another bundle")


def test_a_profile_of_a_bundle_of_other_exits_is_refused(bundle, profile, tmp_path):
    other = tiny_bundle(tmp_path / "other", exits=((2, "mlp"), (6, "head")))
    refuses(profile, other, "was measured on another bundle")
    refuses(replace(profile, exits=profile.exits[::-1]), bundle, "does not name the units and exits")
    units = {k: v for k, v in profile.units.items() if k != "head"}
    refuses(replace(profile, units=units), bundle, "does not name the units and exits")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("machine", "riscv64"),
        ("processor", "Another Processor"),
        ("cores", 4096),
        ("board", "NVIDIA Jetson AGX Orin Developer Kit"),
        ("jetpack", "R99.1.0"),
        ("gpu", "Another GPU"),
        ("power_mode", "NO_SUCH_MODE"),
    ],
)
def test_a_profile_of_another_device_is_refused_and_says_what_differs(bundle, profile, key, value):
    device = replace(profile.device, **{key: value})
    refuses(replace(profile, device=device), bundle, rf"another device \({key}: '?{value}'? there, ")


@pytest.mark.parametrize(("key", "value"), [("version", "0.0.1")])
def test_a_profile_of_another_engine_is_refused(bundle, profile, key, value):
    engine = replace(profile.engine, **{key: value})
    refuses(replace(profile, engine=engine), bundle, rf"another engine \({key}: '{value}' there, ")


def test_a_profile_decides_the_engine_unless_another_is_asked_for(bundle, profile):
    named = replace(profile, engine=replace(profile.engine, name="tensorflow"))
    with pytest.raises(BadInput, match="unknown engine 'tensorflow'"):
        Runtime.load(bundle, named)
    with pytest.raises(ProfileError, match=r"another engine \(name: 'tensorflow' there, 'onnxruntime' here\)"):
        Runtime.load(bundle, named, engine="onnxruntime")


def test_a_profile_of_another_precision_is_refused(profile, tmp_path):
    half = with_half(tiny_bundle(tmp_path / "half"))
    check_profile(profile, half)
    with pytest.raises(ProfileError, match="with segment-1 in fp32, and it is loaded in fp16; make one"):
        Runtime.load(half, profile, precision="fp16")


def test_a_profile_decides_the_precision(profile, tmp_path):
    half = with_half(tiny_bundle(tmp_path / "half"))
    units = {n: replace(u, precision="fp16") for n, u in profile.units.items()}
    identity = half.manifest.identity_at(["fp16"] * len(half.manifest.units))
    runtime = Runtime.load(half, replace(profile, units=units, bundle=identity))
    assert set(runtime.engines.precisions) == {"fp16"}
    with pytest.raises(ProfileError, match="another bundle"):
        Runtime.load(tiny_bundle(tmp_path / "plain"), replace(profile, units=units, bundle=identity))


def test_a_profile_of_another_number_of_threads_is_refused(bundle, profile):
    engine = replace(profile.engine, threads=profile.engine.threads + 1)
    with pytest.raises(ProfileError, match=r"another engine \(threads: "):
        check_engine(replace(profile, engine=engine), bundle, profile.engine, ["fp32"] * len(bundle.manifest.units))


def test_a_profile_from_elsewhere_does_not_decide_the_threads_of_this_process(bundle, profile, monkeypatch):
    """The pool of a process cannot be changed: a profile that is refused must not have made it."""
    monkeypatch.setattr(ort_engines, "_process_threads", None)
    foreign = replace(profile, device=replace(profile.device, cores=64), engine=replace(profile.engine, threads=64))
    with pytest.raises(ProfileError, match="another device"):
        Runtime.load(bundle, foreign)
    assert ort_engines._process_threads is None


def test_a_path_with_a_blank_is_quoted_in_the_remedy(profile, tmp_path):
    other = tiny_bundle(tmp_path / "my bundle", seed=1)
    with pytest.raises(ProfileError, match=r"offramp profile '.*/my bundle' --out"):
        check_profile(profile, other)
