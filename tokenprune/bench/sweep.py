"""A sweep's overhead over its training steps, and the gain of several small models sharing one GPU."""

import tempfile
import time
from pathlib import Path

import torch
import yaml

from tokenprune.bench.timing import Ratio
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder
from tokenprune.sweep import begin, run_here

_BASE = """
data: {source: patterns, patterns: {train_size: 4000, test_size: 1000}}
model: {dim: 96, heads: 3}
train: {batch_size: 64}
run: {observe_every: 1000}
"""


def overhead(depth: int, cells: int, epochs: int) -> Ratio:
    """Wall clock x workers over the seconds of all training steps, measured by the cells themselves, on the CPU.

    All that is not a step counts as overhead: imports, images, models, measuring before and after training, records.
    """
    with tempfile.TemporaryDirectory() as name:
        wall, runs, workers = _sweep(Path(name), depth, cells, epochs, "cpu", per_gpu=1)
        steps = sum(epoch.seconds or 0.0 for run in runs for epoch in run.epochs())
    seconds = {"sweep": wall * workers, "steps": steps}
    what = f"{cells} cells of depth {depth}, {workers} at a time: total time over the time of training steps"
    return Ratio(f"sweep/depth-{depth}", what, seconds["sweep"] / steps, seconds, 1.1, at_most=True)


def together(depth: int, cells: int, epochs: int, per_gpu: int) -> Ratio:
    """Throughput of several models at once on one GPU over one at a time; what each needs once is in both."""
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        for label, workers in (("one by one", 1), ("together", per_gpu)):
            seconds[label], _, _ = _sweep(Path(name) / label, depth, cells, epochs, "cuda", workers)
    what = f"{cells} models of depth {depth}, {per_gpu} at once on one GPU, over one at a time"
    return Ratio(f"sweep/gpu-{depth}", what, seconds["one by one"] / seconds["together"], seconds, 2.0)


def _sweep(
    folder: Path, depth: int, cells: int, epochs: int, device: str, per_gpu: int
) -> tuple[float, list[RunFolder], int]:
    """Seconds of a sweep over seeds, its runs, and how many ran at a time."""
    folder.mkdir(exist_ok=True)
    (folder / "base.yaml").write_text(_BASE)
    settings = {"model.depth": depth, "train.epochs": epochs, "run.device": device}
    grid = {"run.seed": list(range(cells))}
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump({"base": "base.yaml", "set": settings, "grid": grid}))
    begun = begin(load_sweep(path), runs_dir=folder / "runs")
    workers = per_gpu if device == "cuda" else min(cells, torch.get_num_threads())
    started = time.perf_counter()
    run_here(begun, workers=workers, per_gpu=per_gpu)
    return time.perf_counter() - started, [RunFolder(folder / "runs" / row.cell.run) for row in begun.rows], workers
