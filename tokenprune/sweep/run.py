"""A sweep from its file to its cells' run folders. Nothing here imports torch: a finished sweep is checked fast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenprune.errors import TokenpruneError
from tokenprune.recipe.sweep import Cell, LoadedSweep
from tokenprune.runs.sweeps import Edit, State, SweepCell, SweepFile, Word
from tokenprune.sweep import cluster, launch
from tokenprune.sweep.plan import standing, training_flops
from tokenprune.sweep.progress import CellRow, Watcher


@dataclass(frozen=True)
class Begun:
    """A sweep whose record is written and whose waiting cells can be run. edit: since its last run, None if none."""

    sweep: LoadedSweep
    rows: tuple[CellRow, ...]
    file: SweepFile
    edit: Edit | None
    runs_dir: Path
    data_dir: Path | None

    @property
    def waiting(self) -> list[CellRow]:
        return [row for row in self.rows if row.state == "waiting"]


def survey(
    sweep: LoadedSweep, runs_dir: Path, data_dir: Path | None = None, *, all_flops: bool = False
) -> list[CellRow]:
    """Every cell with its state, and the estimated FLOPs of its training if it waits (or of all). Writes nothing.

    A cell given to a job of this sweep is not waiting as long as Slurm knows the job. A pretraining that is missing is
    left out when all cells that start from it are finished.
    """
    given = {cell.run: cell for cell in _recorded(sweep, runs_dir) if cell.job and cell.state in UNENDED}
    jobs = cluster.jobs(sweep.name) if given else None
    rows = []
    for cell in sweep.cells:
        row = standing(cell, runs_dir)
        if all_flops or row.state == "waiting":
            row.flops = training_flops(cell.loaded.recipe, data_dir)
        if cell.run in given and row.state in ("waiting", "elsewhere"):
            _ask(row, given[cell.run], jobs)
        rows.append(row)
    needed = {row.cell.needs for row in rows if row.state != "finished"}
    started = {row.cell.needs for row in rows} - needed
    return [row for row in rows if row.state == "finished" or row.cell.run not in started]


#: States in which a job may leave a cell that it still has to run.
UNENDED: tuple[State, ...] = ("submitted", "training", "pruning", "interrupted")


def _ask(row: CellRow, last: SweepCell, jobs: Mapping[str, bool] | None) -> None:
    """A cell's state by the scheduler's `jobs` (None: it cannot be asked), one of which it was given to."""
    job = str(last.job)
    if jobs is not None and job in jobs:
        working = jobs[job] and last.state in ("training", "pruning")
        row.state, row.message = last.state if working else "submitted", f"job {job}"
        row.job, row.begun = job, False
    elif row.state == "waiting":
        row.message = f"job {job} " + (
            "is in an unknown state: squeue fails here" if jobs is None else "left the queue"
        )


def overview(
    sweep: LoadedSweep, runs_dir: Path, data_dir: Path | None = None, only: frozenset[str] | None = None
) -> list[CellRow]:
    """As `survey`, with all FLOPs, and the last recorded state of cells that wait. Writes nothing."""
    rows = survey(sweep, runs_dir, data_dir, all_flops=True)
    rows = [row for row in rows if only is None or row.cell.run in only]
    heard = {cell.run: cell for cell in _recorded(sweep, runs_dir)}
    for row in rows:
        last = heard.get(row.cell.run)
        if row.state == "waiting" and last and last.state in ("failed", "interrupted"):
            row.state, row.message = last.state, last.message
    return rows


def _recorded(sweep: LoadedSweep, runs_dir: Path) -> tuple[SweepCell, ...]:
    record = SweepFile(runs_dir, sweep.name).read()
    return record.cells if record else ()


def begin(
    sweep: LoadedSweep,
    *,
    runs_dir: Path,
    data_dir: Path | None = None,
    resume: bool = False,
    only: frozenset[str] | None = None,
) -> Begun:
    """Write the sweep's record, and return the cells to run: of the runs in `only`, or of all.

    Raises TokenpruneError if a cell was begun and `resume` is not given, or if the record cannot be read or saved.
    """
    rows = survey(sweep, runs_dir, data_dir)
    file = SweepFile(runs_dir, sweep.name)
    mine = [row for row in rows if only is None or row.cell.run in only]
    begun = [row for row in mine if row.begun]
    if begun and not resume:
        some = ", ".join(row.cell.run for row in begun[:3]) + (", ..." if len(begun) > 3 else "")
        raise TokenpruneError(
            f"{runs_dir}: {len(begun)} of {len(mine)} cells were begun and not finished ({some}): "
            "--resume continues them"
        )
    cells = [
        SweepCell(run=row.cell.run, what=dict(row.cell.what), state=row.state, message=row.message, job=row.job)
        for row in rows
    ]
    edit = file.begin(sweep.identity, sweep.text, cells)
    return Begun(sweep, tuple(mine), file, edit, runs_dir, data_dir)


def run_here(begun: Begun, *, workers: int | None = None, per_gpu: int = 1, watcher: Watcher | None = None) -> None:
    """Run the waiting cells on this machine's cores or GPUs, updating the rows; see `launch.run_local`."""
    if not begun.waiting:
        return
    for row in begun.waiting:
        row.cell = _with_threads(row.cell)
    first = begun.waiting[0].cell.loaded.recipe.run
    launch.run_local(
        begun.rows,
        launch.worker_pool(workers, first.threads or 1, first.device, per_gpu),
        runs_dir=begun.runs_dir,
        data_dir=begun.data_dir,
        file=begun.file,
        watcher=watcher or Watcher(),
    )
    for row in begun.rows:
        if row.state == "elsewhere":
            found = standing(row.cell, begun.runs_dir)
            row.state, row.message, row.accuracy = found.state, found.message, found.accuracy
            begun.file.note({row.cell.run: Word(row.state, row.message)})


