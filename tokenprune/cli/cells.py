"""Progress of a sweep on standard error: a live table in a terminal, a line per event elsewhere."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tokenprune.runs.sweeps import State
from tokenprune.sweep.progress import CellRow, Unwatched, Watcher

#: Order of states: running and failed cells are shown before waiting and finished ones.
ORDER: tuple[State, ...] = (
    "training",
    "pruning",
    "failed",
    "interrupted",
    "elsewhere",
    "waiting",
    "finished",
    "submitted",
)


class CellLines(Unwatched):
    """A line when a cell begins, and when it ends."""

    def __init__(self, rows: Sequence[CellRow]) -> None:
        self.rows = rows

    def changed(self, row: CellRow) -> None:
        if row.state == "pruning":
            return
        done = sum(each.state not in ("waiting", "training", "pruning") for each in self.rows)
        parts = [f"[{done}/{len(self.rows)}]", row.state, row.cell.label]
        if row.state == "finished" and row.accuracy is not None:
            parts.append(f" test {row.accuracy:.1%}  {row.seconds:.1f} s")
        elif row.message:
            parts[-1] += f": {row.message}"
        print(" ".join(parts), file=sys.stderr, flush=True)


class Screen(Unwatched):
    """As many cells as fit the terminal, and below them the number in each state."""

    def __init__(self, rows: Sequence[CellRow], live: Live) -> None:
        self.rows, self.live = rows, live
        self.began = time.monotonic()
        self.before = sum(row.state == "finished" for row in rows)

    def changed(self, row: CellRow) -> None:
        self.tick()

    def tick(self) -> None:
        self.live.update(table(self.rows, time.monotonic(), self.live.console.height, self._left()), refresh=True)

    def _left(self) -> float | None:
        """Seconds until the last cell, by the FLOPs of what was trained since it began."""
        under_way = ("training", "pruning", "waiting")
        mine = [row for row in self.rows if row.flops and (row.seconds or row.state in under_way)]
        total = sum(row.flops or 0 for row in mine)
        done = sum(
            (row.flops or 0) * (row.share if row.state == "training" else row.state != "waiting") for row in mine
        )
        if not done:
            return None
        return (time.monotonic() - self.began) * (total - done) / done


def table(rows: Sequence[CellRow], now: float, height: int, left: float | None = None) -> Group:
    """As many cells as fit `height` lines, running ones first; `now` is on the monotonic clock."""
    look = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    look.add_column("cell", overflow="ellipsis", no_wrap=True, ratio=1)
    look.add_column("state", no_wrap=True)
    for name in ("epoch", "acc %", "left"):
        look.add_column(name, justify="right", no_wrap=True)
    shown = sorted(rows, key=lambda row: ORDER.index(row.state))[: max(3, height - 5)]
    for row in shown:
        accuracy = "" if row.accuracy is None else f"{100 * row.accuracy:.2f}"
        epoch = f"{row.epoch}/{row.epochs}" if row.state in ("training", "pruning") else ""
        look.add_row(Text(row.cell.label), row.state, epoch, accuracy, duration(row.left(now)))
    counts = Counter(row.state for row in rows)
    words = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    end = f"; about {duration(left)} left" if left else ""
    return Group(look, Text(f"{len(rows)} cells: {words}{end}", no_wrap=True, overflow="ellipsis"))


def duration(seconds: float | None) -> str:
    """Seconds in a suitable unit: 40 s, 12 min, 3.5 h."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def cells(rows: Sequence[CellRow], quiet: bool) -> Iterator[Watcher]:
    """The watcher that suits standard error."""
    console = Console(stderr=True)
    if quiet or all(row.state != "waiting" for row in rows):
        yield Unwatched()
    elif not console.is_terminal:
        yield CellLines(rows)
    else:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield Screen(rows, live)
