"""Which TensorRT there is: JetPack's `tensorrt`, else TensorRT for RTX. One code path serves both.

Names are used as Python has them in every supported version (10.3, 10.16, 11.4, RTX 1.7; a test holds the code to
that), and an enum's integer is never written down: `STRONGLY_TYPED` alone has had two.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from jetson.errors import EngineError, MissingExtra, first_line

PACKAGES = ("tensorrt", "tensorrt_rtx")


class Api(NamedTuple):
    """TensorRT's Python module, and what it is called."""

    trt: Any
    package: str
    version: str

    @property
    def rtx(self) -> bool:
        """Whether this is TensorRT for RTX, which builds for a named target without a GPU."""
        return self.package == "tensorrt_rtx"


def load_api(package: str | None = None) -> Api:
    """Import TensorRT.

    Args:
        package: `tensorrt` or `tensorrt_rtx`; the first that is there when None.

    Raises:
        MissingExtra: none is installed.
        EngineError: one is installed and cannot be loaded (a library it needs is missing).
    """
    broken: list[str] = []
    for name in (package,) if package else PACKAGES:
        try:
            trt = importlib.import_module(name)
            return Api(trt, name, str(trt.__version__))
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != name:
                broken.append(f"{name}: {first_line(error)}")
        except (ImportError, OSError, AttributeError) as error:
            broken.append(f"{name}: {first_line(error)}")
    if broken:
        raise EngineError(f"TensorRT is installed and cannot be loaded ({'; '.join(broken)}); see: offramp doctor")
    raise MissingExtra(
        "TensorRT is not installed: JetPack brings it (apt-get install tensorrt python3-libnvinfer; a virtual "
        "environment needs --system-site-packages), elsewhere: pip install 'offramp[rtx]'"
    )
