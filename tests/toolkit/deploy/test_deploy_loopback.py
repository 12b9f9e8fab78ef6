"""Deployments over a real sshd, to a user without root where the tests may make one, cut at the worst moments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from jetson.bundle import Bundle
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import LatencyProfile
from tests.bundles import branch_graph, replace_unit, tiny_bundle
from tests.conftest import environment, offramp
from tests.toolkit.deploy.installed import closure, link_into, repack
from tests.toolkit.deploy.loopback import NO_SSHD, LoopbackBoard, find_sshd, loopback_board
from toolkit.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_sshd() is None, reason=NO_SSHD)]
NEEDED = ("numpy", "msgspec", "onnxruntime", "click", "rich", "packaging")
QUICK = ("--rounds", "3", "--warm-up", "1", "--threads", "1")
EXITS = ((1, "mlp"), (2, "head"))
MB = 1_000_000


class Stage(NamedTuple):
    """A board, what goes there, and where its profile is to come."""

    board: LoopbackBoard
    bundle: Path
    wheels: Path
    folder: Path

    def words(self, *more: str) -> list[str]:
        """The command that every test here gives, with something added."""
        return ["deploy", *self.reach(), "board", str(self.bundle), *self.given(), *more]

    def reach(self) -> list[str]:
        return ["--ssh-options", self.board.options, "--python", self.board.python]

    def ssh(self) -> list[str]:
        return ["ssh", *self.board.options.split(), "board"]

    def given(self) -> list[str]:
        return ["--wheelhouse", str(self.wheels), "--out", str(self.folder / "profile-{board}.json"), *QUICK]

    def deploy(self, *more: str) -> subprocess.CompletedProcess[str]:
        return offramp(*self.words(*more), cwd=self.folder)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """TensorRT for RTX is there, as JetPack's TensorRT is on a Jetson; all else has to come."""
    folder = tmp_path_factory.mktemp("deploy")
    bundle = tiny_bundle(folder / "bundle", exits=EXITS, width=128)
    wheels = repack(folder / "wheels", closure(*NEEDED))
    with loopback_board(lambda place: link_into(place, closure("tensorrt-rtx"))) as board:
        yield Stage(board, bundle.path, wheels, folder)


@pytest.fixture(scope="module")
def deployed(stage: Stage) -> tuple[Stage, list[subprocess.CompletedProcess[str]], int]:
    """A first deployment, whose connection breaks twice in mid-copy: the command once gives up, once goes on."""
    relay = stage.board.relay
    relay.cut_after(30 * MB)
    first = stage.deploy("--retries", "0")
    relay.cut_after(40 * MB)
    return stage, [first, stage.deploy()], relay.sent


def test_cut_in_mid_copy_goes_on_where_it_stopped(deployed) -> None:
    stage, (first, second), sent = deployed
    assert first.returncode == 1
    assert first.stderr.splitlines()[-1].startswith("offramp deploy: board: the connection was lost (")
    assert "the same command goes on from there" in first.stderr
    assert second.returncode == 0, second.stderr
    assert stage.board.relay.cuts == 2
    assert second.stderr.count("connection lost") == 1
    assert second.stderr.count("MB of them are there") == 2
    wheels = sum(w.stat().st_size for w in stage.wheels.iterdir())
    assert wheels < sent < wheels + 12 * MB  # what was on its way at a cut is sent twice, the rest is not


def test_the_profile_comes_back_and_is_shown(deployed) -> None:
    stage, (_, second), _ = deployed
    profile = LatencyProfile.load(stage.folder / "profile-board.json")
    assert speaks_of(profile, Bundle.open(stage.bundle).manifest)
    assert profile.engine.name == "onnxruntime"
    assert "2:head" in second.stdout
    assert list(stage.folder.glob(".profile*")) == []


def test_everything_is_in_one_folder_of_the_users_own(deployed) -> None:
    board = deployed[0].board
    assert {p.name for p in board.home.iterdir()} == {".offramp"}
    owner = board.home.stat().st_uid
    assert {p.lstat().st_uid for p in board.offramp.rglob("*")} == {owner}
    if not os.geteuid():
        assert owner != 0
    left = [p for p in board.offramp.rglob("*") if p.name.endswith((".part", ".old"))]
    assert left == []


