"""Shells complete what offramp takes."""

import shutil
import subprocess

import pytest

from toolkit.cli import COMMANDS, main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_every_shell(shell, capsys):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("click asks bash for its version, and there is none")
    assert main(["completion", shell]) == 0
    found = capsys.readouterr()
    assert "_OFFRAMP_COMPLETE" in found.out and f"offramp completion {shell}" in found.err
    if shutil.which(shell) is not None:
        assert subprocess.run([shell, "-n"], input=found.out, text=True, check=False).returncode == 0


def test_commands_and_options_are_completed(monkeypatch, capsys):
    monkeypatch.setenv("_OFFRAMP_COMPLETE", "bash_complete")
    for words, index, expected in (
        ("offramp ", "1", set(COMMANDS)),
        ("offramp run --bud", "2", {"--budget-ms", "--budget-trace"}),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", index)
        assert main([]) == 0
        assert {line.partition(",")[2] for line in capsys.readouterr().out.split()} == expected


def test_another_shell_is_one_line(capsys):
    assert main(["completion", "tcsh"]) == 2
    err = capsys.readouterr().err
    assert "'tcsh' is not one of" in err and err.count("\n") == 1
