"""What every exit answers on held-out frames, on its way to a file and back; a damaged file is one line."""

import hashlib
import io
import random
import zipfile

import numpy as np
import pytest

from jetson.confidence import LIMIT, believe
from jetson.errors import BundleError
from jetson.samples import Samples, decode

N, EXITS = 12, 4
OUTPUTS = {"classification": 3, "regression": 2}
TASKS = tuple(OUTPUTS)


def samples(task, n=N, exits=EXITS, seed=0):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(0, 3, (n, exits, OUTPUTS[task])).astype(np.float32)
    if task == "regression":
        return Samples.of(outputs, rng.normal(size=(n, OUTPUTS[task])).astype(np.float32), None)
    return Samples.of(outputs, rng.integers(0, OUTPUTS[task], n), [1.0 + k for k in range(exits)])


def arrays(of):
    names = ("class_index", "score", "output", "target")
    return {name: getattr(of, name) for name in names if getattr(of, name) is not None}


def read(content, task, exits=EXITS, outputs=None):
    return decode(content, "b/samples/fit.npz", task, exits, outputs or OUTPUTS[task])


def refuses(content, task, says, **changes):
    with pytest.raises(BundleError, match=says) as told:
        read(content, task, **changes)
    text = str(told.value)
    assert text.startswith("b/samples/fit.npz: ") and "\n" not in text and "copy the bundle again" in text


def packed(members, **options):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return content.getvalue()


def npy(array, **options):
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asanyarray(array), **options)
    return content.getvalue()


def members(task):
    return {f"{name}.npy": npy(array) for name, array in arrays(samples(task)).items()}


@pytest.mark.parametrize("task", TASKS)
def test_samples_survive_the_way_to_a_file_and_back(task):
    held = samples(task)
    found = read(held.encode(), task)
    assert len(found) == len(held) == N and found.exits == EXITS
    assert set(arrays(found)) == set(arrays(held))
    for name, array in arrays(held).items():
        assert arrays(found)[name].dtype == array.dtype and np.array_equal(arrays(found)[name], array)
    assert np.array_equal(found.worth, held.worth) and found.worth.dtype == np.float64


@pytest.mark.parametrize("task", TASKS)
def test_the_same_arrays_are_the_same_bytes_whatever_their_layout(task):
    held = samples(task)
    turned = Samples(**{name: np.asfortranarray(array) for name, array in arrays(held).items()})
    assert hashlib.sha256(turned.encode()).digest() == hashlib.sha256(samples(task).encode()).digest()
    assert held.encode() != samples(task, seed=1).encode()
    with np.load(io.BytesIO(held.encode())) as numpy_reads:
        assert all(np.array_equal(numpy_reads[name], array) for name, array in arrays(held).items())


@pytest.mark.parametrize("task", TASKS)
def test_what_numpy_itself_saves_is_read_too(task):
    content = io.BytesIO()
    np.savez(content, **arrays(samples(task)))
    assert np.array_equal(read(content.getvalue(), task).worth, samples(task).worth)


def test_a_score_is_the_logit_that_the_runtime_has_without_a_posterior():
    outputs = np.random.default_rng(0).normal(0, 6, (50, 2, 5)).astype(np.float32)
    found = Samples.of(outputs, np.zeros(50, np.int64), [0.7, 2.0])
    assert (found.class_index.dtype, found.score.dtype, found.target.dtype) == (np.int32, np.float32, np.int64)
    for frame in range(50):
        for exit_, temperature in enumerate((0.7, 2.0)):
            said = believe(outputs[frame, exit_], temperature)
            assert found.class_index[frame, exit_] == said.class_index
            assert found.score[frame, exit_] == pytest.approx(said.logit, rel=1e-6)


def test_worth_is_right_or_wrong_or_the_mean_error_over_outputs():
    right = Samples.of(np.array([[[1, 0], [0, 1]], [[2, 3], [5, 4]]], np.float32), np.array([0, 1]), [1.0, 1.0])
    assert right.worth.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    outputs = np.array([[[1.0, 5.0], [2.0, 2.0]]], np.float32)
    assert Samples.of(outputs, np.array([[2.0, 2.0]], np.float32), None).worth.tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 1000, npy(np.zeros(3)), packed({})])
def test_what_is_no_archive_of_samples_is_one_line(task, content):
    refuses(content, task, "no archive of uncompressed arrays|it does not hold")


@pytest.mark.parametrize("task", TASKS)
def test_compressed_samples_are_refused(task):
    refuses(packed(members(task), compression=zipfile.ZIP_DEFLATED), task, "no archive of uncompressed arrays")


@pytest.mark.parametrize("task", TASKS)
def test_other_arrays_are_refused(task):
    whole = members(task)
    one, *others = whole
    for wrong in (
        {k: whole[k] for k in others},
        whole | {"extra.npy": whole[one]},
        {k: whole[k] for k in others} | {"EXTRA\n.npy": whole[one]},
        {k: whole[k] for k in others} | {f"../{one}": whole[one]},
    ):
        refuses(packed(wrong), task, "does not hold .* which is what samples of a|no archive")
    refuses(samples(task).encode(), TASKS[1 - TASKS.index(task)], "does not hold")


