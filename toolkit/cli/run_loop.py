"""The loop of `offramp run`: frames in, answers told in all the ways that were asked for, and how it ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jetson.errors import OfframpError
from jetson.files import new_file
from jetson.frames.frame import Frame
from jetson.listen import listening, on_port
from jetson.metrics import Metrics
from jetson.profiling.profile import LatencyProfile
from jetson.replay import Answered, answer_each
from jetson.runtime import Runtime
from jetson.scheduling.trace import FrameBudget, save_trace
from jetson.serve import Service
from jetson.tally import Tally
from toolkit.cli.console import animated, out, print_json, progress_bars, redirects_stdout, say
from toolkit.cli.live import View, live_view
from toolkit.cli.run_source import Source
from toolkit.cli.run_words import answer_words, show_summary
from toolkit.cli.stop import Terminated

FEW = 50
"""Images whose answers are printed unasked."""


@dataclass(frozen=True)
class Told:
    """What the user wants to be told, and when it is enough."""

    data: str
    frames: int | None
    """To answer, where that is known."""
    seconds: float | None
    live: bool | None
    answers: bool | None
    top: int
    as_json: bool
    record: Path | None
    record_trace: Path | None
    metrics: tuple[str, int] | None
    """Host and port."""


def answer_all(
    runtime: Runtime,
    source: Source,
    frames: Iterator[tuple[Frame, FrameBudget]],
    profile: LatencyProfile,
    level: float,
    hidden: bool,
    told: Told,
) -> None:
    """Answer frames until there are no more, it is enough, or somebody ends it; then sum up.

    What was answered is summed up and recorded however it ends. Of what comes by itself and has no end, Ctrl-C and
    SIGTERM are the end; of anything else they are an interruption.

    Raises:
        OfframpError: what ended it, after the summary.
        KeyboardInterrupt, Terminated: the same.
    """
    manifest, stream, tally = runtime.bundle.manifest, source.stream, Tally()
    words = told.answers
    if words is None:
        words = source.pictures and not source.judged and (source.count or told.frames or FEW + 1) <= FEW
    metrics = Metrics([e.name for e in manifest.exits])
    came: list[FrameBudget] = []
    ended: BaseException | None = None
    with contextlib.ExitStack() as stack:
        record: Callable[[bytes | str], None] | None = None
        try:
            with _metrics(metrics, told.metrics), _shown(source, told, View(manifest, told.data, tally)) as show:
                for found in _until(answer_each(runtime, frames, profile, level, hidden), told):
                    tally.add(found.record)
                    tally.unreadable = stream.unreadable
                    metrics.count(found.answer, found.frame.dropped)
                    if told.record is not None and record is None:
                        record = stack.enter_context(new_file(told.record))
                    if record is not None:
                        record(_json(found.record))
                    if told.record_trace is not None:
                        came.append(replace(found.line, t_ms=max(0.0, round(found.record["t_ms"], 3))))
                    if told.as_json:
                        print_json(found.record)
                    elif words:
                        out.print(answer_words(found, manifest, told.top), markup=False)
                    show(found)
        except (OfframpError, KeyboardInterrupt, Terminated) as error:
            ended = error
        if not tally.frames and ended is not None and not _is_end(ended, stream.live):
            raise ended
        tally.unreadable = stream.unreadable
        summary = tally.summary()
        if told.record_trace is not None and came:
            save_trace(told.record_trace, came)
        if record is not None:
            record(_json({"summary": summary}))
    _sum_up(runtime, source, profile, told, summary, alone=words and tally.frames == 1)
    if ended is not None and not _is_end(ended, stream.live):
        raise ended


def _until(answered: Iterator[Answered], told: Told) -> Iterator[Answered]:
    """Answers until it is enough."""
    first_ms: float | None = None
    for number, found in enumerate(answered, start=1):
        yield found
        t_ms = found.record["t_ms"]
        first_ms = t_ms if first_ms is None else first_ms
        if number == told.frames:
            return
        if told.seconds is not None and t_ms + found.answer.elapsed_ms - first_ms >= told.seconds * 1e3:
            return


def _is_end(error: BaseException, live: bool) -> bool:
    return live and isinstance(error, KeyboardInterrupt | Terminated)


@contextlib.contextmanager
def _shown(source: Source, told: Told, view: View) -> Iterator[Callable[[Answered], None]]:
    """How it goes, on stderr: the live view, or a progress bar."""
    both = told.as_json and redirects_stdout()  # lines of data for a person's eyes: leave them alone
    unasked = (source.stream.comes or not source.pictures) and not both
    # Without a terminal a view is a line now and then: for what has an end nobody needs that unasked.
    unasked = unasked and (animated() or source.stream.live)
    if unasked if told.live is None else told.live:
        with live_view(view, source.stream) as show:
            yield show
        return
    frames = told.frames or source.count
    if frames is None or frames == 1:
        yield lambda _found: None
        return
    with progress_bars() as begin:
        done = begin("answering", frames)
        yield lambda _found: done()


def _metrics(metrics: Metrics, where: tuple[str, int] | None) -> contextlib.AbstractContextManager[None]:
    """Metrics can be read on this port, if there is one."""
    if where is None:
        return contextlib.nullcontext()
    host, port = where
    server = on_port(Service(None, metrics), host, port)
    say(f"metrics on http://{host}:{server.port}/metrics")
    return listening(server)


def _sum_up(
    runtime: Runtime,
    source: Source,
    profile: LatencyProfile,
    told: Told,
    summary: dict[str, Any],
    alone: bool,
) -> None:
    stream = source.stream
    for remark in stream.remarks:
        say(remark)
    if stream.unreadable > len(stream.remarks):
        say(f"{stream.unreadable:,} images could not be read; the first {len(stream.remarks)} are named above")
    if told.as_json:
        print_json({"summary": summary})
    elif not summary["frames"]:
        say("no frame was answered")
    elif not alone:
        show_summary(summary, runtime.bundle.manifest, profile)
    for notice in (stream.notice, runtime.notice):
        if notice is not None:
            say(notice)


def _json(line: dict[str, Any]) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
