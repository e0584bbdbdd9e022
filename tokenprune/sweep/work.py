"""A worker: runs cells one after another, keeping loaded images between them."""

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from tokenprune import pipeline
from tokenprune.errors import WARNING, TokenpruneError, out_of_memory
from tokenprune.pipeline import DatasetCache
from tokenprune.recipe.sweep import Cell
from tokenprune.runs import Busy, Epoch, RunFolder
from tokenprune.runs.sweeps import State, SweepFile, Word
from tokenprune.sweep.plan import standing
from tokenprune.sweep.progress import Ended, Moved, orphaned
from tokenprune.training import Reporter

#: Seconds between two messages of a worker about one training.
SAY = 0.25


def run_cell(
    cell: Cell, runs_dir: Path, data_dir: Path | None, cache: DatasetCache, say: Callable[[Moved], None]
) -> Ended:
    """Train and measure one cell, resuming it if it was begun; errors are returned as its outcome, not raised."""
    started, used = time.perf_counter(), time.process_time()
    reporter = _Reporter(say)
    try:
        result = _run(cell, runs_dir, data_dir, cache, reporter)
        ended = Ended("finished", "; ".join(reporter.warnings) or None, result)
    except Busy as error:
        ended = Ended("elsewhere", str(error))
    except KeyboardInterrupt:
        ended = Ended("interrupted", "asked to stop; --resume continues")
    except TokenpruneError as error:
        ended = Ended("failed", str(error))
    except Exception as error:  # of a pruner, of memory: the other cells still run
        ended = Ended("failed", _unforeseen(error))
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    return replace(ended, seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - used)


def _run(cell: Cell, runs_dir: Path, data_dir: Path | None, cache: DatasetCache, reporter: "_Reporter") -> float:
    say = reporter.say
    run = RunFolder(runs_dir / cell.run)
    if not run.finished:
        say(Moved("training"))
        pipeline.train_run(
            cell.loaded, runs_dir=runs_dir, data_dir=data_dir, resume=True, reporter=reporter, cache=cache
        )
    for spec in cell.prune:
        say(Moved("pruning"))
        pipeline.prune_run(run, spec, data_dir=data_dir, progress=reporter.count, cache=cache, say=reporter.message)
    return run.result().test_accuracy


def _unforeseen(error: Exception) -> str:
    """The message of an unexpected error: its class, its first line, and where in the code."""
    if out_of_memory(error):
        return "out of memory; use a smaller train.batch_size, model or data set, or fewer workers"
    first = str(error).partition("\n")[0]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {first} ({Path(frame.filename).name}, line {frame.lineno})"


class _Reporter(Reporter):
    """A training's reporter that sends its progress a few times a second."""

    def __init__(self, say: Callable[[Moved], None]) -> None:
        self.say = say
        self.steps = 1
        self.said = 0.0
        self.warnings: list[str] = []

    def start(self, steps: int, done: int) -> None:
        self.steps = steps
        self.say(Moved("training", share=done / steps))

    def step(self, done: int, loss: float, accuracy: float | None, images_per_second: float) -> None:
        self._seldom(Moved("training", share=done / self.steps))

    def epoch(self, record: Epoch) -> None:
        share = record.step / self.steps
        self.say(Moved("training", share=share, epoch=record.epoch, accuracy=record.test_accuracy))

    def message(self, text: str) -> None:
        if text.startswith(WARNING):
            self.warnings.append(text)

    def count(self, done: int, total: int, what: str = "") -> None:
        self._seldom(Moved("pruning", share=done / total))

    def _seldom(self, moved: Moved) -> None:
        now = time.monotonic()
        if now - self.said >= SAY:
            self.said = now
            self.say(moved)


def serve(pipe: Connection, runs_dir: Path, data_dir: Path | None, gpu: int | None) -> None:
    """The loop of a worker: receives cells through `pipe` and sends back their states, until the pipe closes."""
    os.setpgid(0, 0)  # Ctrl-C reaches only the launcher, which stops each worker once
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible(gpu)
    cache = DatasetCache()

    def say(word: Moved | Ended) -> None:
        try:
            pipe.send(word)
        except OSError:  # the launcher is gone: stop as on its signal
            os.kill(os.getpid(), signal.SIGTERM)

    while True:
        try:
            cell: Any = pipe.recv()
            say(run_cell(cell, runs_dir, data_dir, cache, say))
        except (EOFError, OSError, KeyboardInterrupt):
            return


def _visible(gpu: int) -> str:
    """The CUDA_VISIBLE_DEVICES entry of the GPU with that number."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[gpu] if visible else str(gpu)


def count_gpus(pipe: Connection) -> None:
    """Number of GPUs, found in a process of its own, so that the launcher holds none."""
    with contextlib.suppress(OSError):  # the launcher has been stopped meanwhile
        pipe.send(torch.cuda.device_count() if torch.cuda.is_available() else 0)


def run_part(
    cells: tuple[Cell, ...], runs_dir: Path, data_dir: Path | None, sweep: str, job: str | None = None
) -> list[Ended]:
    """Run cells in this process, in their order, for a cluster's task `job`; outcomes go into the sweep's record."""
    cache, file, outcomes = DatasetCache(), SweepFile(runs_dir, sweep), []
    failed: dict[str | None, str | None] = {}
    said: tuple[str, State] | None = None

    def say(moved: Moved) -> None:
        nonlocal said
        if said != (said := (cell.run, moved.state)):
            file.note({cell.run: Word(moved.state, None, job)})

    for cell in cells:
        before = standing(cell, runs_dir)
        if before.state == "waiting" and cell.needs in failed:
            ended = Ended("failed", orphaned(str(cell.needs), failed[cell.needs]))
        elif before.state == "waiting":
            ended = run_cell(cell, runs_dir, data_dir, cache, say)
        else:
            ended = Ended(before.state, before.message, before.accuracy)
        file.note({cell.run: Word(ended.state, ended.message, job)})
        outcomes.append(ended)
        if ended.state == "failed":
            failed[cell.run] = ended.message
        if ended.state == "interrupted":
            break
    return outcomes
