"""When frames come, which of them are answered, and from when their budgets count; on a clock that stands still."""

import math
import threading

import numpy as np
import pytest

from jetson import Runtime
from jetson.errors import DataError, WorkFailed
from jetson.frames.arrival import Arrival
from jetson.frames.frame import Frame, Shot
from jetson.frames.inbox import Inbox
from jetson.frames.pictures import Pictures
from jetson.frames.stream import Stream, Unreadable, period_ms
from jetson.replay import answer_each, on_budget
from jetson.scheduling.replan import Replan
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle
from tests.jetson.frames.cameras import IMAGE, Camera


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("stream") / "bundle")


@pytest.fixture
def watch(bundle, monkeypatch):
    """A function that answers so many frames of a camera; a segment takes 1 ms and a branch 0.25 ms."""
    clock = VirtualClock()
    for module in ("runtime", "walk", "streams", "replay", "frames.stream"):
        monkeypatch.setattr(f"jetson.{module}.clock", clock)

    def answers(number, every_frame, slow, period=2.0):
        profile = fake_profile(bundle, preprocess_ms=0.0)
        engines = FakeEngines(bundle, clock, profile)
        runtime = Runtime(bundle, engines, Replan(bundle.manifest, profile))
        camera = Camera(period)
        camera.start = clock.now
        engines.after = lambda _unit: camera.give_until(clock.now)
        stream = Stream(camera, budget_ms=period, every_frame=every_frame)

        def come():
            source = iter(stream)
            for index in range(number):
                if not stream.waiting:
                    clock.now = max(clock.now, camera.next_s)
                    camera.give_until(clock.now)
                engines.slow = slow(index)
                yield next(source)

        with stream:
            found = [f.record for f in answer_each(runtime, on_budget(come(), period), profile)]
            camera.end()
        assert camera.closed
        return found, stream

    return answers


def test_a_device_that_keeps_up_answers_every_frame_within_its_period(watch):
    found, stream = watch(4, False, lambda _index: 1.0)
    assert [r["t_ms"] for r in found] == pytest.approx([0.0, 2.0, 4.0, 6.0])
    assert [r["source_frame"] for r in found] == [0, 1, 2, 3] and stream.dropped == 0
    assert all(r["met_deadline"] and r["budget_ms"] == pytest.approx(2.0) for r in found)
    assert [r["exit_name"] for r in found] == ["2:cnn-add"] * 4  # 1.25 ms of 2


def test_frames_that_came_meanwhile_are_dropped_and_the_newest_is_answered(watch):
    # 5 ms for the first: those at 2 and 4 have come, and the one at 4 has been waiting for 1 ms of its 2.
    found, stream = watch(3, False, lambda index: 4.0 if index == 0 else 1.0)
    assert [r["source_frame"] for r in found] == [0, 2, 3]
    assert [r["dropped"] for r in found] == [0, 1, 0] and stream.dropped == 1
    assert [r["waited_ms"] for r in found] == pytest.approx([0.0, 1.0, 0.25])
    assert [r["elapsed_ms"] for r in found] == pytest.approx([5.0, 2.25, 1.5])
    assert [r["met_deadline"] for r in found] == [False, False, True]


def test_a_late_frame_eats_into_those_behind_it_when_none_is_dropped(watch):
    found, stream = watch(8, True, lambda index: 4.2 if index == 0 else 1.0)
    assert [r["source_frame"] for r in found] == list(range(8)) and stream.dropped == 0
    # Every answer by the quickest exit makes up for 0.75 ms of the 3.25 ms that the first was late.
    assert [r["elapsed_ms"] for r in found[:7]] == pytest.approx([5.25, 4.5, 3.75, 3.0, 2.25, 1.5, 1.25])
    assert [r["met_deadline"] for r in found] == [False] * 5 + [True] * 3
    assert [r["feasible"] for r in found] == [True] * 8


def test_a_camera_that_is_lost_says_so_after_what_it_gave():
    camera = Camera(10.0)
    with Stream(camera) as stream:
        source = iter(stream)
        camera.start = 0.0
        camera.give_until(0.0)
        camera.lose()
        assert next(source).number == 0
        with pytest.raises(WorkFailed, match="gave no more"):
            next(source)
    assert camera.closed


def test_an_inbox_that_drops_keeps_the_newest_and_counts():
    inbox = Inbox(1, drop=True)
    for number in range(4):
        inbox.put(Frame(IMAGE, number))
    assert inbox.waiting and inbox.dropped == 3
    taken = inbox.take()
    assert (taken.number, taken.dropped) == (3, 3) and not inbox.waiting
    inbox.put(Frame(IMAGE, 4))
    inbox.end()
    assert inbox.take().dropped == 0 and inbox.take() is None is inbox.take()


