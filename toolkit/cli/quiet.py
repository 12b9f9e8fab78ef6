"""No telemetry: nothing that Offramp runs tells anybody anything."""

from __future__ import annotations

import os

from jetson.quiet import SILENT

TOLD_TO_BE_SILENT = {
    "DO_NOT_TRACK": "1",
    SILENT: "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}
"""Read by huggingface_hub and transformers when they are imported. Offramp takes models from folders and never from the
network, so they are offline whatever the user's environment says. ONNX Runtime's is read when that is imported, and set
there too (jetson/quiet.py); PyTorch, numpy and TensorRT have none."""


def no_telemetry() -> None:
    """Tell the packages that may report to somebody that they must not, in this process and in those it starts."""
    os.environ.update(TOLD_TO_BE_SILENT)
