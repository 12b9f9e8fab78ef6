import json

import msgspec
import pytest

from jetson.bundle import Bundle
from jetson.decode import decode_manifest
from jetson.errors import BundleError, OfframpError
from jetson.manifest import METRICS
from tests.bundles import edit_manifest, tiny_bundle, with_half


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return (tiny_bundle(tmp_path_factory.mktemp("m") / "bundle").path / "manifest.json").read_bytes()


def changed(content, *path_and_value):
    """The manifest with one value replaced; the path is keys and indices, the value comes last."""
    *path, key, value = path_and_value
    data = json.loads(content)
    place = data
    for step in path:
        place = place[step]
    if value is KeyError:
        del place[key]
    else:
        place[key] = value
    return json.dumps(data).encode()


def refuses(content, says):
    with pytest.raises(BundleError, match=says) as caught:
        decode_manifest(content, "m.json")
    text = str(caught.value)
    assert text.startswith("m.json: ") and "\n" not in text and caught.value.exit_code == 2


def test_a_manifest_survives_the_way_to_disk_and_back(content):
    manifest = decode_manifest(content, "m.json")
    assert decode_manifest(msgspec.json.encode(manifest), "m.json") == manifest
    assert [u.name for u in manifest.segments] == ["segment-1", "segment-2", "segment-3"]
    assert manifest.unit("head").layer == 6


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"format": "\xff"}', "not valid JSON"),
        (b'{"format": "offramp-bundle", "version": NaN}', "not valid JSON"),
        (b'{"format": "offramp-bundle", "version": 1e999}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"format":' * 100_000, "not valid JSON"),
        (b"[]", "not the manifest of an Offramp bundle"),
        (b"null", "not the manifest of an Offramp bundle"),
        (b"{}", "not the manifest of an Offramp bundle"),
        (b'{"format": "offramp-profile", "version": 1}', "not the manifest of an Offramp bundle"),
        (b'{"format": "offramp-bundle"}', "format version None is not one"),
        (b'{"format": "offramp-bundle", "version": 0}', "format version 0 is not one"),
        (b'{"format": "offramp-bundle", "version": "2"}', "format version '2' is not one"),
        (b'{"format": "offramp-bundle", "version": 6}', "format version 6 is newer .* upgrade"),
        (b'{"format": "offramp-bundle", "version": 123456789012345678901234567890}', "is newer"),
        (b'{"format": "offramp-bundle", "version": true}', "Expected `int`, got `bool`|missing required"),
    ],
)
def test_what_is_no_manifest_is_one_line(content, says):
    refuses(content, says)


def test_a_newer_version_is_refused_before_its_keys_are_looked_at(content):
    data = json.loads(content) | {"version": 6, "energy": 1}
    refuses(json.dumps(data).encode(), "format version 6 is newer than this Offramp reads")


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ((), "m.json: Object contains unknown field `surprise`$"),
        (("preprocessing",), r"\$\.preprocessing"),
        (("units", 0), r"\$\.units\[0\]"),
        (("units", 0, "input"), r"\$\.units\[0\]\.input"),
        (("exits", 0), r"\$\.exits\[0\]"),
        (("exits", 0, "quality", 0), r"\$\.exits\[0\]\.quality\[0\]"),
        (("parity",), r"\$\.parity"),
        (("provenance",), r"\$\.provenance"),
    ],
)
def test_an_unknown_key_is_named_wherever_it_is(content, path, where):
    refuses(changed(content, *path, "surprise", 1), "unknown field `surprise`")
    refuses(changed(content, *path, "surprise", 1), where)


@pytest.mark.parametrize("key", ["task", "classes", "outputs", "units", "exits", "parity", "build", "provenance"])
def test_a_missing_key_is_named(content, key):
    refuses(changed(content, key, KeyError), f"missing required field `{key}`")


@pytest.mark.parametrize(
    "file",
    ["../x.onnx", "units/../../x", "/etc/passwd", "units\\x.onnx", "..\\x", "C:\\x", "", ".", "units/\0x", "//x", ".."],
)
def test_a_path_that_leaves_the_bundle_is_refused(content, file):
    refuses(changed(content, "units", 0, "file", file), "the file .* of unit segment-1 leaves the bundle")