def test_an_inbox_that_keeps_makes_the_giver_wait_until_it_is_closed():
    inbox = Inbox(2, drop=False)
    done = threading.Event()

    def give():
        for number in range(4):
            inbox.put(Frame(IMAGE, number))
        done.set()

    thread = threading.Thread(target=give)
    thread.start()
    assert [inbox.take().number for _ in range(2)] == [0, 1]
    thread.join(10)
    assert done.is_set()  # two places for the other two
    thread = threading.Thread(target=give)
    thread.start()
    inbox.close()
    thread.join(10)
    assert not thread.is_alive()


def test_whoever_waits_is_told_that_nothing_comes(monkeypatch):
    monkeypatch.setattr("jetson.frames.inbox.IDLE_S", 0.001)
    inbox, told = Inbox(1, drop=True), []

    def idle():
        told.append(len(told))
        if len(told) == 3:
            inbox.put(Frame(IMAGE, 7))

    assert inbox.take(idle).number == 7 and told == [0, 1, 2]


def test_frames_of_a_file_come_at_an_even_rate_or_at_their_own_times():
    even, own = Arrival(10.0), Arrival(10.0, own_times=True)
    assert [even.of(n, None, 100.0, 100.0) for n in range(3)] == pytest.approx([100.0, 100.1, 100.2])
    times = [40.0, 50.0, math.nan, 400.0]  # of a phone that takes its time; one unknown is at the even rate
    assert [own.of(n, t, 5.0, 5.0) for n, t in enumerate(times)] == pytest.approx([5.0, 5.01, 5.16, 5.36])


def test_a_frame_comes_no_sooner_than_it_can_be_decoded():
    arrival = Arrival(10.0)
    assert arrival.of(0, None, 0.0, 0.5) == 0.5  # the first takes long: the clock begins with it
    assert arrival.of(1, None, 0.5, 0.52) == pytest.approx(0.6)
    assert arrival.of(2, None, 0.6, 0.9) == pytest.approx(0.9)  # 0.3 s to decode
    assert arrival.of(3, None, 0.9, 0.91) == pytest.approx(0.91)  # its time is 0.8: it catches up,
    assert arrival.of(4, None, 5.0, 5.01) == pytest.approx(0.92)  # and that others held it up is no excuse
    assert arrival.of(9, None, 5.0, 5.01) == pytest.approx(1.4)


def test_times_that_go_back_do_not():
    arrival = Arrival(10.0, own_times=True)
    assert [arrival.of(n, t, 1.0, 1.0) for n, t in enumerate([100.0, 300.0, 200.0])] == pytest.approx([1.0, 1.2, 1.2])


def test_a_budget_counts_from_when_the_frame_came_or_from_its_turn():
    assert Frame(IMAGE, 0).budget.kind == Frame(IMAGE, 0, budget_ms=math.inf).budget.kind == "unbounded"
    assert Frame(IMAGE, 0, budget_ms=20.0).budget.deadline(50.0) == 50.02
    assert Frame(IMAGE, 0, arrived=40.0, budget_ms=20.0).budget.deadline(50.0) == 40.02


class Spoilt:
    """A reader of images some of which cannot be read."""

    live, fps, notice = False, None, None

    def __init__(self, good):
        self.good, self.count = list(good), len(good)

    def read(self):
        if not self.good:
            return None
        if not self.good.pop(0):
            raise Unreadable("x.png: not an image")
        return Shot(IMAGE)

    def close(self):
        pass


@pytest.mark.parametrize("beside", [False, True])
def test_images_that_cannot_be_read_are_left_out_and_counted(beside):
    with Stream(Spoilt([True, False, True, False] + [False] * 10), beside=beside) as stream:
        assert [f.number for f in stream] == [0, 2]
    assert stream.unreadable == 12 and stream.remarks == ["x.png: not an image"] * 5
    with Stream(Spoilt([False] * 3), beside=beside) as stream, pytest.raises(DataError, match=r"not an image \(and 2"):
        list(stream)


def test_images_in_turn_without_end_but_not_of_nothing():
    images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    stream = Stream(Pictures(images, "abc", [5, 6, 7], repeat=True), beside=False)
    found = [next(frames) for frames in [iter(stream)] for _ in range(4)]
    assert [(int(f.image[0, 0, 0]), f.name, f.target, f.number) for f in found] == [
        *((0, "a", 5, 0), (1, "b", 6, 1), (2, "c", 7, 2)),
        (0, "a", 5, 3),
    ]
    assert all(f.arrived is None for f in found) and stream.waiting and not stream.comes


def test_what_is_no_rate():
    assert period_ms(25) == 40.0
    for fps in (0, -1, math.nan, math.inf, 1e-9):
        with pytest.raises(DataError, match="is no rate"):
            period_ms(fps)
