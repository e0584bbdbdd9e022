"""Measure what finished runs of the sibling papers' sweeps are compared by; what was measured before is not made again.

Run:  python scripts/measure_siblings.py positional|how RUNS SEED
"""

import sys
from pathlib import Path
from typing import Any

from tokenprune import pipeline
from tokenprune.errors import TokenpruneError
from tokenprune.pipeline import DatasetCache
from tokenprune.recipe import Recipe, read_resolved
from tokenprune.runs import all_runs

#: (measurement, its options) of every run.
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
}
_PRUNED = {"methods": ["magnitude", "random"], "keep": [0.7, 0.5, 0.3], "site": "before:4"}
#: Of the plain Vision Transformer, before and after pruning.
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


def main(part: str, runs: Path, seed: int) -> int:
    cache, failed = DatasetCache(), 0
    for run in all_runs(runs):
        if not run.finished or not run.weights.is_file() or run.result().seed != seed:
            continue
        asked = EVERY[part] + (PLAIN if part == "how" and plain(read_resolved(run.resolved)) else [])
        if "positional" in part and read_resolved(run.resolved).model.stages is not None:
            continue  # it has no position codes
        for name, options in asked:
            try:
                path, _ = pipeline.measure_run(run, name, options=options, cache=cache)
                print(path)
            except TokenpruneError as error:
                print(f"{run.name}: {name} is not measured: {error}", file=sys.stderr)
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