@pytest.mark.parametrize(
    ("path_and_value", "says"),
    [
        (("units", 1, "name", "segment-1"), "two units have the same name"),
        (("units", []), "at least one segment and one exit"),
        (("exits", []), "at least one segment and one exit"),
        (("units", 0, "input", "shape", []), "segment-1 has an impossible shape"),
        (("units", 0, "output", "shape", [1, 0, 16]), "segment-1 has an impossible shape"),
        (("units", 0, "output", "shape", [1, -8, -16]), "segment-1 has an impossible shape"),
        (("units", 0, "output", "shape", [2**31, 2**31, 2**31]), "segment-1 has an impossible shape"),
        (("units", 0, "output", "shape", [10**25]), "out of range|impossible shape|Expected"),
        (("units", 0, "output", "shape", [1, 8, 17]), "does not fit behind segment-1"),
        (("units", 0, "output", "dtype", "float16"), "does not fit behind segment-1"),
        (("units", 0, "output", "dtype", "object"), "Invalid enum value 'object'"),
        (("units", 0, "input", "shape", [1, 1, 8, 9]), "does not take what the preprocessing makes"),
        (("units", 0, "input", "dtype", "uint8"), "does not take what the preprocessing makes"),
        (("units", 1, "input", "shape", [1, 8, 17]), "branch-2-mlp does not fit behind segment-1"),
        (("units", 1, "output", "shape", [1, 4]), "branch-2-mlp does not give 3 outputs"),
        (("units", 1, "output", "shape", [3]), "branch-2-mlp does not give 3 outputs"),
        (("units", 1, "layer", 4), "its layer is not its branch's"),
        (("units", 1, "kind", "segment"), "not in the order|names|end in a branch|the segments"),
        (("units", 0, "layer", 5), "not in the order of their layers"),
        (("units", 0, "sha256", "AB" * 32), "the hash of unit segment-1 is not a SHA-256"),
        (("units", 0, "sha256", "ab" * 31), "the hash of unit segment-1 is not a SHA-256"),
        (("exits", 0, "units", ["segment-1", "nothing"]), "exit 2:mlp names a unit that is not there"),
        (("exits", 0, "units", []), "exit 2:mlp names a unit that is not there"),
        (("exits", 0, "units", ["branch-2-mlp"]), "does not run the segments up to its layer"),
        (("exits", 2, "units", ["segment-2", "branch-4-vit"]), "does not run the segments up to its layer"),
        (("exits", 0, "units", ["segment-1"]), "exit 2:mlp does not end in a branch"),
        (("exits", 0, "units", ["segment-1", "branch-2-cnn-add"]), "branches and exits are not one to one"),
        (("exits", 0, "layer", 3), "its layer is not its branch's"),
        (("exits", 0, "layer", 1), "does not run the segments up to its layer"),
        (("exits", 1, "name", "2:mlp"), "two exits have the same name"),
        (("exits", 0, "quality", []), "exit 2:mlp has no quality"),
        (("exits", 0, "quality", 0, "metric", "mean_absolute_error"), "the quality of exit 2:mlp is not its accuracy"),
        (("exits", 0, "temperature", 0), "the temperature of exit 2:mlp"),
        (("exits", 0, "temperature", -1.0), "the temperature of exit 2:mlp"),
        (("exits", 0, "temperature", 1e-300), "the temperature of exit 2:mlp"),
        (("exits", 0, "temperature", 1e300), "the temperature of exit 2:mlp"),
        (("exits", 0, "temperature", None), "the temperature of exit 2:mlp"),
        (("classes", None), "the number of classes is not the number of outputs"),
        (("classes", ["a", "b"]), "the number of classes is not the number of outputs"),
        (("task", "detection"), "Invalid enum value 'detection'"),
        (("task", "regression"), "is not its mean_absolute_error"),
        (("preprocessing", "mean", [0.5, 0.5]), "mean and std need one value per channel"),
        (("preprocessing", "std", []), "mean and std need one value per channel"),
        (("preprocessing", "std", [0.0]), "mean or std is not usable"),
        (("preprocessing", "std", [-1.0]), "mean or std is not usable"),
        (("preprocessing", "std", [1e-300]), "mean or std is not usable"),
        (("preprocessing", "mean", [1e300]), "mean or std is not usable"),
        (("preprocessing", "height", 0), "empty shape"),
        (("preprocessing", "channels", 3), "mean and std need one value"),
        (("preprocessing", "height", 16), "does not take what the preprocessing makes"),
        (("preprocessing", "resize", "nearest"), "Invalid enum value 'nearest'"),
    ],
)
def test_records_that_contradict_each_other_are_refused(content, path_and_value, says):
    refuses(changed(content, *path_and_value), says)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "nan"])
def test_a_temperature_that_is_no_number_is_refused(content, literal):
    spoilt = content.replace(b'"temperature":1.5', f'"temperature":{literal}'.encode(), 1)
    assert spoilt != content
    refuses(spoilt, "not valid JSON")


def test_exits_in_another_order_are_refused(content):
    data = json.loads(content)
    data["exits"].reverse()
    refuses(json.dumps(data).encode(), "the exits are not in the order of their layers")


def test_a_segment_behind_the_last_exit_is_refused(content):
    data = json.loads(content)
    data["exits"].pop()
    data["units"] = [u for u in data["units"] if u["name"] != "head"]
    refuses(json.dumps(data).encode(), "the last segment leads to no exit")


