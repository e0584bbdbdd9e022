"""Work shared out among processes, one per core, without copying what it works on."""

import gc
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_jobs: Sequence[Callable[[], Any]] = ()  # of a worker: inherited at its fork, never pickled


def begin(jobs: Sequence[Callable[[], _Result]]) -> Callable[[], list[_Result]]:
    """Start the jobs in forked processes; what is returned waits for the results, in order.

    An error of a job is raised there. Where forking is not to be had or a worker is killed, the jobs run in this
    process, when they are waited for. Results are pickled; jobs need not be.
    """

    def here() -> list[_Result]:
        return [job() for job in jobs]

    workers = min(_cores(), len(jobs))
    if workers < 2 or not _may_fork():
        return here
    try:
        futures = _start(jobs, workers)
    except (OSError, NotImplementedError):  # no process or no semaphore left, or none on this platform
        return here

    def wait() -> list[_Result]:
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool:
            return here()

    return wait


def _start(jobs: Sequence[Callable[[], _Result]], workers: int) -> "list[Future[_Result]]":
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _inherit, (jobs,))
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of native threads; those of BLAS and torch only matter to who computes with them.
            warnings.filterwarnings("ignore", r"This process .* is multi-threaded", DeprecationWarning)
            return [pool.submit(_run, index) for index in range(len(jobs))]
    finally:
        pool.shutdown(wait=False)  # what was submitted is still done


def _inherit(jobs: Sequence[Callable[[], Any]]) -> None:
    global _jobs
    _jobs = jobs
    gc.freeze()  # the parent's objects, often millions, are not this process's to search for garbage


def _run(index: int) -> Any:
    return _jobs[index]()


def _may_fork() -> bool:
    """Linux only (macOS's own libraries do not survive it), and no Python thread that might hold a lock."""
    return sys.platform == "linux" and threading.active_count() == 1 and not multiprocessing.current_process().daemon


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
