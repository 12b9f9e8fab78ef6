"""Lines that boards have printed (tests/telemetry.py says where each is from), and what is none of them."""

import pytest

from jetson.telemetry.reading import Reading, whole
from jetson.telemetry.tegrastats import parse
from tests.telemetry import LINES


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.board}, {line.release}")
def test_what_a_board_printed(line):
    found = parse(line.text, at=5.0)
    assert found is not None and found.at == 5.0
    assert found.rails_w == pytest.approx(line.rails_w)
    assert found.power_w == pytest.approx(line.whole_w)
    assert found.hottest_c == line.hottest_c
    assert (found.cpu_mhz, found.gpu_mhz) == (line.cpu_mhz, line.gpu_mhz)


def test_boards_and_releases_that_are_covered():
    """As the guide lists them."""
    boards, releases = (" ".join(getattr(line, key) for line in LINES) for key in ("board", "release"))
    assert all(
        b in boards for b in ("Nano", "TX2", "Xavier NX", "AGX Xavier", "Orin Nano", "Orin NX", "AGX Orin", "Thor")
    )
    assert all(f"JetPack {r}" in releases for r in (4, 5, 6, 7))


def test_one_line_after_another_is_read_with_its_end():
    assert parse(LINES[0].text + "\n", 0.0) == parse(LINES[0].text, 0.0)


@pytest.mark.parametrize(
    "text", ["", "tegrastats: command not found", "RAM", "CPU [1%@102] VDD_IN 2763mW/2846mW", "\x00\xff", "RAM x/yMB"]
)
def test_what_is_no_line(text):
    assert parse(text, 0.0) is None


def test_a_line_of_little_tells_little_and_nothing_is_zero():
    """Invented: what a Nano of 2 GB, which has no sensors on its rails, may print."""
    found = parse("RAM 613/1964MB (lfb 634x4MB) CPU [off,off]", 0.0)
    assert found == Reading(0.0, {}, {}, (), None)
    assert found.power_w is None and found.hottest_c is None


def test_power_may_be_negative():
    """An AGX Thor with JetPack 7, its GPU at rest: a comment in public code."""
    text = "05-14-2026 21:36:35 RAM 26063/125772MB (lfb 35x4MB) VDD_GPU -392mW/-392mW VIN 15004mW/15096mW"
    assert parse(text, 0.0).rails_w == {"VDD_GPU": -0.392, "VIN": 15.004}


@pytest.mark.parametrize(
    ("rails", "found"),
    [
        (("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), ("VDD_IN",)),
        (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), ()),  # Thor without its input: not the whole
        (("VDD_GPU_SOC", "VIN_SYS_5V0"), ()),
        (("SOMETHING_NEW",), ()),
        ((), ()),
    ],
)
def test_rails_that_are_the_whole_board(rails, found):
    assert whole(rails) == found
