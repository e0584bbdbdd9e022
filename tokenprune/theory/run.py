"""From a recipe of the laboratory to a finished run folder, chunk by chunk, so that a kill loses one chunk at most."""

import json
import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

import torch

from tokenprune import files, hardware, runs
from tokenprune.errors import TokenpruneError
from tokenprune.recipe import Loaded, dump_recipe
from tokenprune.runs import atomic, save_result
from tokenprune.theory import experiment
from tokenprune.theory.folder import TheoryFolder
from tokenprune.theory.plan import MODELS, MODELS_ON_GPU, Chunk, ChunkPlan, Output
from tokenprune.theory.result import TheoryResult
from tokenprune.theory.schema import TheoryRecipe


class ChunkReporter(Protocol):
    def count(self, done: int, total: int, what: str = ...) -> None: ...
    def message(self, text: str) -> None: ...


class _Silent:
    def count(self, done: int, total: int, what: str = "") -> None: ...
    def message(self, text: str) -> None: ...


def theory_run(
    loaded: Loaded[TheoryRecipe],
    *,
    runs_dir: Path,
    resume: bool = False,
    force: bool = False,
    reporter: ChunkReporter | None = None,
) -> TheoryFolder:
    """Run an experiment into its folder below `runs_dir`/theory.

    A finished one is left as it is; with `force`, then `resume`, it stays until the new one is complete.
    Raises TokenpruneError if it was begun and neither `resume` nor `force` is given, or if anything cannot be read or
    saved; KeyboardInterrupt with every finished chunk saved.
    """
    recipe, reporter = loaded.recipe, reporter or _Silent()
    name = runs.run_name(loaded.name, recipe.setting(), recipe.run.seed)
    folder = TheoryFolder(runs_dir / TheoryFolder.place / name)
    with folder.lock():
        if not folder.due(resume=resume, force=force, say=reporter.message):
            return folder
        here = folder.unfinished
        device = hardware.choose_device(recipe.run.device)
        on_gpu = device.type == "cuda"
        workers = 1 if on_gpu else recipe.run.threads or os.cpu_count() or 1
        kind = experiment(recipe.experiment)
        plan = kind.plan(recipe, MODELS_ON_GPU if on_gpu else MODELS)
        atomic.make_folder(here.path)
        if force:
            atomic.remove(here.chunks)
        _describe(here, loaded, device, workers)
        with here.watched(), _Journal(here.chunks, plan) as journal:
            _work(plan, journal, device, workers, reporter)
            result = _assembled(
                kind.result,
                plan,
                journal,
                name=loaded.name,
                setting=recipe.setting(),
                seed=recipe.run.seed,
                recipe=recipe.science(),
                models=sum(chunk.models for chunk in plan.chunks),
                seconds=round(journal.seconds, 2),
                device=hardware.device_name(device),
            )
            here.set_status("finished", 0, len(plan.chunks))
            # On one line: indented, every number of a large diagram would have a line of its own.
            save_result(here.path / "result.json", result, [here.resolved.name], indent=None)
        atomic.remove(here.chunks)
        folder.settle()
    return folder


def _assembled(kind: type[TheoryResult], plan: ChunkPlan, journal: "_Journal", **known: Any) -> TheoryResult:
    """Raises TokenpruneError where an earlier process left complete lines of the wrong content."""
    try:
        return kind.model_validate(known | plan.assemble(journal.outputs()))
    except (ValueError, KeyError, IndexError, TypeError):
        if not journal.resumed:
            raise
        raise TokenpruneError(f"{journal.path}: damaged; --force starts over") from None


class _Journal:
    """chunks.jsonl: a line per finished chunk, saved before the next counts; an incomplete last line is ignored."""

    def __init__(self, path: Path, plan: ChunkPlan) -> None:
        self.path = path
        self.plan = plan
        self.found: dict[int, Output] = {}
        self.seconds = 0.0
        self.resumed = False
        self._since = time.perf_counter()

    def __enter__(self) -> "_Journal":
        if self.path.is_file():
            self.resumed = True
            whole = self.path.read_bytes().rpartition(b"\n")[0]
            for line in whole.splitlines():
                self._take(line)
            atomic.write_text(self.path, whole.decode() + ("\n" if whole else ""))
        try:
            self._handle = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise TokenpruneError(f"{self.path}: could not be saved: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def _take(self, line: bytes) -> None:
        try:
            entry = files.parse_json(line.decode())
            if entry["chunks"] != len(self.plan.chunks):
                raise ValueError
            self.found[int(entry["chunk"])] = entry["output"]
            self.seconds = float(entry["seconds"])
        except (ValueError, KeyError, TypeError):
            raise TokenpruneError(
                f"{self.path}: not the chunks of this run with these options (another run.memory or device?), "
                "or damaged; --force starts over"
            ) from None

    def add(self, index: int, output: Output) -> None:
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        self.found[index] = output
        entry = {"chunk": index, "chunks": len(self.plan.chunks), "seconds": self.seconds, "output": output}
        try:
            self._handle.write(json.dumps(entry, allow_nan=False) + "\n")
            self._handle.flush()
            os.fsync(self._handle.fileno())
        except OSError as error:
            raise TokenpruneError(f"{self.path}: could not be saved: {error.strerror}") from error

    def outputs(self) -> list[Output]:
        return [self.found[index] for index in range(len(self.plan.chunks))]


def _work(plan: ChunkPlan, journal: _Journal, device: torch.device, workers: int, reporter: ChunkReporter) -> None:
    """Run all chunks that are not done, a few submitted at a time, so that an interrupt takes effect soon."""
    cells = sum(chunk.cells for chunk in plan.chunks)
    done = sum(plan.chunks[index].cells for index in journal.found)
    reporter.count(round(done), round(cells), "cells")
    waiting = iter([index for index in range(len(plan.chunks)) if index not in journal.found])
    busy: dict[Future[Output], int] = {}
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            while True:
                while len(busy) < workers + 1 and (index := next(waiting, None)) is not None:
                    busy[pool.submit(_run, plan.chunks[index], device)] = index
                if not busy:
                    return
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    index = busy.pop(future)
                    journal.add(index, future.result())
                    done += plan.chunks[index].cells
                    reporter.count(round(done), round(cells), "cells")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _run(chunk: Chunk, device: torch.device) -> Output:
    with torch.inference_mode():
        return chunk.run(device)


def _describe(folder: TheoryFolder, loaded: Loaded[TheoryRecipe], device: torch.device, workers: int) -> None:
    folder.set_recipe(loaded.text, loaded.overrides)
    atomic.write_text(folder.resolved, dump_recipe(loaded.recipe))
    record: dict[str, Any] = runs.describe(hardware.device_name(device), workers, {"source": "made here"})
    atomic.write_json(folder.environment, record)
    folder.set_status("running", 0, 0)
