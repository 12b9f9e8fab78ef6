"""What a data set is: three disjoint parts, none empty, each with a hash of its content.

Disjoint means that no image is in two parts. The test part is kept whole; a calibration image that is also a test
image is dropped, and so is a training image that is also in one of the other two. Images are compared by a hash of
their exact content, so a copy in another size or format is not found. Repeats within one part stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jetson.errors import DataError
from jetson.manifest import DataRecord, Split, Task
from jetson.preprocessing import Images
from toolkit.data.images import FileImages

SPLITS = ("train", "calibration", "test")


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a data set."""

    images: Images
    """Files behind it may be decoded only when an image is asked for."""
    targets: np.ndarray | None
    """int64 [n] class indices, float32 [n, outputs] values, or None when nothing is known."""

    def __post_init__(self) -> None:
        if self.targets is not None and len(self.targets) != len(self.images):
            raise DataError(f"{len(self.images)} images but {len(self.targets)} targets; every image needs one")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """A content hash of every image, in order: shape and pixels, or the bytes of its file."""
        if isinstance(self.images, FileImages):
            return self.images.digests()
        return tuple(hashlib.sha256(f"{i.shape} {i.dtype} ".encode() + i.tobytes()).digest() for i in self.images)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over images and targets in order, as 64 hex digits; the same on every machine."""
        digest = hashlib.sha256(b"".join(self.digests))
        if self.targets is not None:
            portable = self.targets.astype(self.targets.dtype.newbyteorder("<"))
            digest.update(f"{portable.shape} {portable.dtype.str} ".encode() + portable.tobytes())
        return digest.hexdigest()

    def head(self, n: int) -> Part:
        """The first `n` images, or all where there are fewer."""
        return self.pick(range(min(n, len(self))))

    def for_channels(self, channels: int) -> Part:
        """The same images for a model of so many channels: files are decoded in grey for one; arrays stay."""
        if channels == 1 and isinstance(self.images, FileImages):
            return Part(FileImages(self.images.paths, grey=True), self.targets)
        return self

    def pick(self, indices: Iterable[int] | np.ndarray) -> Part:
        """The images at `indices`, in that order."""
        wanted = np.fromiter(indices, dtype=np.int64)
        images: Images
        if isinstance(self.images, np.ndarray):
            images = self.images[wanted]
        elif isinstance(self.images, FileImages):
            images = self.images.pick(wanted)
        else:
            images = [self.images[int(i)] for i in wanted]
        return Part(images, None if self.targets is None else self.targets[wanted])

    def without(self, *others: Part) -> Part:
        """This part less the images that are also in one of `others`."""
        taken = {digest for other in others for digest in other.digests}
        kept = [i for i, digest in enumerate(self.digests) if digest not in taken]
        return self if len(kept) == len(self) else self.pick(kept)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set in its three parts. `assemble` makes one and checks it."""

    name: str
    task: Task
    classes: tuple[str, ...] | None
    outputs: int
    channels: int
    size: tuple[int, int]
    """Height and width of the first training image; the images of a folder may differ."""
    train: Part
    calibration: Part
    test: Part
    dropped: int = 0
    """Images left out of train and calibration because a later part has them too."""

    def part(self, split: str) -> Part:
        """The part called `split`."""
        return {"train": self.train, "calibration": self.calibration, "test": self.test}[split]

    def record(self) -> DataRecord:
        """What a bundle's manifest keeps of the data: sizes and content hashes."""
        parts = {split: self.part(split) for split in SPLITS}
        return DataRecord(name=self.name, splits={k: Split(n=len(p), sha256=p.sha256) for k, p in parts.items()})


def assemble(
    name: str, where: str, *, train: Part, calibration: Part, test: Part, classes: Iterable[str] | None = None
) -> DataSet:
    """Make the parts disjoint and the data set whole.

    Args:
        name: what the manifest calls the set.
        where: what messages call it: a path or a name.
        train: what models learn from.
        calibration: what thresholds, temperatures and ranges are taken from.
        test: what is reported.
        classes: the class names in the order of the targets; None makes it regression.

    Raises:
        DataError: a part is empty, or would be without the images that a later part has too; a class index is out of
            range.
    """
    given = {"train": train, "calibration": calibration, "test": test}
    for split, part in given.items():
        if not len(part):
            raise DataError(f"{where}: the {split} part has no images; every part needs at least one")
    calibration = calibration.without(test)
    train = train.without(calibration, test)
    for split, part in (("train", train), ("calibration", calibration)):
        if not len(part):
            raise DataError(f"{where}: every {split} image is also in a later part; the parts need images of their own")
    names = None if classes is None else tuple(classes)
    for split, part in given.items():
        assert part.targets is not None, "only frames that are merely run on may lack targets"
        if names is not None and not 0 <= part.targets.min() <= part.targets.max() < len(names):
            raise DataError(f"{where}: the {split} part has a label outside 0..{len(names) - 1}")
    assert train.targets is not None
    first = train.images[0]
    return DataSet(
        name=name,
        task="regression" if names is None else "classification",
        classes=names,
        outputs=train.targets.shape[1] if names is None else len(names),
        channels=first.shape[2],
        size=(first.shape[0], first.shape[1]),
        train=train,
        calibration=calibration,
        test=test,
        dropped=sum(map(len, given.values())) - len(train) - len(calibration) - len(test),
    )
