"""How training shows on stderr: a bar per phase on a terminal, elsewhere a line per epoch."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from toolkit.cli.console import animated, notes, say
from toolkit.models.record import EpochRecord
from toolkit.training import settings


class Lines(settings.Progress):
    """A line per epoch."""

    def note(self, text: str) -> None:
        """Say it."""
        say(text)

    def epoch(self, record: EpochRecord, epochs: int) -> None:
        """Phase, epoch, loss, the last exit's metric, seconds."""
        say(f"{record.phase} {record.epoch}/{epochs}  {figures(record)}  {record.seconds:.1f} s")


class Bars(settings.Progress):
    """A bar per phase, which shows the loss and the last exit's metric of the epoch before."""

    def __init__(self) -> None:
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[figures]}")]
        self.bars = Progress(*columns, TimeRemainingColumn(), console=notes)
        self.task: TaskID | None = None
        self.name = ""

    def note(self, text: str) -> None:
        """Say it."""
        say(text)

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """A new bar."""
        self.bars.start()
        self.name = name
        title = f"{name} {done}/{epochs}"
        self.task = self.bars.add_task(title, total=epochs * steps, completed=done * steps, figures="")

    def step(self) -> None:
        """Move the bar."""
        if self.task is not None:
            self.bars.advance(self.task)

    def epoch(self, record: EpochRecord, epochs: int) -> None:
        """Show the figures."""
        if self.task is not None:
            title = f"{self.name} {record.epoch}/{epochs}"
            self.bars.update(self.task, description=title, figures=figures(record))

    def end(self) -> None:
        """Leave the bars as they are."""
        self.bars.stop()


def figures(record: EpochRecord) -> str:
    """Loss, and the metric of the last exit that trains, on the calibration part."""
    name, last = list(record.exits.items())[-1]
    value = f"{100 * last['accuracy']:.1f} %" if "accuracy" in last else f"error {last['mean_absolute_error']:.3f}"
    return f"loss {record.loss:.4f}, {name} {value}"


def shown() -> settings.Progress:
    """What fits where stderr goes."""
    return Bars() if animated() else Lines()
