"""Which precision each unit runs in, from what was measured; and what then runs."""

from pathlib import Path

import msgspec
import pytest

from jetson import Bundle, Runtime
from jetson.bundle import MANIFEST
from jetson.engines import default_precisions, load_engines
from jetson.errors import BundleError, ProfileError
from jetson.profiling.measure import measure
from tests.bundles import edit_manifest, fake_profile, tiny_bundle, with_half
from toolkit.plan import plans, plans_left

replace = msgspec.structs.replace
EXITS = ((2, "mlp"), (4, "head"))
UNITS = ("segment-1", "branch-2-mlp", "segment-2", "head")
HALF, FULL = Path("half.json"), Path("full.json")


@pytest.fixture
def bundle(tmp_path):
    return with_half(tiny_bundle(tmp_path / "bundle", exits=EXITS))


def profile(bundle, precision, engine="onnxruntime", **medians):
    """As if measured with all units in one precision."""
    found = fake_profile(bundle, medians={k.replace("_", "-"): v for k, v in medians.items()}, segment_ms=2.0)
    chosen = bundle.manifest.nearest(precision)
    units = {n: replace(u, precision=p) for (n, u), p in zip(found.units.items(), chosen, strict=True)}
    return replace(
        found,
        units=units,
        bundle=bundle.manifest.identity_at(chosen),
        engine=replace(found.engine, name=engine),
    )


def test_every_unit_takes_the_quickest(bundle):
    full = profile(bundle, "fp32", segment_1=1.0, head=0.5)
    half = profile(bundle, "fp16", segment_2=1.5, branch_2_mlp=0.1, head=0.6)
    found, (said,) = plans(bundle.manifest, [full, half], [FULL, HALF])
    assert found == {"onnxruntime": ("fp32", "fp16", "fp16", "fp32")}
    assert said.startswith("onnxruntime: 2 in fp32, 2 in fp16; all units together take 3.100 ms, in the best single ")
    assert "profile 3.750 ms" in said and "measure it with: offramp profile BUNDLE --engine onnxruntime" in said


def test_of_two_that_are_as_quick_the_one_given_first_is_taken(bundle):
    full, half = profile(bundle, "fp32"), profile(bundle, "fp16")
    assert plans(bundle.manifest, [full, half], [FULL, HALF])[0] == {"onnxruntime": ("fp32",) * 4}


def test_one_profile_alone_is_the_plan_and_belongs_to_it(bundle):
    found, (said,) = plans(bundle.manifest, [profile(bundle, "fp16")], [HALF])
    assert found == {"onnxruntime": ("fp16",) * 4} and said.endswith("its profile is half.json")


def test_each_engine_has_a_plan_of_its_own(bundle):
    given = [profile(bundle, "fp32"), profile(bundle, "fp16", engine="tensorrt")]
    found, said = plans(bundle.manifest, given, [FULL, HALF])
    assert found == {"onnxruntime": ("fp32",) * 4, "tensorrt": ("fp16",) * 4} and len(said) == 2


def test_nothing_measured_nothing_planned(bundle):
    assert plans(bundle.manifest, [], []) == ({}, ())


def test_a_profile_of_another_bundle_is_refused(bundle, tmp_path):
    other = tiny_bundle(tmp_path / "other", exits=EXITS, seed=5)
    with pytest.raises(ProfileError, match=r"full\.json: measured on another bundle") as told:
        plans(bundle.manifest, [profile(other, "fp32")], [FULL])
    assert "\n" not in str(told.value) and "offramp profile BUNDLE" in str(told.value)


def test_a_profile_that_lacks_a_unit_is_refused(bundle):
    full = profile(bundle, "fp32")
    units = {n: u for n, u in full.units.items() if n != "head"}
    with pytest.raises(ProfileError, match=r"full\.json: measured on another bundle"):
        plans(bundle.manifest, [replace(full, units=units)], [FULL])


def test_a_profile_in_a_precision_that_is_gone_is_refused(bundle, tmp_path):
    plain = tiny_bundle(tmp_path / "plain", exits=EXITS)
    with pytest.raises(ProfileError, match=r"half\.json: measured on another bundle, or on units .* made anew since"):
        plans(plain.manifest, [profile(bundle, "fp16")], [HALF])


@pytest.mark.parametrize("what", ["device", "engine"])
def test_profiles_from_two_devices_or_engines_are_not_compared(bundle, what):
    gpu, full, half = profile(bundle, "fp32", "tensorrt"), profile(bundle, "fp32"), profile(bundle, "fp16")
    if what == "device":
        half = replace(half, device=replace(half.device, board="another board"))
    else:
        half = replace(half, engine=replace(half.engine, threads=half.engine.threads + 1))
    files = [Path("gpu.json"), FULL, HALF]
    with pytest.raises(ProfileError, match=r"half\.json: measured on another device, .* than full\.json;") as told:
        plans(bundle.manifest, [gpu, full, half], files)
    assert "\n" not in str(told.value)


def planned(bundle, plan):
    edit_manifest(bundle.path, lambda data: data.update(plans={"onnxruntime": list(plan)}))
    return Bundle.open(bundle.path)


PLAN = ("fp32", "fp16", "fp16", "fp32")


def test_without_a_word_the_plan_runs(bundle):
    made = planned(bundle, PLAN)
    assert default_precisions(made, "onnxruntime") == PLAN
    assert Runtime.load(made).engines.precisions == PLAN
    assert load_engines(made).precisions == PLAN
    assert default_precisions(made, "tensorrt") == ("fp16",) * 4, "the other engine has none"
    assert Runtime.load(made, precision="fp16").engines.precisions == ("fp16",) * 4


def test_a_profile_says_what_runs_and_the_plan_has_one_of_its_own(bundle):
    made = planned(bundle, PLAN)
    own = measure(made, rounds=1, warm_up=0)
    assert tuple(u.precision for u in own.units.values()) == PLAN
    assert Runtime.load(made, own).engines.precisions == PLAN
    full = measure(made, rounds=1, warm_up=0, precision="fp32")
    assert Runtime.load(made, full).engines.precisions == ("fp32",) * 4
    with pytest.raises(ProfileError, match="measured with branch-2-mlp in fp16, and it is loaded in fp32"):
        Runtime.load(made, own, precision="fp32")


def test_a_plan_stays_as_long_as_its_units(bundle):
    before = planned(bundle, PLAN).manifest
    assert plans_left(before, before) == {"onnxruntime": PLAN}

    def changed(unit, precision):
        def change(u):
            variants = tuple(replace(v, sha256="0" * 64) if v.precision == precision else v for v in u.variants)
            return replace(u, variants=variants) if u.name == unit else u

        return replace(before, units=tuple(map(change, before.units)))

    assert plans_left(before, changed("head", "fp16")) == before.plans, "it runs in fp32 there"
    assert plans_left(before, changed("segment-2", "fp16")) == {}
    bare = replace(before, units=tuple(replace(u, variants=()) for u in before.units))
    assert plans_left(before, bare) == {}


def test_a_plan_of_a_precision_that_is_not_there_is_refused(bundle):
    edit_manifest(bundle.path, lambda data: data.update(plans={"onnxruntime": ["int8"] * 4}))
    assert (bundle.path / MANIFEST).is_file()
    with pytest.raises(BundleError, match="the plan names a precision that a unit does not have"):
        Bundle.open(bundle.path)
