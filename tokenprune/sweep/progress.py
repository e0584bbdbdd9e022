"""States of a sweep's cells while it runs. Nothing here imports torch."""

from dataclasses import dataclass

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


@dataclass
class CellRow:
    """A cell as a table shows it. flops: of its training, None where they are not known."""

    cell: Cell
    state: State
    flops: float | None = None
    message: str | None = None
    job: str | None = None  # of the scheduler, that has the cell
    begun: bool = False  # its training was begun and can be resumed
    share: float = 0.0
    epoch: int = 0
    accuracy: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def orphaned(first: str, why: str | None) -> str:
    """The message of a cell whose pretraining, the run `first`, failed."""
    return f"{first}, the pretraining that this run starts from, failed" + (f": {why}" if why else "")


class Watcher:
    """Shows a sweep's progress; this one shows nothing. A tick comes several times a second."""

    def changed(self, row: CellRow) -> None: ...
    def tick(self) -> None: ...
