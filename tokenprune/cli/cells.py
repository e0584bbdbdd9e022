"""Progress of a sweep on standard error: bars in a terminal, a line per event everywhere."""

import contextlib
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tokenprune.sweep.progress import CellRow, Watcher

_BUSY = ("training", "pruning")


class CellLines(Watcher):
    """A line when a cell begins, and when it ends."""

    def __init__(self, rows: Sequence[CellRow]) -> None:
        self.rows = rows

    def changed(self, row: CellRow) -> None:
        if row.state == "pruning":
            return
        done = sum(each.state not in ("waiting", *_BUSY) for each in self.rows)
        parts = [f"[{done}/{len(self.rows)}]", row.state, row.cell.label]
        if row.state == "finished" and row.accuracy is not None:
            parts.append(f" test {row.accuracy:.1%}  {row.seconds:.1f} s")
        elif row.message:
            parts[-1] += f": {row.message}"
        print(" ".join(parts), file=sys.stderr, flush=True)


class Bars(CellLines):
    """A line when a cell ends; below these a bar for each that runs, and one for all with the time left, by FLOPs."""

    def __init__(self, rows: Sequence[CellRow], bars: Progress) -> None:
        super().__init__(rows)
        self.bars = bars
        self.mine = [row for row in rows if row.state == "waiting"]
        self.all = bars.add_task(f"{len(rows)} cells", total=sum(row.flops or 1 for row in self.mine))
        self.running: dict[str, TaskID] = {}

    def changed(self, row: CellRow) -> None:
        if row.state not in _BUSY:
            super().changed(row)

    def tick(self) -> None:
        done = 0.0
        for row in self.mine:
            busy, run = row.state in _BUSY, row.cell.run
            if busy and run not in self.running:
                self.running[run] = self.bars.add_task("", total=1.0)
            elif not busy and run in self.running:
                self.bars.remove_task(self.running.pop(run))
            if busy:
                what = f"{row.state} {row.cell.label}"
                self.bars.update(self.running[run], completed=row.share, description=what)
            if row.state != "waiting":
                done += (row.flops or 1) * (row.share if row.state == "training" else 1)
        self.bars.update(self.all, completed=done)


@contextlib.contextmanager
def cells(rows: Sequence[CellRow], quiet: bool) -> Iterator[Watcher]:
    """The watcher that suits standard error."""
    console = Console(stderr=True)
    if quiet or all(row.state != "waiting" for row in rows):
        yield Watcher()
    elif not console.is_terminal:
        yield CellLines(rows)
    else:
        columns = (BarColumn(16), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=console, transient=True) as bars:
            yield Bars(rows, bars)
