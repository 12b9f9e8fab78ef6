import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson.errors import BudgetError, StorageError
from jetson.scheduling.trace import LATEST_MS, FrameBudget, load_trace, save_trace, swing

FUZZ = settings(max_examples=100, deadline=None, derandomize=True)


@pytest.fixture
def read(tmp_path):
    """A function that reads a trace given as text or bytes."""

    def from_content(content):
        file = tmp_path / "trace.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_trace(file)

    return from_content


def refuses(read, content, says):
    with pytest.raises(BudgetError, match=says) as caught:
        read(content)
    assert "trace.csv" in str(caught.value) and caught.value.exit_code == 2


def test_a_trace_of_two_columns(read):
    assert read("t_ms,budget_ms\n0,8\n33.3,inf\n33.3,0\n") == [
        FrameBudget(0.0, 8.0),
        FrameBudget(33.3, math.inf),
        FrameBudget(33.3, 0.0),
    ]


def test_a_trace_with_revisions(read):
    trace = read("t_ms,budget_ms,revise_at_ms,revised_ms\n0,8,2,4\n10,8,,\n20,8, , \n30,8,0,inf\n")
    assert trace == [
        FrameBudget(0.0, 8.0, 2.0, 4.0),
        FrameBudget(10.0, 8.0),
        FrameBudget(20.0, 8.0),
        FrameBudget(30.0, 8.0, 0.0, math.inf),
    ]
    assert [f.final_ms for f in trace] == [4.0, 8.0, 8.0, math.inf]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefft_ms,budget_ms\n0,8\n",
        "t_ms,budget_ms\r\n0,8\r\n",
        " t_ms , budget_ms \n 0 , 8 \n",
        't_ms,budget_ms\n"0","8"\n',
        "t_ms,budget_ms\n\n0,8\n\n\n",
        "t_ms,budget_ms\n0,8",
    ],
)
def test_what_spreadsheets_make_of_it_is_read_too(read, text):
    assert read(text) == [FrameBudget(0.0, 8.0)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0", "line 3: 1 cells, the header has 2"),
        ("0,8,9", "line 3: 3 cells, the header has 2"),
        ("0,", "line 3: '' is not a number of milliseconds"),
        ("0,eight", "line 3: 'eight' is not a number of milliseconds"),
        ("0,8 ms", "line 3: '8 ms' is not a number"),
        ("0,nan", "line 3: nan is not a time"),
        ("0,-1", "line 3: -1 is not a time; budgets are 0 or more"),
        ("0,-inf", "line 3: -inf is not a time"),
        ("-1,8", "line 3: -1 is not a time"),
        ("nan,8", "line 3: nan is not a time"),
        ("inf,8", "line 3: t_ms must be at most"),
        ("1e300,8", "line 3: t_ms must be at most"),
    ],
)
def test_a_wrong_line_is_named(read, line, says):
    refuses(read, f"t_ms,budget_ms\n0,8\n{line}\n99,8\n", says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0,8", "line 3: 2 cells, the header has 4"),
        ("0,8,1,", "line 3: '' is not a number"),
        ("0,8,,1", "line 3: '' is not a number"),
        ("0,8,inf,1", "line 3: revise_at_ms must be at most"),
        ("0,8,1e300,1", "line 3: revise_at_ms must be at most"),
        ("0,8,-1,1", "line 3: -1 is not a time"),
        ("0,8,1,nan", "line 3: nan is not a time"),
        ("0,8,1,x", "line 3: 'x' is not a number"),
    ],
)
def test_a_wrong_revision_is_named(read, line, says):
    refuses(read, f"t_ms,budget_ms,revise_at_ms,revised_ms\n0,8,,\n{line}\n", says)


def test_blank_lines_count_as_lines(read):
    refuses(read, "t_ms,budget_ms\n\n\n0,x\n", "line 4: 'x'")


