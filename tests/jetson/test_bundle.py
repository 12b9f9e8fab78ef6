import hashlib
import json
import os
import random
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson.bundle import Bundle
from jetson.errors import BundleError, OfframpError, StorageError
from jetson.samples import Samples
from tests.bundles import edit_manifest, tiny_bundle, with_half

FUZZ = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "bundle")


def refuses(path, says):
    with pytest.raises(BundleError, match=says) as caught:
        Bundle.open(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_bundle_opens_by_path_and_by_text(bundle):
    assert Bundle.open(str(bundle.path)).manifest == Bundle.open(bundle.path).manifest == bundle.manifest
    assert bundle.file(bundle.manifest.units[0]) == bundle.path / "units" / "segment-1.onnx"


def test_a_bundle_that_has_moved_still_opens(bundle, tmp_path):
    shutil.move(bundle.path, tmp_path / "elsewhere")
    assert Bundle.open(tmp_path / "elsewhere").manifest == bundle.manifest


def test_what_is_no_bundle_says_how_to_make_one(tmp_path):
    refuses(tmp_path / "nothing", r"there is no such folder.*offramp build CHECKPOINT --out BUNDLE")
    refuses(tmp_path, r"no manifest\.json in it")
    (tmp_path / "file").write_text("x")
    refuses(tmp_path / "file", r"no manifest\.json in it")
    (tmp_path / "manifest.json").mkdir()
    refuses(tmp_path, r"no manifest\.json in it")


def test_a_name_that_no_file_can_have_is_one_line():
    with pytest.raises(StorageError, match="cannot read x"):
        Bundle.open("x" * 5000)


def test_a_missing_unit_is_named(bundle):
    (bundle.path / "units" / "head.onnx").unlink()
    refuses(bundle.path, "the file of unit head is missing; build or copy the bundle again")


def test_a_folder_in_place_of_a_unit_is_missing(bundle):
    (bundle.path / "units" / "head.onnx").unlink()
    (bundle.path / "units" / "head.onnx").mkdir()
    refuses(bundle.path, "the file of unit head is missing")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_unit_is_named(bundle, keep):
    file = bundle.path / "units" / "segment-2.onnx"
    file.write_bytes(file.read_bytes()[:keep])
    refuses(bundle.path, r"unit segment-2 has \d+ bytes and should have \d+; the file is truncated or altered")


def test_an_altered_unit_is_named(bundle):
    file = bundle.path / "units" / "branch-4-vit.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    refuses(bundle.path, r"unit branch-4-vit was altered \(its SHA-256 differs\)")
    assert Bundle.open(bundle.path, verify=False).manifest == bundle.manifest


def test_a_link_out_of_the_bundle_is_refused(bundle, tmp_path):
    file = bundle.path / "units" / "head.onnx"
    shutil.move(file, tmp_path / "head.onnx")
    file.symlink_to(tmp_path / "head.onnx")
    refuses(bundle.path, "the file of unit head leaves the bundle")


def test_a_linked_units_folder_out_of_the_bundle_is_refused(bundle, tmp_path):
    shutil.move(bundle.path / "units", tmp_path / "units")
    (bundle.path / "units").symlink_to(tmp_path / "units")
    refuses(bundle.path, "the file of unit segment-1 leaves the bundle")


def test_links_in_a_circle_are_refused(bundle):
    file = bundle.path / "units" / "head.onnx"
    file.unlink()
    file.symlink_to("head.onnx")
    with pytest.raises((BundleError, StorageError), match="head"):
        Bundle.open(bundle.path)


def test_a_file_that_no_hash_covers_is_refused(bundle):
    stranger = bundle.path / "units" / "weights.data"
    stranger.write_bytes(b"an ONNX graph may read its weights from here")
    refuses(bundle.path, r"weights\.data: the manifest does not name this file")
    stranger.unlink()
    (bundle.path / "units" / "folder").mkdir()
    assert Bundle.open(bundle.path).manifest == bundle.manifest


def test_a_link_to_the_whole_bundle_is_fine(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle.path)
    assert Bundle.open(tmp_path / "link").manifest == bundle.manifest


def test_a_pipe_is_not_waited_for(bundle):
    (bundle.path / "manifest.json").unlink()
    os.mkfifo(bundle.path / "manifest.json")
    refuses(bundle.path, r"no manifest\.json in it")


def test_a_file_name_that_is_too_long_is_one_line(bundle):
    edit_manifest(bundle.path, lambda m: m["units"][0].update(file="x" * 5000))
    with pytest.raises(OfframpError) as caught:
        Bundle.open(bundle.path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("fuzz") / "bundle", samples={"fit": answered(5)})


def opens_or_says_why(bundle, content):
    (bundle.path / "manifest.json").write_bytes(content)
    try:
        opened = Bundle.open(bundle.path, verify=False)
        for role in opened.manifest.samples:
            opened.samples(role)
    except OfframpError as error:
        assert error.exit_code == 2 and str(error)


@pytest.fixture(scope="module")
def manifest_bytes(fuzzed):
    return (fuzzed.path / "manifest.json").read_bytes()


@FUZZ
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 6), cut=st.booleans())
def test_spoilt_bytes_never_give_another_exception(fuzzed, manifest_bytes, seed, flips, cut):
    rng = random.Random(seed)
    content = bytearray(manifest_bytes)
    for _ in range(flips):
        content[rng.randrange(len(content))] = rng.choice([rng.randrange(256), *b'0123456789-.e"{}[]:,\\'])
    opens_or_says_why(fuzzed, bytes(content[: rng.randrange(len(content))] if cut else content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(data, path=()):
    """The paths of all values in JSON data."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


@FUZZ
@given(data=st.data())
def test_any_value_anywhere_never_gives_another_exception(fuzzed, manifest_bytes, data):
    manifest = json.loads(manifest_bytes)
    every = [p for p in places(manifest) if p]
    *path, key = data.draw(st.sampled_from(every))
    place = manifest
    for step in path:
        place = place[step]
    place[key] = data.draw(JSON)
    opens_or_says_why(fuzzed, json.dumps(manifest).encode())


def test_the_fuzzed_bundle_itself_opens(fuzzed, manifest_bytes):
    (fuzzed.path / "manifest.json").write_bytes(manifest_bytes)
    assert Bundle.open(fuzzed.path).manifest == fuzzed.manifest


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_variant_is_refused_like_a_unit(tmp_path, damage):
    bundle = with_half(tiny_bundle(tmp_path / "bundle"))
    file = bundle.path / "units" / "segment-2.fp16.onnx"
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:-1] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"segment-2\.fp16\.onnx: .*segment-2") as caught:
        Bundle.open(bundle.path)
    assert "\n" not in str(caught.value)


def answered(n, seed=0):
    rng = np.random.default_rng(seed)
    return Samples.of(rng.normal(size=(n, 4, 3)).astype(np.float32), rng.integers(0, 3, n), [1.5] * 4)


@pytest.fixture
def told(tmp_path):
    """A bundle that tells what its exits answer."""
    return tiny_bundle(tmp_path / "told", samples={"fit": answered(20), "select": answered(30, 1)})


def test_what_the_exits_answer_is_read_by_role(told, bundle):
    found = Bundle.open(told.path).samples("select")
    assert len(found) == told.manifest.samples["select"].n == 30 and found.exits == 4
    assert np.array_equal(found.worth, answered(30, 1).worth)
    assert told.samples("test") is None and bundle.samples("fit") is None
    assert told.manifest.identity == bundle.manifest.identity


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: f.unlink(), "the file of the fit samples is missing"),
        (lambda f: f.write_bytes(f.read_bytes()[:-1]), r"the fit samples has \d+ bytes and should have \d+"),
        (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"x"), r"the fit samples was altered \(its SHA-256 differs\)"),
        (lambda f: (f.rename(f.parents[2] / f.name), f.symlink_to(f.parents[2] / f.name)), "leaves the bundle"),
    ],
)
def test_damaged_samples_are_refused_like_a_unit(told, damage, says):
    damage(told.path / "samples" / "fit.npz")
    refuses(told.path, says)
    with pytest.raises(BundleError, match=says):
        told.samples("fit")
    assert told.samples("select") is not None


def test_a_file_among_the_samples_that_no_hash_covers_is_refused(told):
    (told.path / "samples" / "test.npz").write_bytes(b"x")
    refuses(told.path, r"test\.npz: the manifest does not name this file")


def test_samples_of_another_count_or_of_another_kind_are_refused(told):
    edit_manifest(told.path, lambda m: m["samples"]["fit"].update(n=21))
    with pytest.raises(BundleError, match=r"fit\.npz: holds 20 frames and should hold 21; build the bundle again"):
        Bundle.open(told.path).samples("fit")
    file, content = told.path / "samples" / "fit.npz", b"not what it says"
    file.write_bytes(content)
    stated = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_manifest(told.path, lambda m: m["samples"]["fit"].update(stated))
    with pytest.raises(BundleError, match=r"fit\.npz: no archive of uncompressed arrays"):
        Bundle.open(told.path).samples("fit")
