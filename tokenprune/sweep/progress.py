"""What is said of cells while a sweep runs. Nothing here imports torch."""

from dataclasses import dataclass, field, replace
from typing import Protocol

from tokenprune.recipe.sweep import Cell
from tokenprune.runs.sweeps import State


@dataclass(frozen=True)
class Moved:
    """How far a cell is. share: of the training, or of the measurement. None: not known anew."""

    state: State
    share: float | None = None
    epoch: int | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Ended:
    """What became of a cell. seconds: of the wall clock; cpu_seconds: of the processor."""

    state: State
    message: str | None = None
    accuracy: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def after(self, seconds: float, cpu_seconds: float) -> "Ended":
        return replace(self, seconds=seconds, cpu_seconds=cpu_seconds)


@dataclass
class Row:
    """A cell as a table shows it. flops: of its training, None where they are not known."""

    cell: Cell
    state: State
    flops: float | None
    message: str | None = None
    job: str | None = None  # of the scheduler, whose the cell is
    begun: bool = False  # its training was, and can go on
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
        """Seconds that are left of its training, if it goes on as it has; None while that is not known."""
        gone = self.share - self.began_share
        if self.state != "training" or gone <= 0:
            return None
        return (now - self.began) * (1 - self.share) / gone


def orphaned(first: str, why: str | None) -> str:
    """What is said of a cell whose pretraining, the run `first`, failed."""
    return f"{first}, the pretraining that this run starts from, failed" + (f": {why}" if why else "")


class Watcher(Protocol):
    """Who is shown how it goes."""

    def changed(self, row: Row) -> None:
        """A cell's state is another one."""

    def tick(self) -> None:
        """A moment has passed."""


class Unwatched:
    def changed(self, row: Row) -> None: ...
    def tick(self) -> None: ...
