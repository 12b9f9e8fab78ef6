"""ONNX Runtime imported so that it tells nobody anything."""

from __future__ import annotations

import os
from typing import Any

from jetson.errors import missing_extra

SILENT = "ORT_DISABLE_TELEMETRY"
"""Since 1.29 the packages for Linux, too, report process, machine and sessions to Microsoft unless this is set when
they are imported; what they report lies in a database in ~/.cache/Microsoft."""


def import_onnxruntime() -> Any:
    """The package.

    Raises:
        MissingExtra: it is not installed.
    """
    os.environ[SILENT] = "1"
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", "host") from None
    onnxruntime.disable_telemetry_events()  # where whoever runs us had imported it before, and on Windows
    return onnxruntime
