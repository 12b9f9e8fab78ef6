"""Reading a pickle of plain data and byte arrays, and nothing else.

A pickle is a program: it may call whatever it names. Here it can name only what reading an array takes, and gets a
stand-in of ours for each. NumPy's own would not do: a pickle that may set the state of a dtype can tell NumPy that
bytes are pointers. Any other name ends the reading before anything is called.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

from jetson.errors import DataError
from toolkit.data.wording import one_line

_RECONSTRUCT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
# The unpickler's own complaints, and what a damaged stream makes its opcodes raise.
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
    RecursionError,
    SystemError,
)


class PickledBytes:
    """Stands for an array of bytes while the pickle is read; `array` is the uint8 array it described."""

    array: np.ndarray = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _ByteType) or not isinstance(content, bytes):
            raise ValueError("an array of something other than bytes")
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


class _ByteType:
    """Stands for the dtype of bytes, which has no state worth keeping."""

    def __init__(self, kind: object):
        if kind not in ("u1", b"u1"):
            raise ValueError(f"an array of {kind!r}")

    def __setstate__(self, state: Any) -> None:
        pass


def unpickle(content: bytes, where: str) -> Any:
    """What a pickle holds, with a `PickledBytes` for every array; text written by Python 2 comes back as bytes.

    Raises:
        DataError: the pickle is damaged, or names something that is not needed to read an array of bytes.
    """
    try:
        _check_memo(content)
        return _Unpickler(content, where).load()
    except _DAMAGED as error:
        raise DataError(f"{where}: damaged or incomplete pickle ({one_line(error)}); download it again") from None


def _check_memo(content: bytes) -> None:
    # Places in the memo are counted up. One damaged into a huge number would have gigabytes allocated for the gap.
    for count, (opcode, place, _) in enumerate(pickletools.genops(content)):
        if opcode.name in _MEMO and not 0 <= int(place or 0) <= count:
            raise ValueError(f"memo place {place}")


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, where: str):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        # Fresh functions each time: a pickle can set attributes of what it is given.
        if (module, name) in _RECONSTRUCT:
            return lambda *_: PickledBytes()
        if (module, name) == ("numpy", "ndarray"):
            return None  # only ever the first argument of _reconstruct
        if (module, name) == ("numpy", "dtype"):
            return lambda kind, *_: _ByteType(kind)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, *_: text.encode("latin-1")
        asked = one_line(f"{module}.{name}")
        raise DataError(f"{self._where}: refused, its pickle asks for {asked}; only plain arrays are read")
