"""What a board tells about itself, and what follows from it for wheels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

OLDEST_GLIBC = 5
"""Wheels name the oldest glibc 2.N that they run on; none names one before 2.5."""
OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
STANDS_FOR = {"onnxruntime": ("onnxruntime-gpu",)}
"""Packages that bring what another one does, under another name."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A board and its Python."""

    folder: str
    python: str
    free_bytes: int
    glibc: str | None
    cuda: int | None
    pip: bool
    distributions: dict[str, tuple[str, list[str]]]
    markers: dict[str, str]

    @property
    def words(self) -> str:
        """What wheels have to fit, for people."""
        libc = f"glibc {self.glibc}" if self.glibc else "no glibc"
        return f"Python {self.markers['python_version']}, {self.machine}, {libc}"

    @property
    def machine(self) -> str:
        """The processor, e.g. `aarch64`."""
        return self.markers["platform_machine"]

    @property
    def version(self) -> tuple[int, int]:
        """Of its Python."""
        major, minor = self.markers["python_version"].split(".")
        return int(major), int(minor)

    def platforms(self) -> Iterator[str]:
        """What wheels for it may be named, the newest first."""
        if self.glibc is not None:
            for minor in range(int(self.glibc.split(".")[1]), OLDEST_GLIBC - 1, -1):
                yield f"manylinux_2_{minor}_{self.machine}"
                if minor in OLD_NAMES:
                    yield f"{OLD_NAMES[minor]}_{self.machine}"
        yield f"linux_{self.machine}"

    def tags(self) -> dict[Tag, int]:
        """The tags of wheels that run there, by rank: 0 fits best."""
        version, platforms = self.version, list(self.platforms())
        digits = "".join(map(str, version))
        found = [*cpython_tags(version, platforms=platforms, abis=[f"cp{digits}"])]
        found += compatible_tags(version, interpreter=f"cp{digits}", platforms=platforms)
        ranks: dict[Tag, int] = {}
        for rank, tag in enumerate(found):
            ranks.setdefault(tag, rank)
        return ranks

    def applies(self, requirement: Requirement, extra: str = "") -> bool:
        """Whether its marker holds there."""
        environment: Any = {**self.markers, "extra": extra}
        return requirement.marker is None or requirement.marker.evaluate(environment)

    def installed(self, name: NormalizedName) -> Version | None:
        """The version of a package that its Python has, for itself or from JetPack."""
        for other, (version, _) in self.distributions.items():
            if canonicalize_name(other) in (name, *STANDS_FOR.get(name, ())):
                try:
                    return Version(version)
                except InvalidVersion:
                    return None
        return None
