"""The live view of `offramp run`: which exit answers, how the time goes, and what was dropped.

It is drawn by the thread that answers, between two frames and at most ten times a second: a thread of its own would
hold the interpreter's lock when a unit ends. While the next frame already waits, it is drawn once a second.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from jetson.frames.stream import Stream
from jetson.manifest import Manifest
from jetson.replay import Answered
from jetson.scheduling.budget import clock
from jetson.tally import Tally
from toolkit.cli.console import animated, notes, redirects_stdout, say
from toolkit.cli.run_words import percent, values

EVERY_S = 0.1
BUSY_EVERY_S = 1.0
"""While frames wait."""
LINE_EVERY_S = 5.0
"""Where there is no terminal."""
WINDOW_S = 2.0
"""That rates are taken over."""
SILENT_S = 2.0
"""Without a frame, from which on that is said."""
LATENCIES = 60
BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*#@"
WIDEST = 100


class View:
    """What there is to see of a run."""

    def __init__(self, manifest: Manifest, what: str, tally: Tally) -> None:
        """Begin before the first frame.

        Args:
            manifest: of the bundle.
            what: the source's name.
            tally: of the run, kept by somebody else.
        """
        self.manifest, self.what, self.tally = manifest, what, tally
        self.names = [e.name for e in manifest.exits]
        self.last: Answered | None = None
        self._began = clock()
        self._moments: deque[tuple[float, int]] = deque()
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._recent: Counter[str] = Counter()

    def add(self, found: Answered) -> None:
        """A frame was answered."""
        now = clock()
        self.last = found
        self._moments.append((now, found.frame.dropped))
        while self._moments[0][0] < now - WINDOW_S:
            self._moments.popleft()
        self._latencies.append(found.answer.elapsed_ms)

    @property
    def rates(self) -> tuple[float, float]:
        """Frames that came a second, and those that were answered."""
        if len(self._moments) < 2:
            return 0.0, 0.0
        seconds = self._moments[-1][0] - self._moments[0][0]
        answered = len(self._moments) - 1
        came = answered + sum(dropped for _, dropped in list(self._moments)[1:])
        return (came / seconds, answered / seconds) if seconds > 0 else (0.0, 0.0)

    def line(self) -> str:
        """All of it in one plain line."""
        came, answered = self.rates
        tally = self.tally
        exits = ", ".join(f"{n} {k}" for n, k in tally.exits.items())
        parts = [
            f"{clock() - self._began:.0f} s: {tally.frames:,} answered ({answered:.1f}/s of {came:.1f}/s)",
            f"{tally.dropped:,} dropped, {tally.late:,} late",
            *([f"acc@D {tally.acc_at_d:.1%}"] if tally.acc_at_d is not None else []),
            *([f"slowdown {self.last.answer.slowdown:.2f}"] if self.last else []),
            f"exits {exits or 'none yet'}",
        ]
        return "; ".join(parts)

    def render(self, width: int, height: int, ascii_only: bool = False) -> Text:
        """A picture of so many columns and rows."""
        width = max(20, min(width, WIDEST))
        rows = [self._title(width)]
        if self.last is None:
            rows.append(Text("waiting for the first frame ..."))
        else:
            rows += self._answer(self.last, width, ascii_only)
            rows += self._exits(self.last, width, ascii_only)
        fitting = rows[: max(1, height - 1)]
        for row in fitting:
            row.truncate(width, overflow="ellipsis")
        return Text("\n").join(fitting)

    def _title(self, width: int) -> Text:
        seconds = int(clock() - self._began)
        right = f"{seconds // 60}:{seconds % 60:02d}  Ctrl-C ends"
        what = self.what if len(self.what) <= width - len(right) - 2 else "..." + self.what[-(width - len(right) - 5) :]
        return Text.assemble((what, "bold"), " " * max(2, width - len(what) - len(right)), (right, "dim"))

    def _answer(self, found: Answered, width: int, ascii_only: bool) -> list[Text]:
        answer, tally = found.answer, self.tally
        if answer.value is None:
            said = Text.assemble((str(answer.label), "bold"), f"  {percent(answer.confidence)} sure")
        else:
            said = Text(values(answer.value, self.manifest.exits[answer.exit - 1].interval), "bold")
        budget, late = answer.budget_ms, answer.met_deadline is False
        peak = max(self._latencies)
        scale = budget if budget else peak
        took = f"{answer.elapsed_ms:.1f} of {budget:.1f} ms" if budget is not None else f"{answer.elapsed_ms:.1f} ms"
        room = max(5, min(40, width - 10 - len(took) - 8))
        bar = _bar(answer.elapsed_ms / scale if scale else 1.0, room, ascii_only)
        ordered = sorted(self._latencies)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        figures = f"  p50 {ordered[len(ordered) // 2]:.1f}  p95 {p95:.1f} ms"
        shown = list(self._latencies)[-max(5, min(LATENCIES, width - 10 - len(figures))) :]
        spark = _sparkline(shown, max(peak, budget or 0.0), ascii_only)
        came, answered = self.rates
        silent = clock() - self._moments[-1][0]
        lost = Text.assemble(
            (f"none for {silent:.0f} s; ", "yellow")
            if silent >= SILENT_S
            else f"{came:.1f} came, {answered:.1f} answered/s; ",
            (f"{tally.dropped:,} dropped", "yellow" if tally.dropped else ""),
            ", ",
            (f"{tally.late:,} late", "red" if tally.late else ""),
        )
        rows = [
            ("answer", said),
            (
                "latency",
                Text.assemble((bar, "red" if late else "green"), f"  {took}", ("  late", "red") if late else ""),
            ),
            ("", Text.assemble((spark, "cyan"), (figures, "dim"))),
            ("slowdown", Text(f"{answer.slowdown:.2f}", "yellow" if answer.slowdown > 1.2 else "")),
            ("frames", lost),
        ]
        if tally.acc_at_d is not None:
            rows.append(("acc@D", Text(f"{tally.acc_at_d:.1%} answered in time and right")))
        return [Text.assemble((f"{name:<10}", "dim"), text) for name, text in rows]

    def _exits(self, found: Answered, width: int, ascii_only: bool) -> list[Text]:
        longest = min(max(map(len, self.names)), 20)
        rows = []
        for number, name in enumerate(self.names):
            count = self.tally.exits[name]
            share = count / max(1, self.tally.frames)
            now = number == found.answer.exit - 1
            figures = f"{count:>9,} {share:>6.1%}"
            room = max(3, min(40, width - 13 - longest - len(figures)))
            mark = (">" if ascii_only else "▸") if now else " "
            label = "exits" if number == 0 else ""
            row = Text.assemble(
                (f"{label:<8}", "dim"), f"{mark} ", (f"{name:<{longest}.{longest}}", "bold" if now else "")
            )
            rows.append(row + Text.assemble(" ", (_bar(share, room, ascii_only), "blue"), f" {figures}"))
        return rows


def _bar(share: float, room: int, ascii_only: bool) -> str:
    full, empty = ("#", "-") if ascii_only else ("█", "░")
    filled = max(0, min(room, round(share * room)))
    return full * filled + empty * (room - filled)


def _sparkline(values_ms: list[float], top: float, ascii_only: bool) -> str:
    marks = ASCII_BARS if ascii_only else BARS
    return "".join(marks[min(len(marks) - 1, int(v / top * len(marks)))] if top > 0 else marks[0] for v in values_ms)


@contextlib.contextmanager
def live_view(view: View, source: Stream, console: Console = notes) -> Iterator[Callable[[Answered], None]]:
    """A view on stderr while the block runs: call what this gives with every answer.

    On a terminal it is drawn anew; elsewhere it is a line every five seconds.
    """
    if not (animated() if console is notes else console.is_terminal):
        drawn = clock()

        def tell(found: Answered) -> None:
            nonlocal drawn
            view.add(found)
            if clock() - drawn >= LINE_EVERY_S:
                say(view.line())
                drawn = clock()

        yield tell
        return

    def picture() -> Text:
        return view.render(console.width, console.height, console.options.ascii_only)

    options = {"auto_refresh": False, "transient": True, "redirect_stdout": redirects_stdout()}
    with Live(picture(), console=console, vertical_overflow="crop", **options) as live:  # type: ignore[arg-type]
        last = 0.0

        def draw(found: Answered) -> None:
            nonlocal last
            view.add(found)
            if clock() - last >= (BUSY_EVERY_S if source.comes and source.waiting else EVERY_S):
                live.update(picture(), refresh=True)
                last = clock()

        source.idle = lambda: live.update(picture(), refresh=True)
        try:
            yield draw
        finally:
            source.idle = None
