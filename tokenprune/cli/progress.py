"""Progress on standard error: a bar in a terminal, plain lines elsewhere, or nothing."""

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tokenprune.errors import WARNING
from tokenprune.runs import Epoch
from tokenprune.training import Reporter


class Quiet(Reporter):
    """Prints warnings only."""

    def count(self, done: int, total: int, what: str = "measured") -> None: ...
    def message(self, text: str) -> None:
        if text.startswith(WARNING):
            print(text, file=sys.stderr, flush=True)


class EpochLines(Quiet):
    """A line per epoch, for logs."""

    _tenth = -1

    def epoch(self, record: Epoch) -> None:
        print(_line(record), file=sys.stderr, flush=True)

    def message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def count(self, done: int, total: int, what: str = "measured") -> None:
        tenth = 10 * done // total
        if total <= 40 or tenth != self._tenth:  # a log needs no line per cell of a grid
            print(f"{done} of {total} {what}", file=sys.stderr, flush=True)
        self._tenth = tenth


class Bar(Quiet):
    """One bar with loss, accuracy, images/s and time left; a line above it per epoch."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task: TaskID | None = None

    def start(self, steps: int, done: int) -> None:
        self.task = self.bar.add_task("", total=steps, completed=done, text="")

    def step(self, done: int, loss: float, accuracy: float | None, images_per_second: float) -> None:
        share = "" if accuracy is None else f"  accuracy {accuracy:.3f}"
        self._to(done, f"loss {loss:.3f}{share}  {images_per_second:.0f} images/s")

    def epoch(self, record: Epoch) -> None:
        self.bar.console.print(_line(record), highlight=False)

    def message(self, text: str) -> None:
        self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def count(self, done: int, total: int, what: str = "measured") -> None:
        if self.task is None:
            self.start(total, done)
        self._to(done, what)

    def _to(self, done: int, text: str) -> None:
        if self.task is not None:
            self.bar.update(self.task, completed=done, text=text)


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Quiet]:
    """The reporter that suits standard error."""
    console = Console(stderr=True)
    if quiet:
        yield Quiet()
    elif not console.is_terminal:
        yield EpochLines()
    else:
        columns = (BarColumn(16), MofNCompleteColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            yield Bar(bar)


def _line(record: Epoch) -> str:
    parts = [f"epoch {record.epoch:>3}"]
    for name, value, form in (
        ("loss", record.train_loss, ".3f"),
        ("test", record.test_accuracy, ".1%"),
        ("images/s", record.images_per_second, ".0f"),
        ("s", record.seconds, ".1f"),
    ):
        if value is not None:
            parts.append(f"{name} {value:{form}}" if name in ("loss", "test") else f"{value:{form}} {name}")
    return "  ".join(parts)
