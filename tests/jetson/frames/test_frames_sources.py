"""What a text names, what cannot be opened and how that is said; without OpenCV."""

import sys

import numpy as np
import pytest

from jetson import frames
from jetson.errors import BadInput, DataError, MissingExtra, StorageError, WorkFailed
from jetson.frames import opencv, sources
from jetson.frames.captured import Captured
from tests.jetson.frames.cameras import FakeCv2

BLUE = np.zeros((4, 6, 3), np.uint8)
BLUE[:, :, 0] = 200  # in OpenCV's order


@pytest.fixture
def fake(monkeypatch):
    """A function that puts a fake in OpenCV's place; every camera is there."""

    def put(*args, **options):
        cv2 = FakeCv2(*args, **options)
        monkeypatch.setattr(sources, "import_cv2", lambda: cv2)
        monkeypatch.setattr(sources, "_device", lambda camera: camera["path"] or camera["which"] or "0")
        return cv2

    return put


@pytest.mark.parametrize(
    ("what", "captured"),
    [
        ("camera", True),
        ("camera:0", True),
        ("camera:/dev/v4l/by-id/usb-x", True),
        ("/dev/video2", True),
        ("gst:videotestsrc ! appsink", True),
        ("rtsp://10.0.0.2/stream", True),
        ("a/clip.MP4", True),
        ("clip.webm", True),
        ("photo.jpg", False),
        ("frames.npy", False),
        ("camera:x", False),
        ("cifar10:x.tar.gz", False),
        ("digits", False),
    ],
)
def test_what_opencv_opens(what, captured):
    assert sources.is_captured(what) is captured


def test_a_folder_called_like_a_video_is_a_folder(tmp_path):
    (tmp_path / "day.mp4").mkdir()
    assert not sources.is_captured(str(tmp_path / "day.mp4"))


def test_a_camera_is_asked_for_what_is_wanted_and_gives_rgb(fake):
    cv2 = fake([BLUE] * 3, values={FakeCv2.CAP_PROP_POS_MSEC: 12.5})
    with frames.open("/dev/video2", fps=30, size=(480, 640)) as stream:
        assert stream.live and stream.comes
        reader = stream.reader
        assert reader.count is None
        shot = reader.read()
        assert shot.image[0, 0].tolist() == [0, 0, 200] and shot.came is not None and shot.source_ms == 12.5
        assert reader.read() is not None  # of three frames one was looked at when it was opened
        with pytest.raises(WorkFailed, match="/dev/video2: gave 2 frames, and no more come; is it still plugged in"):
            reader.read()
    assert cv2.opened == [("/dev/video2", cv2.CAP_V4L2)]
    assert cv2.asked == [(cv2.CAP_PROP_FRAME_HEIGHT, 480), (cv2.CAP_PROP_FRAME_WIDTH, 640), (cv2.CAP_PROP_FPS, 30)]


def test_a_grey_model_gets_grey_frames_and_grey_frames_stay(fake):
    fake([BLUE] * 2)
    assert frames.open_reader("camera:0", channels=1).read().image.shape == (4, 6, 1)
    fake([BLUE[:, :, 0]] * 2)
    assert frames.open_reader("camera:0").read().image.shape == (4, 6, 1)
    fake([np.dstack([BLUE, BLUE[:, :, :1]])] * 2)
    assert frames.open_reader("camera:0").read().image[0, 0].tolist() == [0, 0, 200]


@pytest.mark.parametrize(
    ("image", "says"), [(BLUE.astype(np.uint16), "gives uint16 images"), (BLUE[:, :, :2], "gives images of 2 channels")]
)
def test_images_of_another_kind_are_refused(fake, image, says):
    fake([image] * 2)
    with pytest.raises(DataError, match=says):
        frames.open_reader("camera:0").read()


@pytest.mark.parametrize(("degrees", "first"), [(90, 3), (180, 5), (270, 2), (0, 0)])
def test_a_video_that_opencv_does_not_turn_is_turned_here(degrees, first, tmp_path, fake):
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    fake([image], values={FakeCv2.CAP_PROP_ORIENTATION_META: float(degrees)})
    (tmp_path / "clip.mp4").touch()
    assert frames.open_reader(tmp_path / "clip.mp4", channels=1).read().image[0, 0, 0] == first
    fake([image], values={FakeCv2.CAP_PROP_ORIENTATION_META: 90.0, "takes": [FakeCv2.CAP_PROP_ORIENTATION_AUTO]})
    assert frames.open_reader(tmp_path / "clip.mp4", channels=1).read().image[0, 0, 0] == 0  # it has been