def run_on_cluster(begun: Begun, *, tasks: int | None, options: Mapping[str, object]) -> Sequence[str]:
    """Submit the waiting cells to Slurm as one job array of `tasks`; returns the jobs' names. See `cluster`.

    By default a task per cell, or per pretraining with all cells that start from it, since those would wait for it.
    """
    parts = _parts(begun.waiting, tasks or len(begun.waiting))
    if not parts:
        return []
    cells = [tuple(row.cell for row in part) for part in parts]
    jobs = cluster.submit(cells, begun.runs_dir, begun.data_dir, begun.sweep.name, options)
    for job, part in zip(jobs, parts, strict=True):
        for row in part:
            row.state, row.message, row.job = "submitted", f"job {job}", job
    begun.file.note({r.cell.run: Word(r.state, r.message, r.job) for part in parts for r in part}, only="waiting")
    return jobs


def _parts(rows: Sequence[CellRow], count: int) -> list[list[CellRow]]:
    """Cells by task, balanced in FLOPs largest first; a pretraining is followed by the cells that start from it."""
    groups: dict[str, list[CellRow]] = {row.cell.run: [row] for row in rows if row.cell.needs is None}
    for row in rows:
        if row.cell.needs is not None:
            groups.setdefault(row.cell.needs if row.cell.needs in groups else row.cell.run, []).append(row)
    parts: list[list[CellRow]] = [[] for _ in range(min(count, len(groups)))]
    for group in sorted(groups.values(), key=lambda group: -_flops(group)):
        min(parts, key=_flops).extend(group)
    return parts


def _flops(rows: Sequence[CellRow]) -> float:
    return sum(row.flops or 1 for row in rows)


def _with_threads(cell: Cell) -> Cell:
    """One thread unless the recipe says otherwise, since there are as many workers as cores."""
    recipe = cell.loaded.recipe
    run = recipe.run.model_copy(update={"threads": recipe.run.threads or 1})
    return replace(cell, loaded=replace(cell.loaded, recipe=recipe.model_copy(update={"run": run})))