def test_the_board_runs_the_bundle_with_the_command_that_was_printed(deployed) -> None:
    stage, (_, second), _ = deployed
    line = next(t for t in second.stderr.splitlines() if t.startswith("on the board: "))
    words = line.removeprefix("on the board: ").split()[:5]
    assert words[1:2] + words[3:4] == ["run", "--profile"]
    there = [*stage.ssh(), " ".join([words[0], "info", words[2]])]
    done = subprocess.run(there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2:head" in done.stdout
    hello = f"{stage.board.offramp}/bin/python -c 'import jetson; print(jetson.__version__)'"
    assert subprocess.run([*stage.ssh(), hello], capture_output=True, text=True, check=True).stdout == "0.1.0\n"


def test_interrupted_in_mid_build_finds_its_work_again(deployed) -> None:
    stage = deployed[0]
    jobs = stage.board.offramp / "jobs"
    words = stage.words("--target", "sm86", "--json")

    first = begin(words, stage.folder)
    hear(first, "building unit")
    os.killpg(int((jobs / "engines" / "pid").read_text()), signal.SIGSTOP)  # so that it is in mid-build all the while
    first.send_signal(signal.SIGINT)
    said = first.communicate()[1]
    assert first.returncode == 130
    assert "the same command goes on" in said

    cuts = stage.board.relay.cuts
    second = begin(words, stage.folder)
    hear(second, "building unit")  # what the work said before is heard again
    stage.board.relay.cut()
    hear(second, "connection lost")
    hear(second, "building engines")
    os.killpg(int((jobs / "engines" / "pid").read_text()), signal.SIGCONT)
    out, said = second.communicate()
    assert second.returncode == 0, said
    assert stage.board.relay.cuts == cuts + 1
    (result,) = json.loads(out)["boards"]
    assert result["copied_bytes"] == 0
    assert [e["error"] for e in result["engines"]["engines"]] == [None] * 4
    # Work that had begun anew would have found engines in the cache.
    assert [e["cached"] for e in result["engines"]["engines"]] == [False] * 4
    assert list(jobs.iterdir()) == []


def test_only_what_changed_is_copied_and_a_killed_build_begins_anew(deployed) -> None:
    """Killed as by a board that loses its power: the work is gone, what it has finished is in the cache."""
    stage = deployed[0]
    bundle = Bundle.open(stage.bundle)
    unit = bundle.manifest.unit("head")
    graph = branch_graph(np.random.default_rng(7), "head", "head", unit.input, unit.output).SerializeToString()
    changed = replace_unit(bundle, "head", graph)
    begun = begin(stage.words("--target", "sm89", "--json"), stage.folder)
    hear(begun, "building unit")
    os.killpg(int((stage.board.offramp / "jobs" / "engines" / "pid").read_text()), signal.SIGKILL)
    out, said = begun.communicate()
    assert begun.returncode == 0, said
    assert "engines was ended on the board before it was done" in said
    (result,) = json.loads(out)["boards"]
    assert {e["error"] for e in result["engines"]["engines"]} == {None}
    assert result["copied_bytes"] == len(graph) + (stage.bundle / "manifest.json").stat().st_size
    there = stage.board.offramp / "bundles" / "bundle"
    assert Bundle.open(there).manifest.identity == changed.manifest.identity
    names = {p.name for p in (stage.board.offramp / "files").iterdir()}
    assert len(names) == len(list((there / "units").iterdir())) + 1


def test_a_board_that_fails_does_not_stop_the_other(deployed) -> None:
    stage = deployed[0]
    file = stage.folder / "boards.toml"
    file.write_text(
        f"""
        [boards.good]
        address = "board"
        wheelhouse = "wheels"

        [boards.gone]
        address = "nobody@board"
        port = {closed_port()}
        """
    )
    words = ["deploy", *stage.reach(), "--inventory", str(file), str(stage.bundle), *stage.given()[2:]]
    done = offramp(*words, cwd=stage.folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "offramp deploy: 1 of 2 boards failed: gone"
    assert "nobody@board cannot be reached" in done.stdout
    assert (stage.folder / "profile-good.json").is_file()
    assert not (stage.folder / "profile-gone.json").exists()


def test_a_dry_run_changes_nothing(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(stage.words("--dry-run", "--folder", "~/elsewhere")) == 0
    said = capsys.readouterr().out
    assert "board: copy offramp-0.1.0-py3-none-any.whl" in said
    assert "board: copy units/head.onnx" in said
    assert "board: run offramp profile" in said
    assert not (stage.board.home / "elsewhere").exists()


def test_a_board_with_neither_wheels_nor_pip(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.deploy.facts.Facts.pip", False)
    words = [w for w in stage.words() if w not in ("--wheelhouse", str(stage.wheels))]
    assert main([*words, "--folder", "~/elsewhere"]) == 2
    said = capsys.readouterr().err
    assert "has no pip, and lacks numpy, msgspec, onnxruntime, click, rich" in said
    assert "pip download --only-binary=:all: --dest wheels --python-version 3." in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UserKnownHostsFile {folder}/none", "its host key is not known yet; connect once by hand"),
        ("UserKnownHostsFile {folder}/other", "its host key is not the one you know"),
        ("IdentityFile {folder}/key", "lets nobody in with your keys"),
        ("HostName offramp.invalid", "there is no host board"),
    ],
)
def test_what_ssh_refuses_is_one_line(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "other").write_text(f"[127.0.0.1]:{stage.board.relay.port} {key.with_suffix('.pub').read_text()}")
    config = (stage.board.folder / "client" / "config").read_text()
    name = change.split()[0]
    lines = [f"{change.format(folder=tmp_path)}" if t.startswith(f"{name} ") else t for t in config.splitlines()]
    (tmp_path / "config").write_text("\n".join(lines) + "\n")
    assert main(["deploy", "--ssh-options", f"-F {tmp_path / 'config'}", "board", str(stage.bundle)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("offramp deploy: ")
    assert said in last


def test_a_board_without_such_a_python(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["deploy", "--ssh-options", stage.board.options, "board", str(stage.bundle)]
    assert main([*words, "--python", "python9"]) == 2
    assert "board has no python9: install Python 3.10 or later there" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(stage.words("--folder", "/proc/offramp")) == 2
    assert "cannot be made" in capsys.readouterr().err


def begin(words: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """The command in a process group of its own, its progress as lines of JSON."""
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit", *words],
        cwd=folder,
        env={**environment(), "OFFRAMP_PROGRESS": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def hear(process: subprocess.Popen[str], text: str) -> None:
    """Read its remarks up to one that holds a text."""
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} is not in: {''.join(heard)}")


def closed_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
