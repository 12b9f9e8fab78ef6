"""What every exit answers on held-out frames, kept in the bundle: a planner or a simulator replays it without engines.

One file holds one role: an uncompressed .npz with the arrays of `Samples`. Reading trusts nothing in it.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jetson.confidence import LIMIT, scores
from jetson.errors import BundleError
from jetson.manifest import Task

_FORMS: dict[Task, dict[str, tuple[str, tuple[str, ...]]]] = {
    "classification": {"class_index": ("<i4", ("exits",)), "score": ("<f4", ("exits",)), "target": ("<i8", ())},
    "regression": {"output": ("<f4", ("exits", "outputs")), "target": ("<f4", ("outputs",))},
}
"""By array its type and its dimensions behind the frames."""
# A header is a Python literal. This is the only one that numpy writes for a plain array, so nothing need evaluate it.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([^'\n]*)', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n",
    re.DOTALL,
)
# What zipfile raises on a damaged file; encryption is a RuntimeError.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, LookupError, OverflowError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Samples:
    """What every exit answers on the frames of one role, in the units' own precision."""

    target: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    """What is right: class numbers, int64 (n,), or values, float32 (n, outputs)."""
    class_index: npt.NDArray[np.int32] | None = None
    """Classification: (n, exits), the class that each exit names."""
    score: npt.NDArray[np.float32] | None = None
    """Classification: (n, exits), logit of the largest share of the softmax at the exit's temperature."""
    output: npt.NDArray[np.float32] | None = None
    """Regression: (n, exits, outputs)."""

    @classmethod
    def of(
        cls,
        outputs: npt.NDArray[np.float32],
        target: npt.NDArray[np.int64] | npt.NDArray[np.float32],
        temperatures: Sequence[float] | None,
    ) -> Samples:
        """Keep of outputs what decides.

        Args:
            outputs: (n, exits, outputs): logits, or values in regression; all finite.
            target: (n,) class numbers, or (n, outputs) values.
            temperatures: of the exits; None in regression.
        """
        if temperatures is None:
            return cls(target=target.astype(np.float32), output=outputs.astype(np.float32))
        found = [scores(outputs[:, k], temperature) for k, temperature in enumerate(temperatures)]
        return cls(
            target=target.astype(np.int64),
            class_index=np.stack([c for c, _ in found], axis=1).astype(np.int32),
            score=np.stack([s for _, s in found], axis=1).astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.target)

    @property
    def exits(self) -> int:
        """How many exits answered."""
        answers = self.output if self.output is not None else self.class_index
        assert answers is not None
        return int(answers.shape[1])

    @property
    def worth(self) -> npt.NDArray[np.float64]:
        """(n, exits): 1 where the exit is right and 0 where it is wrong; in regression its mean absolute error."""
        if self.output is not None:
            worth = np.abs(self.output.astype(np.float64) - self.target[:, None]).mean(axis=2)
        else:
            worth = self.class_index == self.target[:, None]
        return np.asarray(worth, np.float64)

    def encode(self) -> bytes:
        """The file: the same arrays give the same bytes."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name, (form, _) in _FORMS["classification" if self.output is None else "regression"].items():
                array = io.BytesIO()
                values = np.ascontiguousarray(getattr(self, name), form)
                np.lib.format.write_array(array, values, version=(1, 0), allow_pickle=False)
                member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, whenever it is written
                member.create_system = 3
                archive.writestr(member, array.getvalue())
        return content.getvalue()


def decode(content: bytes, where: str, task: Task, exits: int, outputs: int) -> Samples:
    """Read samples and hold them against the bundle they are in.

    Args:
        content: the bytes of the file.
        where: its path, for messages.
        task: of the bundle.
        exits: of the bundle.
        outputs: of the bundle.

    Raises:
        BundleError: not such an archive, other arrays, types or shapes, or values that no exit gives; one line.
    """

    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise BundleError(f"{where}: {what}; the file is damaged, build or copy the bundle again")

    sizes = {"exits": exits, "outputs": outputs}
    forms = _FORMS[task]
    members = _members(content)
    demand(members is not None, "no archive of uncompressed arrays")
    assert members is not None
    demand(
        sorted(members) == sorted(f"{name}.npy" for name in forms),
        f"it does not hold {' and '.join(forms)}, which is what samples of a {task} are",
    )
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, (form, dimensions) in forms.items():
        wanted = np.dtype(form).newbyteorder("=")
        tail = tuple(sizes[d] for d in dimensions)
        array = _array(members[f"{name}.npy"], form, tail)
        demand(array is not None, f"{name} is not {wanted} of shape {('n', *tail)}".replace("'", ""))
        assert array is not None
        demand(len(array) > 0, "there are no frames in it")
        demand(bool(np.isfinite(array).all()), f"{name} is NaN or infinite on some frame")
        found[name] = array
    demand(len({len(array) for array in found.values()}) == 1, "its arrays are not of the same frames")
    if task == "classification":
        for name in ("class_index", "target"):
            possible = found[name].min() >= 0 and found[name].max() < outputs  # type: ignore[operator]
            demand(bool(possible), f"{name} has class numbers outside 0..{outputs - 1}")
        demand(bool((np.abs(found["score"]) <= np.float32(LIMIT)).all()), f"score has logits beyond {LIMIT:.2f}")
    return Samples(**found)  # type: ignore[arg-type]


def _members(content: bytes) -> dict[str, bytes] | None:
    """The files in an archive that compresses nothing, so that none is larger than the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = archive.infolist()
            plain = all(i.compress_type == zipfile.ZIP_STORED and i.compress_size == i.file_size for i in inside)
            if not plain or len(inside) > max(map(len, _FORMS.values())):
                return None
            return {i.filename: archive.read(i) for i in inside}
    except _DAMAGED:
        return None


def _array(content: bytes, form: str, tail: tuple[int, ...]) -> npt.NDArray[np.generic] | None:
    """The array, if it is of this type and of this shape behind its first dimension, and all there."""
    header = _HEADER.match(content)
    if header is None or header[1] != form.encode():
        return None
    if int.from_bytes(content[8:10], "little") != header.end() - 10:
        return None
    rows = np.dtype(form).itemsize * math.prod(tail)
    n, rest = divmod(len(content) - header.end(), rows)
    stated = [part.strip() for part in header[2].split(b",") if part.strip()]
    if rest or stated != [str(size).encode() for size in (n, *tail)]:
        return None
    values = np.frombuffer(content, form, offset=header.end()).reshape(n, *tail)
    return values.astype(values.dtype.newbyteorder("="))
