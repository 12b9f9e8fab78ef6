"""Tests in several processes at once, with pytest-xdist: who runs what, in which order, and on which cores.

A file's tests stay together, for they share what is dear to make; so do files that share more than that. Each worker
keeps to cores of its own, and so do the processes that it starts: two thread pools on the same cores wait for each
other most of the time. Without pytest-xdist, or with `-n 0`, nothing here has an effect.
"""

from __future__ import annotations

import collections
import os
from typing import Any

import pytest

TOGETHER = {
    "tests/toolkit/report/test_report_comparison.py": "machine code",
    "tests/toolkit/simulate/": "machine code",
    "tests/benchmarks/test_scheduling.py": "machine code",
    "tests/benchmarks/cost/test_cost_cold.py": "prepared",
    "tests/benchmarks/cost/test_cost_peers.py": "prepared",
}
"""By the beginning of a path, what its tests share with other files': numba's half a minute, a model to start with."""


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of several that run the tests."""
    return hasattr(config, "workerinput")


def keep_to_own_cores(config: pytest.Config) -> None:
    """Take this worker's share of the cores, where the system lets a process choose."""
    if not is_worker(config) or not hasattr(os, "sched_setaffinity"):
        return
    number, of = int(config.workerinput["workerid"][2:]), config.workerinput["workercount"]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number % len(cores) :: of] or cores)


def group(nodeid: str) -> str:
    """What a test belongs to, by its name: all of that run in one worker."""
    file = nodeid.partition("::")[0]
    return next((name for path, name in TOGETHER.items() if file.startswith(path)), file)


def longest_first(items: list[pytest.Item], first: Any) -> None:
    """Put what takes longest first, so that no worker is left with it when the others are done.

    Args:
        items: the tests, which come to lie in another order.
        first: tells of a test whether it comes before all others.
    """
    slow = collections.Counter(group(i.nodeid) for i in items if i.get_closest_marker("slow") is not None)
    head = {group(i.nodeid) for i in items if first(i)}
    items.sort(key=lambda i: (group(i.nodeid) not in head, -slow[group(i.nodeid)], group(i.nodeid)))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """What hands groups to workers, in the order in which they lie."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)