def test_a_pipeline_goes_to_gstreamer_and_ends_where_it_ends(fake):
    cv2 = fake([BLUE] * 2)
    reader = frames.open_reader("gst: nvarguscamerasrc ! appsink")
    assert cv2.opened == [("nvarguscamerasrc ! appsink", cv2.CAP_GSTREAMER)]
    assert reader.read() is not None and reader.read() is None


@pytest.mark.parametrize(
    ("what", "cv2", "error", "says"),
    [
        ("camera:0", {"opens": False}, DataError, "camera:0: is no camera, or another process has it"),
        ("camera:0", {}, DataError, "camera:0: gives no images"),
        ("camera:0", {"frames": [FakeCv2.error("driver")]}, DataError, "camera:0: gives no images"),
        ("gst:x", {"opens": False}, DataError, "the pipeline does not start: try it with gst-launch-1.0"),
        ("gst:x", {"built": "GStreamer: NO"}, BadInput, "OpenCV 4.8.0 was built without GStreamer"),
        ("rtsp://x/y", {"opens": False}, DataError, "rtsp://x/y: nobody answers there"),
    ],
)
def test_what_cannot_be_opened(fake, what, cv2, error, says):
    fake(**cv2)
    with pytest.raises(error, match=says):
        frames.open(what)


def test_a_size_is_for_cameras(fake):
    fake([BLUE])
    with pytest.raises(BadInput, match="only a camera can be asked for a size"):
        frames.open("gst:x", size=(480, 640))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras have names in /dev on Linux alone")
def test_a_camera_that_is_not_there_or_not_for_us(monkeypatch):
    with pytest.raises(DataError, match="there is no camera /dev/video77; there is "):
        frames.open("camera:77")
    monkeypatch.setattr(sources.Path, "exists", lambda _path: True)
    monkeypatch.setattr(sources.os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="/dev/video77: no permission; add yourself to the group video"):
        frames.open("/dev/video77")


def test_without_opencv_one_line_names_the_extra(monkeypatch, tmp_path):
    (tmp_path / "clip.mp4").touch()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'offramp\[video\]'"):
        frames.open(tmp_path / "clip.mp4")


def test_an_opencv_for_another_numpy_says_what_to_do(monkeypatch, tmp_path):
    """As JetPack 6's in a virtual environment that has NumPy 2."""
    (tmp_path / "cv2.py").write_text("raise AttributeError('_ARRAY_API not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    with pytest.raises(MissingExtra, match=r"does not load \(_ARRAY_API not found\); JetPack's own wants NumPy 1"):
        opencv.import_cv2()


def test_images_and_folders_come_in_the_order_of_their_names(tmp_path):
    from PIL import Image

    for name, value in (("b.png", 2), ("a.jpg", 1), ("c.bmp", 3)):
        Image.fromarray(np.full((4, 4, 3), 40 * value, np.uint8)).save(tmp_path / name)
    (tmp_path / "d.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").touch()
    with frames.open(tmp_path) as stream:
        found = list(stream)
    assert [f.name for f in found] == ["a.jpg", "b.png", "c.bmp"] and stream.unreadable == 1
    assert [round(int(f.image[0, 0, 0]) / 40) for f in found] == [1, 2, 3]
    assert "d.png: not a PNG, JPEG" in stream.remarks[0]
    with frames.open(tmp_path / "a.jpg", channels=1) as stream:
        assert [f.image.shape for f in stream] == [(4, 4, 1)]
    with frames.open(tmp_path, fps=1000) as stream:
        assert stream.comes and stream.budget_ms == 1.0
    with pytest.raises(DataError, match=r"notes\.txt: neither a folder, an image"):
        frames.open(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="no such file or folder"):
        frames.open(tmp_path / "nothing.mp4")


def test_a_capture_that_breaks_ends(fake, tmp_path):
    fake([BLUE, FakeCv2.error("broken"), BLUE], values={FakeCv2.CAP_PROP_FRAME_COUNT: 100.0})
    (tmp_path / "clip.mp4").touch()
    reader = frames.open_reader(tmp_path / "clip.mp4")
    assert isinstance(reader, Captured) and reader.count == 100
    assert reader.read() is not None and reader.read() is None
    assert "1 of 100 frames could be read; the rest is damaged or missing" in reader.notice


def test_an_address_is_a_file_when_it_says_how_long_it_is(fake):
    fake([BLUE] * 2)
    assert frames.open("rtsp://x/y").live
    fake([BLUE] * 2, values={FakeCv2.CAP_PROP_FRAME_COUNT: 2.0})
    stream = frames.open("https://x/y.avi")
    assert not stream.live and len(list(stream)) == 2 and stream.notice is None
