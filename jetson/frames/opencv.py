"""OpenCV, where it is installed: what opens videos and cameras."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from jetson.errors import BadInput, MissingExtra, first_line, missing_extra


def import_cv2() -> Any:
    """The module, told to keep what it and FFmpeg would print of damaged files to itself.

    Raises:
        MissingExtra: it is not installed, or does not fit the NumPy that is.
    """
    if "cv2" not in sys.modules:  # who has imported it before us has it talk as they like
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise _unfit(error) from None
        raise missing_extra("opencv-python-headless", "video") from None
    except (ImportError, AttributeError) as error:
        raise _unfit(error) from None
    return cv2


def _unfit(error: Exception) -> MissingExtra:
    return MissingExtra(
        f"OpenCV is installed but does not load ({first_line(error)}); JetPack's own wants NumPy 1: "
        "pip install 'offramp[video]', or 'numpy<2' to keep JetPack's"
    )


def need_gstreamer(cv2: Any) -> None:
    """Find out whether pipelines can be opened.

    Raises:
        BadInput: this OpenCV was built without GStreamer.
    """
    if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        raise BadInput(
            f"OpenCV {cv2.__version__} was built without GStreamer, as all of PyPI are; JetPack's has it: "
            "pip uninstall opencv-python-headless, in a virtual environment made with --system-site-packages"
        )