def test_lines_out_of_order_are_named(read):
    refuses(read, "t_ms,budget_ms\n0,8\n\n20,8\n10,8\n30,8\n", "line 5: comes before the line above it; sort")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "line 1: the columns must be t_ms,budget_ms or .*, not nothing"),
        ("\n0,8\n", "line 1: the columns must be"),
        ("0,8\n", "line 1: the columns must be .*, not 0,8"),
        ("budget_ms,t_ms\n0,8\n", "line 1: the columns must be"),
        ("t_ms;budget_ms\n0;8\n", "line 1: the columns must be"),
        ("t_ms,budget_ms,revise_at_ms\n0,8,1\n", "line 1: the columns must be"),
        ("x" * 5000, "line 1: the columns must be .*, not x{80}$"),
        ("t_ms,budget_ms\n", "no frames in it"),
        (b"\xff\xfe0\x00", "not a CSV file"),
        (b"\x89PNG\r\n\x1a\n", "not a CSV file"),
        ('t_ms,budget_ms\n"0,8\n', "not a CSV file"),
        ("t_ms,budget_ms\r0,8\r", "not a CSV file"),
        ("t_ms,budget_ms\n0," + "8" * 200_000, "not a CSV file"),
    ],
)
def test_what_is_no_trace_is_refused(read, content, says):
    refuses(read, content, says)


def test_a_missing_trace(tmp_path):
    with pytest.raises(BudgetError, match="no such budget trace; it is a CSV file with the columns t_ms,budget_ms"):
        load_trace(tmp_path / "trace.csv")
    with pytest.raises(BudgetError, match="no such budget trace"):
        load_trace(tmp_path)
    with pytest.raises(StorageError, match="cannot read"):
        load_trace(tmp_path / ("x" * 5000))


MOMENTS = st.floats(0, LATEST_MS, allow_subnormal=False)
BUDGETS = MOMENTS | st.just(math.inf)


@FUZZ
@given(
    st.lists(
        st.builds(FrameBudget, MOMENTS, BUDGETS) | st.builds(FrameBudget, MOMENTS, BUDGETS, MOMENTS, BUDGETS),
        min_size=1,
        max_size=10,
    )
)
def test_a_trace_survives_the_way_to_disk_and_back(tmp_path_factory, frames):
    frames = sorted(frames, key=lambda f: f.t_ms)
    file = tmp_path_factory.mktemp("t") / "trace.csv"
    save_trace(file, frames)
    assert load_trace(file) == frames


def test_a_long_trace_keeps_its_milliseconds(tmp_path):
    frames = [FrameBudget(3_600_000.0 + 33.25 * i, 8.125) for i in range(5)]
    save_trace(tmp_path / "a.csv", frames)
    assert load_trace(tmp_path / "a.csv") == frames


@FUZZ
@given(st.binary(max_size=60))
def test_any_bytes_are_a_trace_or_one_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("t") / "trace.csv"
    file.write_bytes(b"t_ms,budget_ms\n" + content)
    try:
        trace = load_trace(file)
    except BudgetError as error:
        assert str(file) in str(error)
    else:
        assert trace and all(f.budget_ms >= 0 for f in trace)


@FUZZ
@given(st.floats(0.01, 1e3), st.floats(0.01, 1e3), st.integers(1, 200), st.floats(0.5, 10), st.floats(0, 50))
def test_a_swing_stays_between_its_bounds_and_reaches_the_low_one(low, high, frames, periods, gap):
    trace = swing(low, high, frames, periods, gap)
    budgets = [f.budget_ms for f in trace]
    assert len(trace) == frames and budgets[0] == pytest.approx(low, abs=1e-6)
    assert min(low, high) - 1e-6 <= min(budgets) and max(budgets) <= max(low, high) + 1e-6
    times = [f.t_ms for f in trace]
    assert times[0] == 0.0 and times == sorted(times)
    for frame, after in itertools.pairwise(trace):
        assert after.t_ms - frame.t_ms == pytest.approx(frame.budget_ms + gap, abs=2e-3)


def test_a_swing_goes_there_and_back_evenly_on_a_logarithmic_scale():
    budgets = [f.budget_ms for f in swing(1.0, 100.0, 9, periods=1.0)]
    assert budgets[4] == 100.0 and budgets[2] == pytest.approx(10.0) and budgets == budgets[::-1]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_a_swing_between_what_is_no_budget_is_refused(low, high):
    with pytest.raises(BudgetError, match="budgets cannot swing between"):
        swing(low, high, 10)
