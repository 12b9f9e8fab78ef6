import json

import pytest

from jetson.errors import BadInput, DataError, ProfileError
from tests.toolkit.report.records import powered
from toolkit.report.gather import Parts, gather


def test_a_whole_run_is_read(make_run):
    run = gather(make_run(frames=20))
    assert [e.name for e in run.manifest.exits] == ["4:mlp", "8:cnn-add", "head"]
    (logged,) = run.logs
    assert len(logged.log.frames) == 20
    assert logged.log.summary is not None
    assert logged.log.summary["frames"] == 20
    assert sum(logged.log.used(tuple(run.styles)).values()) == 20
    assert run.history is not None
    assert len(run.history.history) == 12
    assert run.shown_split == "test"


def test_what_is_optional_may_be_missing(make_run):
    run = gather(make_run(frames=None, history=False, test_split=False))
    assert run.logs == ()
    assert run.history is None
    assert run.shown_split == "calibration"


@pytest.mark.parametrize("exists", [True, False])
def test_no_run_says_how_to_make_one(tmp_path, exists):
    folder = tmp_path / "somewhere"
    if exists:
        folder.mkdir()
    with pytest.raises(BadInput, match=r"not a run .*offramp demo --out ") as caught:
        gather(folder)
    assert "\n" not in str(caught.value)


def test_every_part_may_be_missing(make_run):
    run = make_run(frames=20, history=False)
    (run / "bundle").rename(run / "elsewhere")
    without = gather(run)
    assert without.bundle is None
    assert without.names == ("4:mlp", "8:cnn-add", "head")
    (run / "profile.json").unlink()
    alone = gather(run)
    assert alone.profiles == () and set(alone.names) <= set(without.names)
    (run / "frames.jsonl").unlink()
    with pytest.raises(BadInput, match="not a run"):
        gather(run)
    (run / "elsewhere").rename(run / "bundle")
    assert gather(run).profiles == gather(run / "bundle").profiles == ()


def test_files_that_are_named_take_the_place_of_the_folders(make_run):
    run, other = make_run(frames=20), make_run(frames=7, history=False)
    (other / "frames.jsonl").rename(other / "frames-busy.jsonl")
    found = gather(run, Parts(frames=[other / "frames-busy.jsonl", run / "frames.jsonl"]))
    assert [(m.label, len(m.log.frames)) for m in found.logs] == [("busy", 7), ("frames", 20)]
    alone = gather(None, Parts(profiles=[run / "profile.json"], frames=[run / "frames.jsonl"]))
    assert alone.bundle is None and len(alone.profiles) == len(alone.logs) == 1
    with pytest.raises(BadInput, match="nothing to report"):
        gather(None)


@pytest.mark.parametrize("kind", ["bundle", "profiles", "frames"])
def test_a_file_that_is_named_must_be_there(make_run, tmp_path, kind):
    run, gone = make_run(frames=2), tmp_path / "gone"
    parts = Parts(**{kind: gone if kind == "bundle" else [gone]})
    with pytest.raises(BadInput, match="gone") as caught:
        gather(run, parts)
    assert "\n" not in str(caught.value)


def test_a_folder_of_nothing_and_an_empty_log_say_so(make_run, tmp_path):
    run, empty = make_run(frames=2), tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.jsonl: empty"):
        gather(run, Parts(frames=[empty]))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadInput, match=r"no \*\.json in this folder that"):
        gather(run, Parts(profiles=[tmp_path / "nothing"]))


def test_of_a_folder_every_profile_counts_and_other_files_do_not(make_run):
    run = make_run(frames=None, history=False)
    (run / "profiles").mkdir()
    powered(run, "profiles/15W.json", power_mode="15W")
    powered(run, "profiles/MAXN.json", power_mode="MAXN")
    (run / "profiles" / "notes.json").write_text('{"by": "hand"}')
    assert [m.file.name for m in gather(run).profiles] == ["profile.json", "15W.json", "MAXN.json"]
    assert [m.label for m in gather(None, Parts(profiles=[run / "profiles"])).profiles] == ["15W", "MAXN"]
    (run / "profiles" / "cut.json").write_text("{")
    with pytest.raises(ProfileError, match=r"cut\.json: not valid JSON"):
        gather(run)


