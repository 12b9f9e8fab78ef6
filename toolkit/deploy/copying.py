"""Files go to a board: those that are not there, from where the last connection stopped."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.deploy.cargo import Item
from toolkit.deploy.link import Link, prefix_sha256
from toolkit.deploy.site import View

MB = 1e6


def look(link: Link, items: Sequence[Item]) -> list[tuple[Item, int]]:
    """What is not on the board, each content once, and how many of its first bytes are there already."""
    once = list({i.sha256: i for i in items}.values())
    found = []
    for item, there in zip(once, link.ask("look", files=[i.sha256 for i in once]), strict=True):
        if there["whole"]:
            continue
        size = there["bytes"]
        begun = 0 < size <= item.size_bytes and prefix_sha256(item.path, size) == there["sha256"]
        found.append((item, size if begun else 0))
    return found


def left_bytes(lacking: Sequence[tuple[Item, int]]) -> int:
    """What is still to be copied."""
    return sum(item.size_bytes - offset for item, offset in lacking)


def copy(link: Link, items: Sequence[Item], title: str, view: View) -> int:
    """Copy what the board lacks.

    Returns:
        Bytes that were copied.

    Raises:
        Refused: the board's disk is full, or a file arrived damaged.
        Lost: the connection ended; what has arrived stays.
    """
    lacking = look(link, items)
    total = left_bytes(lacking)
    if not lacking:
        return 0
    ahead = sum(offset for _, offset in lacking)
    more = f", {ahead / MB:.1f} MB of them are there" if ahead else ""
    view.step(f"copying {title}: {len(lacking)} files, {(total + ahead) / MB:.1f} MB{more}")
    done = 0

    def arrived(count: int) -> None:
        nonlocal done
        done += count
        view.share((ahead + done) / max(1, ahead + total), f"{(ahead + done) / MB:.1f} / {(ahead + total) / MB:.1f} MB")

    for item, offset in lacking:
        link.put(item.path, item.sha256, offset, arrived)
    return total
