"""Shells complete what offramp takes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli import COMMANDS, main

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_every_shell(shell, capsys):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("click asks bash for its version, and there is none")
    assert main(["completion", shell]) == 0
    found = capsys.readouterr()
    assert "_OFFRAMP_COMPLETE" in found.out and f"offramp completion {shell}" in found.err
    if shutil.which(shell) is not None:
        assert subprocess.run([shell, "-n"], input=found.out, text=True, check=False).returncode == 0
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"] == found.out.removesuffix("\n")


@pytest.fixture
def completed(monkeypatch, capsys):
    """Asks as a shell does: `begun` is the word at the cursor, behind `words`; gives type and value of each answer."""

    def ask(words, begun="", shell="bash"):
        monkeypatch.setenv("_OFFRAMP_COMPLETE", f"{shell}_complete")
        line = ["offramp", *words.split()]
        if shell == "fish":
            monkeypatch.setenv("COMP_WORDS", " ".join([*line, begun]))
            monkeypatch.setenv("COMP_CWORD", begun)
        else:
            monkeypatch.setenv("COMP_WORDS", "\n".join([*line, begun] if begun else line))
            monkeypatch.setenv("COMP_CWORD", str(len(line)))
        assert main([]) == 0
        out = capsys.readouterr().out.splitlines()
        if shell == "zsh":  # type, value and help, a line each
            return set(zip(out[::3], out[1::3], strict=False))
        return {tuple(line.split("\t")[0].split(",", 1)) for line in out if line}

    return ask


def plain(*values):
    return {("plain", value) for value in values}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_commands_and_options_are_completed(completed, shell):
    assert completed("", shell=shell) == plain(*COMMANDS)
    assert completed("run", "--bud", shell) == plain("--budget-ms", "--budget-trace")
    assert completed("run --engine", "o", shell) == plain("onnxruntime")
    assert completed("", "ver", shell) == plain("version")


def test_fish_asks_in_its_own_way(completed):
    assert completed("", "ver", "fish") == plain("version")
    assert completed("train --exits", "1:mlp,3:cnn-a", "fish") == plain("1:mlp,3:cnn-add")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_what_options_take_is_completed(completed, shell):
    assert completed("train --data", "di", shell) == plain("digits")
    assert completed("train --data", "./di", shell) == {("file", "./di")}
    assert completed("train --backbone", "s", shell) == plain("small")
    assert completed("run --policy", "pl", shell) == plain("planner")
    assert completed("simulate --policy", "alert,oracle-f", shell) == plain("alert,oracle-full")
    assert completed("simulate --scenario", "therm", shell) == plain("thermal")
    assert completed("engines --target", "sm8", shell) == plain("sm80", "sm86", "sm89")
    assert completed("info", "bun", shell) == {("file", "bun")}
    assert completed("train --exits", "3", shell) == set()


def test_exits_are_completed_behind_their_colon(completed):
    assert completed("train --exits", "1:mlp,3:cnn-a", "zsh") == plain("1:mlp,3:cnn-add")
    # Bash breaks words at colons, and keeps what stands before the last one.
    assert completed("train --exits 1 : mlp,3 :", "cnn-a") == plain("cnn-add")
    assert completed("train --exits 3", ":") == plain(
        "mlp", "cnn-ignore", "cnn-add", "cnn-project", "vit", "mlp-mixer", "resmlp"
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes(tmp_path, capsys):
    """The script in a real bash, which calls a real offramp."""
    program = tmp_path / "offramp"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m toolkit "$@"\n')
    program.chmod(0o755)
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out + (
        "COMP_WORDS=(offramp train --exits 3 : cnn-a); COMP_CWORD=5\n"
        '_offramp_completion offramp; echo "${COMPREPLY[@]}"\n'
    )
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc"], input=script, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "cnn-add\n"


def test_another_shell_is_one_line(capsys):
    assert main(["completion", "tcsh"]) == 2
    err = capsys.readouterr().err
    assert "'tcsh' is not one of" in err and err.count("\n") == 1


def test_a_broken_config_file_does_not_keep_a_shell_from_completing(completed, tmp_path, monkeypatch):
    (tmp_path / "offramp.toml").write_text("[nonsense")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OFFRAMP_CONFIG")
    assert completed("", "ver") == plain("version")