@pytest.mark.parametrize(
    ("task", "name", "change", "says"),
    [
        ("classification", "score", lambda a: a.astype(np.float64), "score is not float32 of shape .n, 4."),
        ("classification", "score", lambda a: a.astype(">f4"), "score is not float32"),
        ("classification", "score", lambda a: a[:, :3], r"score is not float32 of shape \(n, 4\)"),
        ("classification", "score", lambda a: a[..., None], "score is not float32 of shape"),
        ("classification", "score", np.asfortranarray, "score is not float32 of shape"),
        ("classification", "score", lambda a: a[:-1], "its arrays are not of the same frames"),
        ("classification", "score", lambda a: a * np.float32(np.nan), "score is NaN or infinite on some frame"),
        ("classification", "score", lambda a: a + np.float32(np.inf), "score is NaN or infinite on some frame"),
        ("classification", "score", lambda a: np.full_like(a, LIMIT * 1.001), r"score has logits beyond 13\.82"),
        ("classification", "class_index", lambda a: a.astype(np.int64), "class_index is not int32"),
        ("classification", "class_index", lambda a: a.astype(object), "class_index is not int32"),
        ("classification", "class_index", lambda a: a - 3, r"class_index has class numbers outside 0\.\.2"),
        ("classification", "class_index", lambda a: a + 3, r"class_index has class numbers outside 0\.\.2"),
        ("classification", "target", lambda a: a + 3, r"target has class numbers outside 0\.\.2"),
        ("classification", "target", lambda a: a[:0], "there are no frames in it"),
        ("classification", "target", lambda a: a[0], r"target is not int64 of shape \(n,\)"),
        ("classification", "target", lambda a: a.astype([("a", "i8")]), "target is not int64"),
        ("regression", "output", lambda a: a[..., :1], r"output is not float32 of shape \(n, 4, 2\)"),
        ("regression", "output", lambda a: a * np.float32(np.nan), "output is NaN or infinite"),
        ("regression", "output", lambda a: a.astype(object), "output is not float32"),
        ("regression", "target", lambda a: a.astype(np.int64), r"target is not float32 of shape \(n, 2\)"),
        ("regression", "target", lambda a: a[:, 0], r"target is not float32 of shape \(n, 2\)"),
        ("regression", "target", lambda a: a[:5], "its arrays are not of the same frames"),
    ],
)
def test_arrays_that_are_not_what_they_should_be_are_named(task, name, change, says):
    whole = members(task)
    whole[f"{name}.npy"] = npy(change(arrays(samples(task))[name]))
    refuses(packed(whole), task, says)


@pytest.mark.parametrize("task", TASKS)
def test_samples_of_no_frames_are_refused(task):
    refuses(samples(task, 0).encode(), task, "there are no frames in it")


def test_samples_of_other_exits_or_classes_are_refused():
    content = samples("classification").encode()
    refuses(content, "classification", r"class_index is not int32 of shape \(n, 5\)", exits=5)
    refuses(content, "classification", r"has class numbers outside 0\.\.1", outputs=2)
    refuses(samples("regression").encode(), "regression", r"shape \(n, 4, 3\)", outputs=3)


@pytest.mark.parametrize("shape", [b"(99999999999, 4)", b"(12, 99999999)", b"(12,   )", b"(" + b"9" * 5000 + b", 4)"])
def test_a_header_that_claims_more_than_the_file_holds_is_refused(shape):
    whole = members("classification")
    spoilt = whole["score.npy"].replace(b"(12, 4)", shape)
    whole["score.npy"] = spoilt
    refuses(packed(whole), "classification", "score is not float32")
    inner = len(spoilt) - 12 * 4 * 4 - 10
    whole["score.npy"] = spoilt[:8] + inner.to_bytes(2, "little") + spoilt[10:]
    refuses(packed(whole), "classification", "score is not float32")


def test_a_member_that_claims_more_than_the_file_holds_is_refused():
    content = samples("classification").encode()
    at = content.index(b"PK\x01\x02")
    for fields in ((20,), (24,), (20, 24)):  # compressed and plain size, in the archive's directory
        spoilt = bytearray(content)
        for field in fields:
            spoilt[at + field : at + field + 4] = (2**32 - 2).to_bytes(4, "little")
        refuses(bytes(spoilt), "classification", "no archive of uncompressed arrays")


@pytest.mark.parametrize("task", TASKS)
def test_spoilt_bytes_never_give_another_exception(task):
    content = samples(task).encode()
    rng = random.Random(0)
    for _ in range(1500):
        spoilt = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        cut = bytes(spoilt[: rng.randrange(len(spoilt))] if rng.random() < 0.2 else spoilt)
        try:
            found = read(cut, task)
        except BundleError as error:
            assert "\n" not in str(error)
        else:
            assert found.worth.shape == (N, EXITS) and np.isfinite(found.worth).all()
