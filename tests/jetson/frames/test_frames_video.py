"""Real videos through the real OpenCV: colours, times, turned and damaged ones."""

import numpy as np
import pytest

from jetson import frames
from jetson.errors import DataError
from jetson.frames.opencv import import_cv2

cv2 = import_cv2()

SIZE = (48, 32)


def write(path, code, number=10, fps=25.0, size=SIZE):
    """A video of red frames whose left half turns white one after another."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, size)
    assert writer.isOpened()
    for index in range(number):
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[:, :, 2] = 220
        image[: size[1] // 2, : size[0] // 2] = min(255, 20 * index)
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {"avi": write(folder / "clip.avi", "MJPG"), "mp4": write(folder / "clip.mp4", "mp4v")}


@pytest.mark.parametrize("kind", ["avi", "mp4"])
def test_frames_of_a_video_in_order_in_rgb_with_their_times(clips, kind):
    with frames.open(clips[kind]) as stream:
        assert stream.reader.count == 10 and stream.reader.fps == pytest.approx(25.0) and not stream.live
        found = list(stream)
    assert [f.number for f in found] == list(range(10)) and stream.notice is None and stream.unreadable == 0
    assert [f.source_ms for f in found] == pytest.approx([40.0 * n for n in range(10)], abs=0.5)
    assert all(f.arrived is None and f.budget_ms is None for f in found)
    red, green, blue = found[3].image[-4, -4].astype(int)
    assert found[3].image.shape == (32, 48, 3) and red > 180 and green < 60 and blue < 60
    assert [round(float(f.image[4:10, 4:12].mean()) / 20) for f in found] == list(range(10))


def test_a_video_for_a_grey_model(clips):
    with frames.open(clips["avi"], channels=1) as stream:
        assert {f.image.shape for f in stream} == {(32, 48, 1)}


def test_a_paced_video_has_the_period_as_its_budget(clips):
    with frames.open(clips["avi"], fps=1000.0, every_frame=True) as stream:
        found = list(stream)
    assert len(found) == 10 and {f.budget_ms for f in found} == {1.0} and stream.dropped == 0
    came = np.diff([f.arrived for f in found])
    assert (came >= 0.04 - 1e-6).all()  # at its own rate of 25 a second


def test_a_video_of_a_phone_held_upright_is_upright(clips, tmp_path):
    content = bytearray(clips["mp4"].read_bytes())
    place = content.index(b"tkhd") + 44  # the track's matrix
    assert content[place : place + 4] == bytes([0, 1, 0, 0])
    quarter = np.array([0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000], ">i4").tobytes()
    content[place : place + 36] = quarter
    (tmp_path / "upright.mp4").write_bytes(content)
    with frames.open(tmp_path / "upright.mp4") as stream:
        image = list(stream)[9].image
    assert image.shape == (48, 32, 3)
    corners = {(y, x): image[y, x].min() > 120 for y in (6, 41) for x in (6, 25)}
    assert [place for place, white in corners.items() if white] == [(6, 25)]  # the upper left went to the upper right


def test_a_truncated_video_gives_what_is_left_of_it_and_says_so(tmp_path):
    content = write(tmp_path / "cut.avi", "MJPG", number=40).read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) * 7 // 10])
    with frames.open(tmp_path / "cut.avi") as stream:
        found = list(stream)
    assert 1 <= len(found) < 35
    assert stream.notice.endswith(f"cut.avi: {len(found)} of 40 frames could be read; the rest is damaged or missing")


@pytest.mark.parametrize("content", [b"", b"no video" * 100, None])
def test_a_video_that_cannot_be_read_at_all(clips, tmp_path, content, capfd):
    if content is None:  # an mp4 without its end, where its index lies
        content = clips["mp4"].read_bytes()[:600]
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(DataError, match="damaged, incomplete, or no video that this OpenCV knows"):
        frames.open(tmp_path / "bad.mp4")
    assert capfd.readouterr() == ("", "")  # what FFmpeg would say of it is no help


def test_closing_in_the_middle_ends_the_thread(clips):
    with frames.open(clips["avi"]) as stream:
        assert next(iter(stream)).number == 0
    assert not stream._thread.is_alive()


def test_frames_with_budgets_are_decoded_between_inferences_not_beside_them(clips):
    with frames.open(clips["avi"], budget_ms=20.0) as stream:
        assert len(list(stream)) == 10
    assert stream._thread is None
