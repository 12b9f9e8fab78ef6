"""Every error Offramp raises on purpose, in one small tree.

A subclass of `BadInput` means that what the user gave cannot be used as it is: the command line prints its one line
and exits with 2. `WorkFailed` means that the input was fine and the work was not: exit code 1. Anything else that
escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jetson.answer import Answer


class OfframpError(Exception):
    """The root of the tree. `exit_code` is what the command line exits with."""

    exit_code = 1


class BadInput(OfframpError):
    """Something the user gave is wrong; the message says what, and what to do."""

    exit_code = 2


class ModelError(BadInput):
    """A model cannot be described so: unknown branch, layer out of range, duplicate exit, unreadable checkpoint."""


class DataError(BadInput):
    """A data set is missing, empty, unreadable or does not fit the model."""


class FrameError(BadInput, ValueError):
    """A frame has the wrong shape, type or values for the bundle's preprocessing."""


class BudgetError(BadInput, ValueError):
    """A budget is not a time: NaN, negative, or given in two ways at once."""


class BundleError(BadInput):
    """A bundle is incomplete, altered, unsafe, or written in a format this version does not read."""


class ProfileError(BadInput):
    """A profile is damaged, or was measured on another bundle, device or engine."""


class MissingExtra(BadInput, ImportError):
    """An optional package is needed; the message names the extra to install."""


class StorageError(BadInput, OSError):
    """A file or folder cannot be written or read: full disk, no permission, not there."""


class WorkFailed(OfframpError):
    """The input was fine and the work was not."""


class ParityError(WorkFailed):
    """An exported unit does not compute what its PyTorch module computes."""


class EngineError(WorkFailed):
    """A unit failed to build, to load or to run."""


class PathError(EngineError):
    """A unit on a path failed; the ones before it have run."""

    def __init__(self, message: str, finished: int) -> None:
        """Say what failed.

        Args:
            message: names the unit.
            finished: units of the path that ran to their end.
        """
        super().__init__(message)
        self.finished = finished


class CudaError(EngineError):
    """A call into CUDA failed, or there is no CUDA here."""


class StreamsError(WorkFailed):
    """Some of several frames could not be answered; the others were."""

    def __init__(self, answers: Sequence[Answer | None], errors: Mapping[int, OfframpError]) -> None:
        """Tell of every frame.

        Args:
            answers: in the order of the frames; None where there is an error.
            errors: by frame, counted from 0.
        """
        first, *others = sorted(errors)
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(f"frame {first} of {len(answers)}: {errors[first]}{more}")
        self.answers, self.errors = list(answers), dict(errors)


def missing_extra(package: str, extra: str) -> MissingExtra:
    """The one sentence for an optional package that is not installed.

    Args:
        package: what could not be imported, e.g. `torch`.
        extra: the extra of the distribution that brings it, e.g. `host`.
    """
    return MissingExtra(f"{package} is not installed: pip install 'offramp[{extra}]'")


def first_line(error: BaseException) -> str:
    """What another library's exception says, as far as it fits into a message of ours; its kind when it is silent."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
