"""Config files and environment variables: where they are found, what counts more, and how they are refused."""

import json
import os
from pathlib import Path

import pytest

from tests.bundles import fake_profile, tiny_bundle
from toolkit.cli import COMMANDS, cli, main
from toolkit.cli.group import key, options, variable

FILE = """
threads = 1
color = "never"
[profile]
rounds = 7
out = "made.json"
[run]
price-per-ms = 1
no-pace = true
data = "frames"
[train]
data = "image-folder:frames"
image-size = 8
[calibrate]
profile = ["a.json", "b.json"]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder inside a repository, no config files but those that a test writes."""
    monkeypatch.delenv("OFFRAMP_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "repository" / "below"
    folder.mkdir(parents=True)
    (tmp_path / "repository" / ".git").mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def settings(here, capsys):
    """Asks `offramp config` for the settings; by command and option, value and origin."""

    def ask(*before):
        assert main([*before, "config", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        return {(s["command"], s["option"]): (s["value"], s["from"]) for s in found["settings"]}, found["files"]

    return ask


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_without_a_file_every_option_has_its_default(settings, capsys):
    assert settings() == ({}, [])
    assert main(["config"]) == 0
    assert "every option has its default" in capsys.readouterr().out


def test_a_file_sets_options_of_the_commands_that_have_them(here, settings):
    write(here / "offramp.toml", FILE)
    (here / "frames").mkdir()
    found, files = settings()
    assert files == ["offramp.toml"]
    assert {c for c, option in found if option == "threads"} >= {"train", "profile", "serve"}
    assert found["profile", "threads"] == (1, "offramp.toml") and found[None, "color"] == ("never", "offramp.toml")
    assert found["run", "no-pace"] == (True, "offramp.toml") and found["profile", "rounds"] == (7, "offramp.toml")
    assert found["calibrate", "profile"][0] == ["a.json", "b.json"]
    assert found["train", "data"][0] == "image-folder:frames"


def test_the_file_of_the_repository_is_found_and_its_paths_are_meant_from_it(here, settings):
    write(here.parent / "offramp.toml", FILE)
    (here.parent / "frames").mkdir()
    found, files = settings()
    assert files == ["../offramp.toml"]
    assert found["profile", "out"] == ("../made.json", "../offramp.toml")
    assert found["run", "data"][0] == "../frames" and found["train", "data"][0] == "image-folder:../frames"
    (here.parent / ".git").rmdir()
    assert settings() == ({}, [])  # who knows whose file that is


def test_the_nearest_project_file_counts_alone_and_more_than_the_users(here, settings):
    write(here.parent / "offramp.toml", "threads = 2")
    write(here.parents[1] / "home" / "offramp" / "config.toml", "threads = 3\n[profile]\nrounds = 3\n")
    write(here / "offramp.toml", "[profile]\nthreads = 4")
    found, files = settings()
    assert [Path(f).name for f in files] == ["config.toml", "offramp.toml"] and files[1] == "offramp.toml"
    assert found["profile", "threads"][0] == 4 and found["train", "threads"][0] == 3
    assert found["profile", "rounds"][0] == 3


def test_a_named_file_counts_alone(here, settings, monkeypatch):
    write(here / "offramp.toml", "threads = 2")
    write(here / "other.toml", "[run]\nlevel = 0.5\n")
    assert settings("--config", "other.toml") == ({("run", "level"): (0.5, "other.toml")}, ["other.toml"])
    monkeypatch.setenv("OFFRAMP_CONFIG", "other.toml")
    assert settings()[1] == ["other.toml"]
    assert settings("--config", os.devnull)[0] == {}


def test_the_command_line_counts_more_than_the_environment_and_that_more_than_files(here, capsys, monkeypatch):
    tiny_bundle(here / "bundle")
    write(here / "offramp.toml", "[profile]\nrounds = 3\nwarm-up = 0\nout = 'made.json'\n")

    def rounds(*words):
        assert main(["profile", "bundle", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)["units"]["head"]["host_ms"]["n"]

    assert rounds() == 6 and (here / "made.json").is_file()
    monkeypatch.setenv("OFFRAMP_PROFILE_ROUNDS", "4")
    assert rounds() == 8
    assert rounds("--rounds", "2") == 4


def test_a_file_gives_what_a_command_demands(here, capsys):
    bundle = tiny_bundle(here / "bundle")
    fake_profile(bundle).save(here / "profile.json")
    write(here / "offramp.toml", "[suggest]\nexits = 1\nprofile = 'profile.json'\n")
    assert main(["suggest", "bundle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choice"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[trian]\n", "[trian]: there is no such command; did you mean train?"),
        ("[nonsense]\n", "[nonsense]: there is no such command"),
        ("treads = 1", "treads: no command has such an option; did you mean threads?"),
        ("[run]\nbatch-size = 3", "[run] batch-size: offramp run has no such option"),
        ("[train]\nbatch_size = 3", "[train] batch_size: offramp train has no such option; did you mean batch-size?"),
        ("[train]\nbatch-size = '3'", "[train] batch-size must be a whole number, not '3'"),
        ("[train]\nbatch-size = 3.5", "[train] batch-size must be a whole number, not 3.5"),
        ("[train]\nbatch-size = true", "[train] batch-size must be a whole number, not True"),
        ("[train]\nlr = 'high'", "[train] lr must be a number, not 'high'"),
        ("[run]\nno-pace = 1", "[run] no-pace must be true or false, not 1"),
        ("[run]\nprofile = 1", "[run] profile must be text in quotes, not 1"),
        ("[run]\ndata = ['a', 'b']", "[run] data must be text in quotes, not ['a', 'b']"),
        ("[run]\nprofile = 1979-05-27", "[run] profile must be text in quotes, not datetime.date(1979, 5, 27)"),
        ("[run]\nsplit = 'all'", "[run] split: 'all' is not one of 'train', 'calibration', 'test'."),
        ("[profile]\nrounds = 0", "[profile] rounds: 0 is not in the range x>=1."),
        ("[profile]\nframe-size = '8y8'", "[profile] frame-size: '8y8' is not a size"),
        ("[run.more]\n", "[run] more: offramp run has no such option"),
        ("threads", "not TOML"),
        ("threads = 1\nthreads = 2", "not TOML"),
        ("config = 'x.toml'", "config: no command has such an option"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it_and_the_key(here, capsys, text, says):
    write(here / "offramp.toml", text)
    assert main(["version"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"offramp version: offramp.toml: {says}") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file or directory"), (b"\xff\xfe", "not TOML"), (b"#" * (2 << 20), "too large")],
)
def test_a_file_that_cannot_be_read_is_one_line(here, capsys, content, says):
    if content is not None:
        (here / "named.toml").write_bytes(content)
    assert main(["--config", "named.toml", "version"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("offramp version: named.toml: ") and says in err and err.count("\n") == 1


def test_a_wrong_environment_variable_is_named(here, capsys, monkeypatch):
    monkeypatch.setenv("OFFRAMP_PROFILE_ROUNDS", "many")
    assert main(["profile", "bundle"]) == 2
    assert "(from the environment variable OFFRAMP_PROFILE_ROUNDS)" in capsys.readouterr().err


def test_every_option_has_a_variable_of_its_own():
    names = [(name, option) for name in COMMANDS for option in options(cli.get_command(None, name))]
    assert variable("run", next(o for n, o in names if n == "run" and key(o) == "budget-ms")) == "OFFRAMP_RUN_BUDGET_MS"
    assert len({o.envvar for _, o in names}) == len(names)
    assert {o.envvar for o in options(cli)}.isdisjoint({o.envvar for _, o in names})


def test_config_shows_a_command_and_its_defaults(here, capsys):
    assert main(["config", "run", "--all"]) == 0
    out = capsys.readouterr().out
    assert "budget-ms" in out and "late" in out and "default" in out and "batch-size" not in out
    assert main(["config", "rum"]) == 2
    assert "there is no command 'rum'" in capsys.readouterr().err