def test_profiles_are_told_apart_by_what_differs(make_run):
    run = make_run(frames=None, history=False)
    powered(run, "profile-15w.json", power_mode="15W")
    powered(run, "profile-30w.json", power_mode="MAXN")
    assert [m.label for m in gather(run).profiles] == ["profile", "15W", "MAXN"]
    powered(run, "profile-again.json", power_mode="MAXN")
    labels = [m.label for m in gather(run).profiles]
    assert labels == ["profile", "15W", "MAXN · profile-30w", "MAXN · profile-again"]


def test_a_profile_of_another_bundle_is_refused(make_run):
    run, other = make_run(frames=None), make_run(frames=None, layers=(6, 12), exits=((6, "vit"), (12, "head")))
    (other / "profile.json").replace(run / "profile.json")
    with pytest.raises(ProfileError, match=r"measured on bundle .*measure again with: offramp profile"):
        gather(run)


@pytest.mark.parametrize("part", ["units", "exits"])
def test_a_profile_without_an_exit_or_unit_is_refused(make_run, part):
    run = make_run(frames=None)
    profile = json.loads((run / "profile.json").read_text())
    if part == "units":
        del profile["units"]["segment08"]
    else:
        profile["exits"] = [e for e in profile["exits"] if e["name"] != "8:cnn-add"]
    (run / "profile.json").write_text(json.dumps(profile))
    with pytest.raises(ProfileError, match="no latency of " + ("segment08" if part == "units" else "8:cnn-add")):
        gather(run)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not a frame"),
        ("[1, 2]", "not a frame"),
        ('{"frame": 1}', "missing required field"),
        ('{"frame": 1, "t_ms": "x", "exit": 1, "exit_name": "head", "elapsed_ms": 1}', "t_ms"),
        ('{"frame": 1, "t_ms": 0, "exit": 1, "exit_name": "9:other", "elapsed_ms": 1}', "no exit '9:other'"),
        ("\xff", "not a frame"),
    ],
)
def test_a_malformed_frame_names_file_and_line(make_run, line, said):
    run = make_run(frames=2)
    good = (run / "frames.jsonl").read_text().splitlines()[:2]
    (run / "frames.jsonl").write_bytes("\n".join([*good, line]).encode("latin-1"))
    with pytest.raises(DataError, match=said) as caught:
        gather(run)
    assert "frames.jsonl, line 3" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_runs_in_one_file_are_refused(make_run):
    run = make_run(frames=2)
    text = (run / "frames.jsonl").read_text()
    (run / "frames.jsonl").write_text(text + text)
    with pytest.raises(DataError, match=r"line 4.*more than one run"):
        gather(run)


def test_unknown_keys_and_nulls_in_frames_are_tolerated(make_run):
    run = make_run(frames=0)
    names = ("budget_ms", "class", "label", "value", "target", "correct", "confidence", "met_deadline", "feasible")
    frame = {"frame": 0, "t_ms": 0, "exit": 3, "exit_name": "head", "elapsed_ms": 2, "slowdown": 1, "new": {"key": 1}}
    frame |= dict.fromkeys(names)
    (run / "frames.jsonl").write_text(json.dumps(frame) + "\n\n" + json.dumps({"summary": {"acc_at_d": None}}) + "\n")
    log = gather(run).logs[0].log
    assert not log.frames[0].late
    assert not log.frames[0].infeasible


def test_training_is_read_with_tolerance(make_run):
    run = make_run(frames=None)
    file = run / "checkpoint" / "training.json"
    file.write_text('{"history": [{"loss": NaN}, {"exits": {"head": {"loss": 1, "extra": [1]}}, "seconds": null}]}')
    history = gather(run).history
    assert history is not None
    assert history.history[0].loss is None
    assert history.history[1].exit_loss("head") == 1.0
    assert history.history[1].exit_loss("4:mlp") is None
    assert history.test == ()


@pytest.mark.parametrize("text", ["", "[]", '{"history": 3}', '{"history": [{"loss": "low"}]}'])
def test_a_damaged_history_is_one_line(make_run, text):
    run = make_run(frames=None)
    (run / "checkpoint" / "training.json").write_text(text)
    with pytest.raises(DataError, match=r"training\.json: not a training history") as caught:
        gather(run)
    assert "\n" not in str(caught.value)
