"""Work spread over processes of one thread each: two such train more in an hour than one with two threads."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread_out(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    set_up: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[Result]:
    """The results of `work`, in the order of the tasks.

    Args:
        work: a function of a module, as processes are spawned.
        tasks: what it is called with.
        jobs: processes; with one it is done in this one, with the threads it has.
        set_up: called once in each process.
        arguments: of `set_up`.
    """
    if not tasks:
        return
    if jobs < 2:
        if set_up is not None:
            set_up(*arguments)
        yield from map(work, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(tasks)), _begin, (set_up, arguments)) as pool:
        yield from pool.imap(work, tasks)


def _begin(set_up: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends its workers
    torch.set_num_threads(1)
    if set_up is not None:
        set_up(*arguments)
