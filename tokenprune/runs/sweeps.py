"""The record of a sweep, in `sweeps/` below the folder of runs: which runs belong to it, and their last states."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import filelock

from tokenprune.errors import TokenpruneError
from tokenprune.runs import atomic
from tokenprune.runs.records import SCHEMA, Record
from tokenprune.runs.results import read_record

#: `submitted` is a cell that waits in a scheduler's queue; `elsewhere`, one that another process is working on.
State = Literal["waiting", "submitted", "training", "pruning", "finished", "failed", "interrupted", "elsewhere"]


class Word(NamedTuple):
    """The last recorded state of a cell. message: why it failed, or which process has it. job: the scheduler's job."""

    state: State
    message: str | None = None
    job: str | None = None


class SweepCell(Record):
    run: str  # name of its run folder
    what: dict[str, Any]  # the grid's keys with this cell's values
    state: State = "waiting"  # when its state was last recorded
    message: str | None = None
    job: str | None = None


class SweepRecord(Record):
    """NAME.json"""

    schema_version: int = SCHEMA
    name: str
    identity: str  # hash of what the cells run and measure, however the file words it
    sweep: str  # the file as given
    cells: tuple[SweepCell, ...]
    former: tuple[str, ...] = ()  # runs of cells that belonged to it before it was edited
    updated: str  # ISO 8601, UTC


@dataclass(frozen=True)
class Edit:
    """How a sweep differs from when it was last run, by names of runs."""

    new: tuple[str, ...]
    gone: tuple[str, ...]


class SweepFile:
    """The file of a sweep's record. Making the object touches nothing on disk."""

    def __init__(self, runs_dir: Path, name: str) -> None:
        self.folder = runs_dir / "sweeps"
        self.path = self.folder / f"{name}.json"
        self.name = name

    def read(self) -> SweepRecord | None:
        """None before the first run. Raises TokenpruneError if it is damaged or of another schema."""
        if not self.path.is_file():
            return None
        return read_record(self.path, SweepRecord, "move it away: the runs themselves are not touched by that")

    def begin(self, identity: str, text: str, cells: Sequence[SweepCell]) -> Edit | None:
        """Write the sweep as it is now; returns how it differs from the last record, None if its cells are the same."""
        atomic.make_folder(self.folder)
        with self._locked():
            before = self.read()
            edit: Edit | None = None
            former: tuple[str, ...] = ()
            if before is not None:
                then, now = {cell.run: None for cell in before.cells}, {cell.run: None for cell in cells}
                former = tuple(run for run in dict.fromkeys((*before.former, *then)) if run not in now)
                if before.identity != identity:
                    edit = Edit(tuple(run for run in now if run not in then), tuple(r for r in then if r not in now))
            self._write(
                SweepRecord(
                    name=self.name,
                    identity=identity,
                    sweep=text,
                    cells=tuple(cells),
                    former=former,
                    updated="",
                )
            )
        return edit

    def note(self, words: Mapping[str, Word], only: State | None = None) -> None:
        """Record states of cells, by run; other cells are unchanged, also when other processes write at the same time.

        only: change only cells that are still in this state.
        """
        with self._locked():
            record = self.read()
            if record is None:
                return
            cells = tuple(
                cell.model_copy(update=words[cell.run]._asdict())
                if cell.run in words and only in (None, cell.state)
                else cell
                for cell in record.cells
            )
            self._write(record.model_copy(update={"cells": cells}))

    def _write(self, record: SweepRecord) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        atomic.write_json(self.path, record.model_copy(update={"updated": now}).model_dump(mode="json"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = filelock.FileLock(self.folder / f".{self.name}.lock")
        try:
            lock.acquire(timeout=60)
        except (filelock.Timeout, OSError) as error:
            raise TokenpruneError(f"{self.path}: could not be saved: {error}") from error
        try:
            yield
        finally:
            lock.release()
