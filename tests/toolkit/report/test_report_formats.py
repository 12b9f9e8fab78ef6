import pytest

from toolkit.report import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (0.0503, "0.0503 ms"), (1.8349, "1.83 ms"), (23.06, "23.1 ms"), (4120.4, "4,120 ms"), (0, "0 ms")],
)
def test_milliseconds_keep_three_digits(value, text):
    assert formats.milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(812, "812"), (192_000, "192 k"), (999_900, "1.00 M"), (5_717_416, "5.72 M"), (None, "n/a")]
)
def test_quantities_carry_their_letter(value, text):
    assert formats.quantity(value) == text


def test_quantity_with_unit():
    assert formats.quantity(17, "B") == "17 B"
    assert formats.quantity(1.25e9, "FLOPs") == "1.25 GFLOPs"


@pytest.mark.parametrize("value", [None, "0.5", True, float("nan"), float("inf")])
def test_what_is_no_number_is_not_available(value):
    assert formats.share(value) == formats.significant(value) == formats.milliseconds(value) == "n/a"


def test_a_column_keeps_three_digits_of_its_smallest_entry():
    assert formats.decimals_for([11.5, 3.95, None]) == 2
    assert formats.decimals_for([0.00001]) == 4
    assert formats.decimals_for([2000.0]) == 0
    assert formats.decimals_for([]) == formats.decimals_for([0.0]) == 1


@pytest.mark.parametrize(
    ("before", "after", "metric", "text"),
    [
        (0.9, 0.875, "accuracy", "−2.5 points"),
        (0.875, 0.9, "accuracy", "+2.5 points"),
        (0.9, 0.8999, "accuracy", "0.0 points"),
        (4.0, 5.0, "mean_absolute_error", "+25.0%"),
        (0.0, 5.0, "mean_absolute_error", "n/a"),
        (None, 0.5, "accuracy", "n/a"),
    ],
)
def test_a_change_has_its_sign_and_unit(before, after, metric, text):
    assert formats.change(before, after, metric) == text


def test_times_are_read_or_kept():
    assert formats.moment("2025-03-04T05:06:07Z") == "2025-03-04 05:06 UTC"
    assert formats.moment("some day") == "some day"
