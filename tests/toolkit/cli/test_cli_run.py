"""`offramp run` on what people have: what it prints, what it records, and how it ends."""

import json
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from jetson.errors import WorkFailed
from jetson.frames.frame import Shot
from jetson.lines import Frame, Last
from tests.bundles import edit_manifest, fake_profile, tiny_bundle
from toolkit.cli import main
from toolkit.cli.run_words import percent, values

RUN = ["run", "bundle", "--profile", "profile.json"]
KEYS = (
    "frame t_ms name source_frame source_ms dropped exit exit_name class label value confidence elapsed_ms answered_ms "
    "budget_ms met_deadline preprocess_ms slowdown waited_ms units feasible branches target correct error_abs"
)
IMAGE = np.full((8, 8, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of RGB images, its profile, a folder of photographs and a video."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("run")
    fake_profile(tiny_bundle(folder / "bundle", channels=3)).save(folder / "profile.json")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(folder / "photos" / name)
    return folder


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


@pytest.fixture(scope="module")
def clip(made):
    from jetson.frames.opencv import import_cv2

    cv2 = import_cv2()
    writer = cv2.VideoWriter(str(made / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 100.0, (64, 48))
    for index in range(40):
        writer.write(np.full((48, 64, 3), 6 * index, np.uint8))
    writer.release()
    return made / "clip.avi"


@pytest.fixture
def camera(monkeypatch):
    """A function that makes `camera:0` give these, one after another: images, or what it fails with."""

    def give(*what):
        left = list(what)

        def read():
            found = left.pop(0) if left else None
            if isinstance(found, BaseException):
                raise found
            return None if found is None else Shot(found, came=0.0)

        reader = SimpleNamespace(live=True, count=None, fps=30.0, notice=None, read=read, close=lambda: None)
        monkeypatch.setattr("toolkit.cli.run_source.open_reader", lambda *_args, **_options: reader)

    return give


def run(capsys, *words, code=0):
    assert main([*RUN, *words]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, err


def test_one_image_is_answered_in_words(here, capsys):
    out, err = run(capsys, "--data", "photos/a.png")
    assert err == "" and out.count("\n") == 1
    assert out.startswith("a.png: class ") and " % sure" in out and "; exit 4 of 4 (6:head) in " in out
    out, _ = run(capsys, "--data", "photos/a.png", "--top", "1")
    assert "(or " not in out
    out, _ = run(capsys, "--data", "photos/a.png", "--budget-ms", "0")
    assert ", late: 0.00 ms were allowed" in out


def test_a_folder_with_an_image_that_cannot_be_read(here, capsys, tmp_path):
    for file in (here / "photos").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    out, err = run(capsys, "--data", str(tmp_path), "--budget-ms", "1000")
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == ["a.png", "b.png", "c.png"]
    assert "3 frames: " in out and "1 could not be read" in out
    assert err.count("bad.jpg: not a PNG") == 1
    out, err = run(capsys, "--data", str(tmp_path / "bad.jpg"), code=2)
    assert out == "" and err.startswith("offramp run: ") and err.count("\n") == 1


def test_lines_of_json_have_the_same_keys_always(here, clip, capsys, tmp_path):
    for words in (["--data", "photos"], ["--data", "clip.avi"], ["--data", "clip.avi", "--fps", "own"]):
        out, _ = run(capsys, *words, "--json", "--record", str(tmp_path / "r.jsonl"))
        assert (tmp_path / "r.jsonl").read_text() == out
        *lines, last = map(json.loads, out.splitlines())
        assert {frozenset(line) for line in lines} == {frozenset(KEYS.split())}
        assert all(isinstance(msgspec.convert(line, Frame), Frame) for line in lines)  # as the reference has them
        msgspec.convert(last, Last)
        assert last["summary"]["frames"] == len(lines) and last["summary"]["unreadable"] == 0
        assert last["summary"]["dropped"] == sum(line["dropped"] for line in lines)
    assert [line["budget_ms"] for line in lines] == pytest.approx([10.0] * len(lines))
    assert [line["source_ms"] for line in lines] == sorted(line["source_ms"] for line in lines)


def test_a_video_is_answered_whole_or_as_far_as_it_goes(here, clip, capsys, tmp_path):
    out, _ = run(capsys, "--data", "clip.avi", "--budget-ms", "1000")
    assert "40 frames: " in out and "frame 0:" not in out
    out, err = run(capsys, "--data", "clip.avi", "--fps", "30", "--no-pace", "--frames", "3", "--answers")
    assert out.startswith("frame 0: class") and "3 frames: " in out and err == "answering (3) ...\n"
    content = clip.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) * 7 // 10])
    out, err = run(capsys, "--data", str(tmp_path / "cut.avi"))
    assert err.splitlines()[-1].endswith("of 40 frames could be read; the rest is damaged or missing")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    _, err = run(capsys, "--data", str(tmp_path / "bad.mp4"), code=2)
    assert err.count("\n") == 1 and "bad.mp4: damaged, incomplete, or no video" in err


def test_ctrl_c_ends_a_camera_and_its_summary_is_there(here, camera, capsys, tmp_path):
    camera(*[IMAGE] * 5, KeyboardInterrupt())
    out, err = run(capsys, "--data", "camera:0", "--every-frame", "--record", str(tmp_path / "r.jsonl"))
    assert "5 frames: " in out and "interrupted" not in err
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(lines) == 6 and lines[-1]["summary"]["frames"] == 5
    camera(KeyboardInterrupt())
    out, err = run(capsys, "--data", "camera:0")
    assert out == "" and err == "no frame was answered\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_interrupts_what_has_an_end_and_its_summary_is_there(
    here, clip, capsys, tmp_path, monkeypatch, number, code
):
    from toolkit.cli import run_loop

    told = []

    def stop_after_three(*args):
        told.append(args)
        if len(told) == 3:
            signal.raise_signal(number)
        return "told"

    monkeypatch.setattr(run_loop, "answer_words", stop_after_three)
    words = ["--data", "clip.avi", "--answers", "--record", str(tmp_path / "r.jsonl")]
    out, err = run(capsys, *words, code=code)
    assert "3 frames: " in out and err.splitlines()[-1].startswith("offramp run: ")
    assert (tmp_path / "r.jsonl").read_text().count("\n") == 4


def test_a_camera_that_is_lost_is_failed_work_after_the_summary(here, camera, capsys):
    camera(IMAGE, IMAGE, WorkFailed("camera:0: gave 2 frames, and no more come"))
    out, err = run(capsys, "--data", "camera:0", "--every-frame", code=1)
    assert "2 frames: " in out
    assert err.splitlines()[-1] == "offramp run: camera:0: gave 2 frames, and no more come"


def test_enough_is_enough(here, camera, capsys, tmp_path):
    camera(*[IMAGE] * 9)
    out, _ = run(capsys, "--data", "camera:0", "--every-frame", "--frames", "4")
    assert "4 frames: " in out
    camera(*[IMAGE] * 9)
    out, _ = run(capsys, "--data", "camera:0", "--every-frame", "--seconds", "0.000001")
    assert "1 frames: " in out
    (tmp_path / "trace.csv").write_text("t_ms,budget_ms\n0,900\n1e8,900\n")  # a camera's frames are not waited for
    camera(*[IMAGE] * 9)
    words = ["--every-frame", "--budget-trace", str(tmp_path / "trace.csv"), "--record-trace", str(tmp_path / "t.csv")]
    out, _ = run(capsys, "--data", "camera:0", *words)
    assert "2 frames: " in out and (tmp_path / "t.csv").read_text().count("900.0") == 2


def test_a_value_is_told_with_its_interval(here, capsys, tmp_path, monkeypatch):
    bundle = tiny_bundle(tmp_path / "bundle", task="regression", outputs=2, channels=3)
    fake_profile(bundle).save(tmp_path / "profile.json")
    interval = {"level": 0.9, "half_width": [0.5, 2.0], "n": 40, "split": "calibration"}
    edit_manifest(tmp_path / "bundle", lambda data: [e.update(interval=interval) for e in data["exits"]])
    photo = str(here / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    out, _ = run(capsys, "--data", photo)
    assert out.startswith("a.png: ") and "] at 90.0 %; exit 4 of 4" in out
    found = SimpleNamespace(level=0.9, half_width=(0.5, 2.0))
    assert values((3.0, -1.0), found) == "3 [2.5, 3.5], -1 [-3, 1] at 90.0 %"
    assert values((3.25,), None) == "3.25"


def test_nothing_is_ever_certain():
    assert [percent(p) for p in (0.99999, 0.5, 1e-9, None)] == ["> 99.9 %", "50.0 %", "< 0.1 %", "?"]


def test_the_loop_of_the_guide_runs_as_printed(here, clip, capsys):
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "run.md").read_text()
    (loop,) = re.findall(r"```python\n(.+?)```", guide, re.DOTALL)
    exec(compile(loop.replace("clip.mp4", clip.name), "run.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    answered = [int(line.split()[0]) for line in lines]
    assert answered == sorted(answered) and answered[0] == 0
    assert len(lines) + sum(int(line.split()[-1]) for line in lines) <= 40


def test_the_guide_names_every_key_of_a_line():
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "run.md").read_text()
    assert [key for key in KEYS.split() if f"`{key}`" not in guide] == []


@pytest.mark.parametrize("fps", ["1000", "999.5", '"own"'])
def test_a_rate_may_stand_in_a_config_file(here, clip, capsys, tmp_path, fps):
    (tmp_path / "offramp.toml").write_text(f"[run]\nfps = {fps}\nno-pace = true\n")
    words = ["--config", str(tmp_path / "offramp.toml"), *RUN, "--data", "clip.avi", "--json", "--frames", "2"]
    assert main(words) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert line["budget_ms"] == pytest.approx(10.0 if "own" in fps else 1000.0 / float(fps))
