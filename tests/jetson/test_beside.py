import threading

import pytest

from jetson.beside import beside


def test_work_goes_on_in_another_thread_and_its_result_is_waited_for():
    go = threading.Event()
    result = beside(lambda: (go.wait(5), threading.current_thread()))
    go.set()
    went, thread = result()
    assert went and thread is not threading.current_thread() and result()[1] is thread


def test_an_error_is_raised_where_the_result_is_asked_for():
    def fail():
        raise ValueError("no good")

    result = beside(fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="no good"):
            result()