def test_a_temperature_in_regression_is_refused(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle", task="regression", outputs=1)
    edit_manifest(bundle.path, lambda m: m["exits"][0].update(temperature=1.0))
    with pytest.raises(BundleError, match="which regression does not know"):
        Bundle.open(bundle.path)


def test_identity_changes_with_a_unit_or_the_preprocessing_only(content):
    manifest = decode_manifest(content, "m.json")
    assert len(manifest.identity) == 64
    judged = msgspec.structs.replace(manifest, build="00" * 32)
    assert judged.identity == manifest.identity
    unit = msgspec.structs.replace(manifest.units[0], sha256="00" * 32)
    assert msgspec.structs.replace(manifest, units=(unit, *manifest.units[1:])).identity != manifest.identity
    other = msgspec.structs.replace(manifest.preprocessing, mean=(0.1,))
    assert msgspec.structs.replace(manifest, preprocessing=other).identity != manifest.identity


def test_every_task_has_its_metric(tmp_path):
    assert set(METRICS) == {"classification", "regression"}
    bundle = tiny_bundle(tmp_path / "bundle", task="regression", outputs=2)
    assert bundle.manifest.exits[0].quality[0].metric == METRICS["regression"]


def test_errors_are_of_the_one_tree():
    assert issubclass(BundleError, OfframpError) and BundleError("x").exit_code == 2


def test_a_manifest_of_the_first_version_is_read(content):
    data = json.loads(content) | {"version": 1}
    for unit in data["units"]:
        del unit["variants"], unit["dynamic_batch"]
    for exit_ in data["exits"]:
        del exit_["differences"]
    del data["parity"]["tolerances"]
    assert decode_manifest(json.dumps(data).encode(), "m.json") == decode_manifest(content, "m.json")


VARIANT = {"precision": "fp16", "file": "units/h.onnx", "sha256": "ab" * 32, "size_bytes": 3}


def test_a_unit_is_found_in_each_of_its_precisions(content):
    manifest = decode_manifest(changed(content, "units", 0, "variants", [VARIANT]), "m.json")
    first, second = manifest.units[:2]
    assert (first.at("fp32").file, first.at("fp16").file) == (first.file, "units/h.onnx")
    assert manifest.precisions == ("fp32",), "not every unit is there in half precision"
    with pytest.raises(
        BundleError, match=f"unit {second.name} is in the bundle in fp32 only; .*--precision fp32,fp16"
    ) as told:
        second.at("fp16")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"precision": "fp32"}, "unit segment-1 is there twice in one precision"),
        ({"precision": "fp8"}, "Invalid enum value 'fp8'"),
        ({"file": "../h.onnx"}, r"the file '\.\./h.onnx' of unit segment-1 leaves the bundle"),
        ({"sha256": "ab"}, "the hash of unit segment-1 is not a SHA-256"),
        ({"speed": 3}, "unknown field `speed`"),
    ],
)
def test_a_variant_keeps_the_rules_of_a_unit(content, change, says):
    refuses(changed(content, "units", 0, "variants", [VARIANT | change]), says)


def test_each_choice_of_precisions_has_an_identity(tmp_path):
    manifest = with_half(tiny_bundle(tmp_path / "bundle")).manifest
    full, half = (manifest.identity_at([p] * len(manifest.units)) for p in ("fp32", "fp16"))
    mixed = manifest.identity_at(["fp16", *["fp32"] * (len(manifest.units) - 1)])
    assert full == manifest.identity and len({full, half, mixed}) == 3
    assert tiny_bundle(tmp_path / "plain").manifest.identity == full, "a variant that does not run changes nothing"
    with pytest.raises(BundleError, match=r"in fp32, fp16 only; build it again with: .* fp32,int8"):
        manifest.identity_at(["int8"] * len(manifest.units))


SAMPLES = {"file": "samples/fit.npz", "sha256": "ab" * 32, "size_bytes": 3, "n": 12}


@pytest.mark.parametrize(
    ("role", "change", "says"),
    [
        ("train", {}, "there are samples of 'train', which is none of fit, select, test"),
        ("", {}, "there are samples of ''"),
        ("fit", {"file": "../fit.npz"}, r"the file '\.\./fit.npz' of the fit samples leaves the bundle"),
        ("fit", {"file": ""}, "leaves the bundle"),
        ("test", {"file": "/elsewhere/fit.npz"}, "of the test samples leaves the bundle"),
        ("fit", {"sha256": "AB" * 32}, "the hash of the fit samples is not a SHA-256"),
        ("select", {"n": 0}, "the select samples have no frames"),
        ("fit", {"n": "many"}, "Expected `int`"),
        ("fit", {"frames": 3}, "unknown field `frames`"),
    ],
)
def test_samples_keep_the_rules_of_files(content, role, change, says):
    refuses(changed(content, "samples", {role: SAMPLES | change}), says)


def test_samples_shape_no_identity(content):
    manifest = decode_manifest(changed(content, "samples", {"fit": SAMPLES}), "m.json")
    assert manifest.samples["fit"].n == 12 and manifest.identity == decode_manifest(content, "m.json").identity


def test_a_manifest_of_the_third_version_has_no_samples(content):
    aged = changed(changed(content, "version", 3), "samples", KeyError)
    assert decode_manifest(aged, "m.json") == decode_manifest(content, "m.json")
