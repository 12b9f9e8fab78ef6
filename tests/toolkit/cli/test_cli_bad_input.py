"""What a user can get wrong: one line on stderr, exit code 2, and nothing left behind."""

import errno
import json
import os
import shutil
import subprocess
import sys

import click
import msgspec
import numpy as np
import pytest

from jetson.errors import EngineError, WorkFailed
from jetson.files import write_file
from tests.bundles import edit_manifest, fake_profile, replace_unit, tiny_bundle
from toolkit.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a bundle, its profile, frames and a budget trace, to work in."""
    bundle = tiny_bundle(tmp_path / "bundle")
    fake_profile(bundle).save(tmp_path / "profile.json")
    np.save(tmp_path / "frames.npy", np.zeros((3, 8, 8), np.uint8))
    (tmp_path / "trace.csv").write_text("t_ms,budget_ms\n0,5\n1,5\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fails(capsys, words, code=2):
    """Run a command that cannot work; gives its one line."""
    assert main(words.split() if isinstance(words, str) else words) == code
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("\n") and err.count("\n") == 1, err
    assert err.startswith("offramp") and "Traceback" not in err
    return err


RUN = "run bundle --profile profile.json --data frames.npy"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("fly", "offramp: No such command 'fly'"),
        ("--fly", "offramp: No such option '--fly'"),
        ("info", "offramp info: Missing argument 'BUNDLE'"),
        ("info bundle more", "offramp info: Got unexpected extra argument"),
        ("info bundle --fly", "offramp info: No such option '--fly'"),
        ("info nothing", "offramp info: nothing: not a bundle (there is no such folder); make one with: offramp build"),
        ("info .", "offramp info: .: not a bundle (no manifest.json in it)"),
        ("info frames.npy", "offramp info: frames.npy: not a bundle"),
        ("profile nothing", "offramp profile: nothing: not a bundle"),
        ("profile bundle --rounds 0", "offramp profile: Invalid value for '--rounds'"),
        ("profile bundle --batches two", "offramp profile: Invalid value for '--batches': 'two' is no list of sizes"),
        ("profile bundle --batches 1,2", "'1,2' is no list of sizes: give different numbers from 2 to 64"),
        ("profile bundle --batches 2,2", "'2,2' is no list of sizes: give different numbers from 2 to 64"),
        ("profile bundle --rounds many", "offramp profile: Invalid value for '--rounds'"),
        ("profile bundle --seconds -1", "offramp profile: Invalid value for '--seconds'"),
        ("profile bundle --warm-up -1", "offramp profile: Invalid value for '--warm-up'"),
        ("profile bundle --threads 0", "offramp profile: Invalid value for '--threads'"),
        ("profile bundle --frame-size 0", "offramp profile: Invalid value for '--frame-size'"),
        ("profile bundle --frame-size 99999", "'99999' is not a size"),
        ("profile bundle --frame-size 480x16385", "is not a size: give N or HxW, e.g. 224 or 480x640, at most 16384"),
        ("profile bundle --frame-size 8x", "is not a size: give N or HxW"),
        ("run bundle", "offramp run: Missing option '--profile'"),
        (f"{RUN} --budget-ms 5 --budget-trace trace.csv", "give one of --fps, --budget-ms and --budget-trace"),
        (f"{RUN} --budget-ms 5 --fps 30", "offramp run: give one of --fps, --budget-ms and --budget-trace"),
        (f"{RUN} --fps 0", "'0' is no rate: give frames a second, e.g. 30, or own for the source's"),
        (f"{RUN} --fps nan", "'nan' is no rate"),
        (f"{RUN} --fps own", "offramp run: frames.npy: has no rate of its own; give one: --fps 30"),
        (f"{RUN} --camera-size 480x640", "offramp run: --camera-size is for cameras"),
        (f"{RUN} --seconds 0", "offramp run: Invalid value for '--seconds'"),
        (f"{RUN} --budget-ms nan", "offramp run: a budget cannot be NaN"),
        (f"{RUN} --budget-ms -1", "offramp run: a budget cannot be negative (-1 ms)"),
        (f"{RUN} --budget-ms soon", "offramp run: Invalid value for '--budget-ms'"),
        (f"{RUN} --budget-trace nothing.csv", "offramp run: nothing.csv: no such budget trace"),
        (f"{RUN} --budget-trace profile.json", "offramp run: profile.json, line 1: the columns must be"),
        (f"{RUN} --budget-trace frames.npy", "offramp run: frames.npy: not a CSV file"),
        (f"{RUN} --budget-ms 5 --level 2", "offramp run: the latency quantile must lie between 0 and 1"),
        (f"{RUN} --budget-ms 5 --level nan", "offramp run: the latency quantile must lie between 0 and 1"),
        (f"{RUN} --budget-ms 5 --frames 0", "offramp run: Invalid value for '--frames'"),
        (f"{RUN} --budget-ms 5 --split dev", "offramp run: Invalid value for '--split'"),
        (
            f"{RUN} --budget-ms 5 --profile nothing.json",
            "nothing.json: no such profile; make one with: offramp profile",
        ),
        (f"{RUN} --budget-ms 5 --profile trace.csv", "trace.csv: not valid JSON"),
        (f"{RUN} --budget-ms 5 --data nothing", "offramp run: 'nothing': no such file or folder"),
        (f"{RUN} --budget-ms 5 --data trace.csv", "offramp run: trace.csv: neither a folder nor an image"),
        ("build nothing --out bundle2 --parity-frames 0", "offramp build: parity and quality need at least one"),
        ("build", "offramp build: Missing argument 'CHECKPOINT'"),
        ("build nothing", "offramp build: Missing option '--out'"),
        ("report nothing", "offramp report: "),
    ],
)
def test_what_a_user_types_wrong_is_one_line(here, capsys, words, says):
    before = tree(here)
    assert says in fails(capsys, words)
    assert tree(here) == before


def change(path_in_manifest, value):
    def damage(here):
        *path, key = path_in_manifest

        def edit(manifest):
            place = manifest
            for step in path:
                place = place[step]
            place[key] = value

        edit_manifest(here / "bundle", edit)

    return damage


def spoil(file, content):
    return lambda here: (here / "bundle" / file).write_bytes(content)


DAMAGES = {
    "missing unit": (lambda here: (here / "bundle/units/head.onnx").unlink(), "the file of unit head is missing"),
    "truncated unit": (spoil("units/head.onnx", b"x"), "the file is truncated or altered"),
    "empty manifest": (spoil("manifest.json", b""), "not valid JSON"),
    "binary manifest": (spoil("manifest.json", bytes(range(256))), "not valid JSON"),
    "deep manifest": (spoil("manifest.json", b"[" * 100_000), "not valid JSON"),
    "newer manifest": (change(["version"], 6), "format version 6 is newer than this Offramp reads (5); upgrade"),
    "unknown key": (change(["units", 0, "colour"], "red"), "unknown field `colour` - at `$.units[0]`"),
    "unknown key with a line break": (change(["a\nb"], 1), "unknown field `a b`"),
    "path upwards": (change(["units", 0, "file"], "../x"), "the file '../x' of unit segment-1 leaves the bundle"),
    "absolute path": (change(["units", 0, "file"], "/etc/hostname"), "leaves the bundle"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("words", ["info bundle", "profile bundle --rounds 1", f"{RUN} --budget-ms 5"])
def test_a_damaged_bundle_is_one_line_in_every_command(here, capsys, words, damage):
    act, says = DAMAGES[damage]
    act(here)
    before = tree(here)
    assert says in fails(capsys, words)
    assert tree(here) == before


def test_an_altered_unit_is_one_line(here, capsys):
    file = here / "bundle/units/segment-2.onnx"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "unit segment-2 was altered (its SHA-256 differs)" in fails(capsys, f"{RUN} --budget-ms 5")


def test_a_link_out_of_the_bundle_is_one_line(here, capsys):
    shutil.move(here / "bundle/units/head.onnx", here / "head.onnx")
    (here / "bundle/units/head.onnx").symlink_to(here / "head.onnx")
    assert "the file of unit head leaves the bundle" in fails(capsys, "info bundle")


def test_a_profile_of_another_bundle_is_refused_with_the_command_to_make_one(here, capsys):
    fake_profile(tiny_bundle(here / "other", seed=3)).save(here / "profile.json")
    said = fails(capsys, f"{RUN} --budget-ms 5")
    assert "measured on another bundle than bundle; make one for this with: offramp profile bundle --out" in said


def test_a_profile_of_another_device_is_refused_with_the_command_to_make_one(here, capsys):
    profile = fake_profile(tiny_bundle(here / "bundle"))
    device = msgspec.structs.replace(profile.device, board="NVIDIA Jetson AGX Orin Developer Kit")
    msgspec.structs.replace(profile, device=device).save(here / "profile.json")
    said = fails(capsys, f"{RUN} --budget-ms 5")
    assert "another device (board: 'NVIDIA Jetson AGX Orin Developer Kit' there, None here)" in said
    assert "offramp profile bundle --out profile.json" in said


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((2, 8, 8, 4), np.uint8), "drop the alpha channel first"),
        (np.zeros((2, 8, 8, 3), np.uint8), "a frame is height x width x 1"),
        (np.zeros((2, 8, 8), np.float32), "images must be uint8"),
        (np.full((2, 8, 8), np.nan), "images must be uint8"),
        (np.zeros((0, 8, 8), np.uint8), "no images in an array"),
        (np.zeros(5, np.uint8), "images must be [n, height, width, channels]"),
        (np.array([None]), "damaged, incomplete or not an array file"),
    ],
)
def test_frames_of_the_wrong_shape_or_type_are_one_line(here, capsys, array, says):
    np.save(here / "frames.npy", array)
    assert main(f"{RUN} --budget-ms 5 --record frames.jsonl".split()) == 2
    out, err = capsys.readouterr()
    *progress, last = err.splitlines()
    assert says in last and "Traceback" not in err and out == ""
    assert progress in ([], ["answering (2) ..."]) and not (here / "frames.jsonl").exists()


def test_an_empty_data_folder_is_one_line(here, capsys):
    (here / "empty").mkdir()
    assert "empty: no images in it" in fails(capsys, f"{RUN} --budget-ms 5 --data empty")


def test_a_unit_that_is_no_onnx_is_failed_work(here, capsys):
    bundle = replace_unit(tiny_bundle(here / "bundle"), "segment-2", b"no onnx")
    fake_profile(bundle).save(here / "profile.json")
    said = fails(capsys, f"{RUN} --budget-ms 5", code=1)
    assert said.startswith("offramp run: unit segment-2: ONNX Runtime cannot load it")


def last_line(capsys, words, code):
    """The last line on stderr, where progress may come before it."""
    assert main(words.split()) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


def test_a_full_disk_is_one_line_and_keeps_the_old_profile(here, capsys, monkeypatch):
    before = tree(here)

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("jetson.files.os.fsync", full)
    said = last_line(capsys, "profile bundle --rounds 2 --warm-up 0", 2)
    assert said == "offramp profile: profile.json: the disk is full; free some space and run the same command again"
    said = last_line(capsys, f"{RUN} --budget-ms 5 --record deep/frames.jsonl", 2)
    assert said.startswith("offramp run: deep/frames.jsonl: the disk is full")
    assert tree(here) == before


def test_a_full_disk_below_a_library_is_one_line_too(here, capsys, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("toolkit.cli.info.print_json", full)
    assert fails(capsys, "info bundle --json") == (
        "offramp info: the disk is full; free some space and run the same command again\n"
    )


def test_a_profile_cannot_be_written_over_a_folder(here, capsys):
    said = last_line(capsys, "profile bundle --rounds 1 --warm-up 0 --out bundle", 2)
    assert said == "offramp profile: cannot write bundle: it is there already and is no file"
    said = last_line(capsys, "profile bundle --rounds 1 --warm-up 0 --out trace.csv/p.json", 2)
    assert said.startswith("offramp profile: cannot write trace.csv/p.json: ")


def test_seconds_that_are_no_number_are_refused(here, capsys):
    said = last_line(capsys, "profile bundle --seconds nan", 2)
    assert said == "offramp profile: rounds must be at least 1, warm-up and seconds not negative"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "offramp info: interrupted"),
        (click.Abort(), 130, "offramp info: interrupted"),
        (EngineError("unit head failed:\n  out of memory\n"), 1, "offramp info: unit head failed: out of memory"),
        (WorkFailed("it did not work"), 1, "offramp info: it did not work"),
    ],
)
def test_every_end_has_its_line_and_its_code(here, capsys, monkeypatch, error, code, says):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr("toolkit.cli.info.describe", fail)
    assert fails(capsys, "info bundle --json", code) == says + "\n"


@pytest.mark.parametrize("bug", [TypeError("a bug of ours"), OSError(errno.EIO, "input/output error"), SystemExit(7)])
def test_a_bug_keeps_its_traceback(here, monkeypatch, bug):
    def fail(*_args, **_options):
        raise bug

    monkeypatch.setattr("toolkit.cli.info.describe", fail)
    with pytest.raises(type(bug)):
        main(["info", "bundle", "--json"])


def test_a_missing_extra_is_one_line_that_names_it(here):
    # In a process of its own: modules that are imported twice in this one would confuse the tests after it.
    script = (
        "import sys; sys.modules['torch'] = None; from toolkit.cli import main; "
        "sys.exit(main(['build', 'checkpoint', '--out', 'bundle2']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "offramp build: torch is not installed: pip install 'offramp[host]'\n"


def test_a_name_that_is_not_utf8_is_one_line(here, capsys):
    name = os.fsdecode(b"bad\xff")
    assert "not a bundle" in fails(capsys, ["info", name])
    write_file(here / name, json.dumps({}))
    assert "not a bundle" in fails(capsys, ["info", name])
