"""Files and tools that do not behave."""

import os
import time

import pytest

from jetson.doctor.machine import LONGEST, OUTPUT_BYTES, Machine, Running, plain


def shell(script, seconds=5.0):
    return Running(["/bin/sh", "-c", script], seconds).output()


def test_what_a_tool_prints_on_both_streams():
    said = shell("echo one; echo two >&2; exit 3")
    assert (said.text, said.code, said.trouble) == ("one\ntwo\n", 3, None)


def test_a_tool_asks_nobody():
    assert shell("read answer || echo nobody").text == "nobody\n"


@pytest.mark.parametrize(
    "script", ["sleep 60", "sleep 60 & sleep 60", "exec >/dev/null 2>&1; sleep 60", "trap '' TERM; sleep 60"]
)
def test_a_tool_that_hangs_is_stopped_with_all_it_started(script, tmp_path):
    marker = tmp_path / "alive"
    said = shell(f"(sleep 0.7; touch {marker}) & echo begun; {script}", 0.3)
    assert said.trouble == "did not answer within 0.3 s" and said.text == "begun\n"
    time.sleep(0.8)
    assert not marker.exists()


def test_a_child_left_behind_does_not_keep_us():
    """The tool has ended, and a process it started holds its output open."""
    assert shell("sleep 60 & echo done", 0.3).text == "done\n"


def test_a_tool_that_prints_without_end_is_stopped():
    said = shell("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", 60)
    assert said.trouble == "prints without end" and len(said.text) < 2 * OUTPUT_BYTES


def test_a_tool_that_crashes_says_how():
    assert shell("echo begun; kill -SEGV $$").trouble == "crashed (SIGSEGV)"
    assert shell("kill -KILL $$").trouble == "crashed (SIGKILL)"


def test_a_tool_that_cannot_be_started(make):
    here = make(tools={"nvpmodel": ""})
    here.path("bin/nvpmodel").write_bytes(b"\x7fELF of another processor")
    assert "cannot be started" in here.run("nvpmodel", "-q").trouble
    assert here.run("tegrastats") is None


def test_tools_are_asked_in_english(make, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert make(tools={"dpkg-query": "echo $LC_ALL"}).run("dpkg-query").text == "C\n"


def test_tools_of_the_system_are_found_without_a_path(monkeypatch):
    monkeypatch.delenv("PATH")
    assert Machine().tool("sh") and Machine().tool("no-such-tool-anywhere") is None


def test_files_that_are_none(make, tmp_path):
    here = make({"etc/text": "  hello\0\n", "etc/empty": "\n", "etc/bytes": b"\xff\xfe"})
    os.mkfifo(here.path("etc/pipe"))
    here.path("etc/loop").symlink_to(here.path("etc/loop"))
    here.path("etc/zero").symlink_to("/dev/zero")
    texts = {n: here.text(f"etc/{n}") for n in ("text", "empty", "bytes", "pipe", "loop", "zero", "none", "a\0b")}
    assert texts.pop("text") == "hello" and texts.pop("bytes") == "\ufffd\ufffd"
    assert set(texts.values()) == {None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12\n", 12),
        ("-1", -1),
        ("max\n", None),
        ("", None),
        ("1e3", None),
        ("9" * 30, None),
        ("٣", None),
        ("1 2", None),
    ],
)
def test_numbers(make, text, value):
    assert make({"sys/n": text}).number("sys/n") == value


def test_one_line_that_does_nothing_to_a_terminal():
    assert plain(" a\n\tb\x1b[31m\x07 \u202e ") == "a b?[31m? ?"
    assert len(plain("x" * 1000)) == LONGEST and plain("x" * LONGEST) == "x" * LONGEST


def test_a_container_shows(make):
    assert not make().container
    assert make({"run/.containerenv": ""}).container
