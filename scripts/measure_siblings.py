"""Measure what finished runs of the sibling papers' sweeps are compared by; what was measured before is not made again.

Run:  python scripts/measure_siblings.py positional|how|heads RUNS SEED

RUNS has a folder for each part. The backbones of `heads` are copies of the plain Vision Transformers of `how`.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenprune import pipeline
from tokenprune.errors import TokenpruneError
from tokenprune.pipeline import DatasetCache
from tokenprune.recipe import Recipe, read_resolved
from tokenprune.runs import RunFolder, all_runs

#: (measurement, its options) of every run of a part.
EVERY: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "positional": [("association", {})],
    "how": [
        ("fourier", {}),
        ("variance", {}),
        ("rank", {}),
        ("lesion", {"images": 2000}),
        ("frequency-noise", {"images": 2000}),
        ("hessian", {"images": 320, "steps": 60}),
    ],
    # Of the tokens before the last block: those after it are read by nothing but the class token.
    "heads": [("heads", {"cursor": 14, "data": data}) for data in ("cifar10", "cifar100")],
}
_PRUNED = {"methods": ["magnitude", "random"], "keep": [0.7, 0.5, 0.3], "site": "before:4"}
#: Of the plain Vision Transformer of `how`, before and after pruning.
PLAIN: list[tuple[str, dict[str, Any]]] = [
    ("fourier", _PRUNED),
    ("variance", _PRUNED),
    ("hessian", {**_PRUNED, "images": 320, "steps": 60}),
    ("landscape", {"images": 500, "size": 11}),
]


def plain(recipe: Recipe) -> bool:
    """Whether it is the Vision Transformer that others are changes of."""
    changed = recipe.model.stages, recipe.train.label_smoothing, recipe.pruner.removes, recipe.model.attention
    return changed == (None, 0.0, False, "content") and recipe.data.train_size in (None, 10000)


def trained(runs: Path, seed: int) -> Iterator[tuple[RunFolder, Recipe]]:
    """Finished runs of that seed whose weights are there."""
    for run in all_runs(runs):
        if run.finished and run.weights.is_file() and run.result().seed == seed:
            yield run, read_resolved(run.resolved)


def main(part: str, runs: Path, seed: int) -> int:
    if part == "heads":
        for run, recipe in trained(runs / "how", seed):
            if plain(recipe) and not (copy := runs / part / run.name).exists():
                shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns("measure"))
    cache, failed = DatasetCache(), 0
    for run, recipe in trained(runs / part, seed):
        if part == "positional" and recipe.model.stages is not None:
            continue  # it has no position codes
        for name, options in EVERY[part] + (PLAIN if part == "how" and plain(recipe) else []):
            try:
                path, _ = pipeline.measure_run(run, name, options=options, cache=cache)
                print(path)
            except TokenpruneError as error:
                print(f"{run.name}: {name} is not measured: {error}", file=sys.stderr)
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
