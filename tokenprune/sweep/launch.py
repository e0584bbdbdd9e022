"""The local launcher: long-lived workers, one per core or GPU, that take cells from a queue, largest first."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from tokenprune.errors import TokenpruneError
from tokenprune.runs.sweeps import State, SweepFile, Word
from tokenprune.sweep.progress import CellRow, Ended, Moved, Watcher, orphaned

#: Seconds that the launcher waits for a worker's message before it refreshes the display.
TICK = 0.2

#: A cell whose images a worker holds is preferred to the largest one if it is at least this large beside it.
AKIN = 0.5


def worker_pool(workers: int | None, threads: int, device: str, per_gpu: int) -> tuple[int | None, ...]:
    """As many workers as there are cores for, or `per_gpu` on each GPU, unless `workers` says how many.

    Of each the GPU that it uses, None for a CPU core. Raises TokenpruneError where CUDA is asked for and absent.
    """
    gpus = 0 if device == "cpu" else _ask_for_gpus()
    if device == "cuda" and not gpus:
        raise TokenpruneError("device cuda: torch sees no CUDA device here; use --device cpu or auto")
    if gpus:
        slots = [i % gpus for i in range(gpus * per_gpu)]
        return tuple(slots[i % len(slots)] for i in range(workers or len(slots)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (None,) * (workers or max(1, cores // threads))


def run_local(
    rows: Sequence[CellRow],
    pool: Sequence[int | None],
    *,
    runs_dir: Path,
    data_dir: Path | None,
    file: SweepFile,
    watcher: Watcher,
) -> None:
    """Run the waiting cells of `rows`, which are updated on the way; outcomes go into the sweep's record.

    A worker that dies fails its cell and is replaced. After SIGINT or SIGTERM raises KeyboardInterrupt, once every
    training is saved; a second signal does not wait for that. Raises TokenpruneError if the record
    cannot be saved.
    """
    queue = _Queue(rows)
    workers = [_Worker(gpu, runs_dir, data_dir) for gpu in pool[: len(queue.rows)]]
    try:
        with _asked() as asked:
            sent = 0
            while True:
                for orphan in queue.orphans():
                    watcher.changed(orphan)
                    file.note({orphan.cell.run: Word(orphan.state, orphan.message)})
                for worker in workers:
                    if worker.row is None and not asked() and (row := queue.take(worker.held)):
                        worker.give(row)
                        watcher.changed(row)
                busy = [worker for worker in workers if worker.row is not None]
                if not busy:
                    break
                if asked() > sent:
                    sent = asked()
                    for worker in busy:
                        worker.stop(signal.SIGTERM if sent == 1 else signal.SIGKILL)
                ready = wait([worker.pipe for worker in busy], timeout=TICK)
                for worker in busy:
                    if worker.pipe in ready and (row := worker.hear()) is not None:
                        watcher.changed(row)
                        if worker.row is None:
                            file.note({row.cell.run: Word(row.state, row.message)})
                watcher.tick()
            if asked():
                raise KeyboardInterrupt
    finally:
        for worker in workers:
            worker.close()


class _Queue:
    """Cells not yet given to a worker, largest first, so that the last ones to end are small.

    A pretraining's size includes the largest cell that starts from it, since that one has to wait for it.
    """

    def __init__(self, rows: Sequence[CellRow]) -> None:
        self.all = {row.cell.run: row for row in rows}
        self.rows = [row for row in rows if row.state == "waiting"]
        self.size = {row.cell.run: row.flops or 0 for row in self.rows}
        after: dict[str, float] = {}
        for row in self.rows:
            if row.cell.needs is not None:
                after[row.cell.needs] = max(after.get(row.cell.needs, 0), row.flops or 0)
        for run in after.keys() & self.size.keys():
            self.size[run] += after[run]
        self.rows.sort(key=lambda row: -self.size[row.cell.run])

    def take(self, held: set[str]) -> CellRow | None:
        """The largest that can begin; or one nearly as large that needs only what the worker holds already."""
        ready = [row for row in self.rows if self._first(row) in (None, "finished")]
        # A worker would wait for what another process pretrains, so those cells go last.
        ready = ready or [row for row in self.rows if self._first(row) == "elsewhere"]
        if not ready:
            return None
        enough = AKIN * self.size[ready[0].cell.run]
        akin = (row for row in ready if self.size[row.cell.run] >= enough and _needs(row) <= held)
        row = next(akin, ready[0])
        self.rows.remove(row)
        return row

    def orphans(self) -> list[CellRow]:
        """Cells taken from the queue as failed, because their pretraining did."""
        lost = [row for row in self.rows if self._first(row) == "failed"]
        for row in lost:
            first = self.all[row.cell.needs or ""]
            row.state, row.message = "failed", orphaned(first.cell.run, first.message)
            self.rows.remove(row)
        return lost

    def _first(self, row: CellRow) -> State | None:
        """The state of the pretraining that a cell starts from; None if it starts from scratch."""
        first = self.all.get(row.cell.needs or "")
        return None if first is None else "elsewhere" if first.job else first.state


def _needs(row: CellRow) -> set[str]:
    """What a worker makes once and keeps: images, and with run.compile the compiled model."""
    recipe = row.cell.loaded.recipe
    return {recipe.images.model_dump_json(), *([recipe.model.model_dump_json()] if recipe.run.compile else [])}


class _Worker:
    """A process that runs one cell at a time. A dead one is started again with the next cell."""

    def __init__(self, gpu: int | None, runs_dir: Path, data_dir: Path | None) -> None:
        self.gpu, self.runs_dir, self.data_dir = gpu, runs_dir, data_dir
        self.row: CellRow | None = None
        self.asked = False  # to stop
        self._start()

    def _start(self) -> None:
        self.held: set[str] = set()
        self.pipe, theirs = multiprocessing.Pipe()
        arguments = (theirs, self.runs_dir, self.data_dir, self.gpu)
        self.process = _context().Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def give(self, row: CellRow) -> None:
        if not self.process.is_alive():
            self.close()
            self._start()
        self.row = row
        row.state = "training"
        self.held |= _needs(row)
        with contextlib.suppress(OSError):  # it has just died, which `hear` will find out
            self.pipe.send(row.cell)

    def hear(self) -> CellRow | None:
        """Receive one message; returns the cell if that changed its state."""
        row = self.row
        assert row is not None
        try:
            word: Moved | Ended = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            word = self._died(self.process.exitcode or 0)
        before = row.state
        row.state = word.state
        row.accuracy = row.accuracy if word.accuracy is None else word.accuracy
        if isinstance(word, Ended):
            row.message, row.seconds, row.cpu_seconds = word.message, word.seconds, word.cpu_seconds
            self.row = None
            return row
        row.share = row.share if word.share is None else word.share
        row.epoch = row.epoch if word.epoch is None else word.epoch
        return row if row.state != before else None

    def _died(self, code: int) -> Ended:
        if self.asked:
            return Ended("interrupted", "asked to stop; --resume continues")
        return Ended("failed", f"killed (signal {-code})" if code < 0 else f"its worker ended with status {code}")

    def stop(self, number: int) -> None:
        self.asked = True
        with contextlib.suppress(ProcessLookupError):
            if self.process.pid is not None:
                os.kill(self.process.pid, number)

    def close(self) -> None:
        self.pipe.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


def _context() -> Any:
    """Workers are forks of one process that has imported torch once and does nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tokenprune.sweep.work"])
    return context


def _serve(pipe: Connection, runs_dir: Path, data_dir: Path | None, gpu: int | None) -> None:
    from tokenprune.sweep import work

    work.serve(pipe, runs_dir, data_dir, gpu)


def _gpus(pipe: Connection) -> None:
    from tokenprune.sweep import work

    work.count_gpus(pipe)


def _ask_for_gpus() -> int:
    ours, theirs = multiprocessing.Pipe()
    process = _context().Process(target=_gpus, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        return int(ours.recv())
    except EOFError:
        return 0
    finally:
        process.join()


@contextlib.contextmanager
def _asked() -> Iterator[Any]:
    """Counts SIGINT and SIGTERM, which raise nothing within it; yields a function that returns the count."""
    count = 0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1

    if threading.current_thread() is not threading.main_thread():
        yield lambda: count
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: count
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
