from toolkit.data.wording import one_line


def test_a_message_is_one_line_of_printable_words():
    assert one_line(ValueError("two\nlines  and\x00\x1b[31m colour")) == "two lines and [31m colour"


def test_a_silent_exception_is_named():
    assert one_line(MemoryError()) == "MemoryError"
    assert one_line("") == ""


def test_addresses_and_endless_text_are_cut():
    assert one_line("<x object at 0x7f0e8171c580> here") == "<x object> here"
    assert len(one_line("a" * 10_000)) == 163
