"""States of a sweep's cells while it runs. Nothing here imports torch."""

from dataclasses import dataclass, field, replace
from typing import Protocol

from tokenprune.recipe.sweep import Cell
from tokenprune.runs.sweeps import State


@dataclass(frozen=True)
class Moved:
    """A cell's progress. share: of the training, or of the measurement. None: unchanged."""

    state: State
    share: float | None = None
    epoch: int | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Ended:
    """A cell's outcome. seconds: wall clock; cpu_seconds: processor time."""

    state: State
    message: str | None = None
    accuracy: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def after(self, seconds: float, cpu_seconds: float) -> "Ended":
        return replace(self, seconds=seconds, cpu_seconds=cpu_seconds)


@dataclass
class CellRow:
    """A cell as a table shows it. flops: of its training, None where they are not known."""

    cell: Cell
    state: State
    flops: float | None
    message: str | None = None
    job: str | None = None  # of the scheduler, that has the cell
    begun: bool = False  # its training was begun and can be resumed
    share: float = 0.0
    epoch: int = 0
    accuracy: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    began: float = 0.0  # on the monotonic clock
    began_share: float = field(default=0.0, repr=False)

    @property
    def epochs(self) -> int:
        return self.cell.loaded.recipe.train.epochs

    def left(self, now: float) -> float | None:
        """Seconds left of its training at its speed so far; None while that is not known."""
        gone = self.share - self.began_share
        if self.state != "training" or gone <= 0:
            return None
        return (now - self.began) * (1 - self.share) / gone


def orphaned(first: str, why: str | None) -> str:
    """The message of a cell whose pretraining, the run `first`, failed."""
    return f"{first}, the pretraining that this run starts from, failed" + (f": {why}" if why else "")


class Watcher(Protocol):
    """Shows a sweep's progress."""

    def changed(self, row: CellRow) -> None:
        """Called when a cell's state has changed."""

    def tick(self) -> None:
        """Called every TICK seconds."""


class Unwatched:
    def changed(self, row: CellRow) -> None: ...
    def tick(self) -> None: ...
