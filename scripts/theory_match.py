"""Search for a setting of the laboratory at which its ViT gives the authors' published phase diagram.

    .venv/bin/python scripts/theory_match.py RUNS_DIR SEARCH.csv

One setting after the other, 6 trials of each published cell: all combinations of what is decisive (SHAPE), then, at the
best of these, one change at a time (REST). The error of a setting is the root mean square difference between its
success rates and the published ones. Finished settings are read, not run again. Prints the best setting's overrides.
"""

import csv
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tokenprune.claims.published import PHASE_VIT
from tokenprune.theory.load import load_theory_recipe
from tokenprune.theory.run import theory_run

SHAPE = {
    "model.signs": ("own", "shared"),
    "train.step_size": ("1.2", "2.4", "4"),
    "data.count": ("20", "40"),
    "data.confusion": ("0.05", "0.075"),
}
REST = (
    "train.step_size=3", "train.step_size=6", "data.count=30", "data.count=60", "data.confusion=0.1",
    "data.noise=0.1", "data.noise=0.5", "model.sigma=0.05", "model.sigma=0.3", "model.delta=0.1", "model.delta=0.4",
    "model.neurons=50", "model.neurons=200", "model.scale=0.1", "grid.success=1e-2", "train.batch_size=8",
)  # fmt: skip


def settings() -> Iterator[list[str]]:
    for values in itertools.product(*SHAPE.values()):
        yield [f"{key}={value}" for key, value in zip(SHAPE, values, strict=True)]


def changed(best: Sequence[str], change: str) -> list[str]:
    key = change.partition("=")[0]
    return [*(each for each in best if not each.startswith(f"{key}=")), change]


def error(overrides: Sequence[str], runs_dir: Path) -> tuple[float, float]:
    """Root mean square difference and rank correlation of success rates, over all published cells."""
    from scipy.stats import spearmanr

    loaded = load_theory_recipe("phase-alpha", "phase", ["grid.trials=6", *overrides])
    result = theory_run(loaded, runs_dir=runs_dir, resume=True).theory_result()
    loss = np.array(result.loss, float)
    ours = (loss < result.success).mean(axis=2)
    theirs = np.array(PHASE_VIT.successes) / PHASE_VIT.trials
    return float(np.sqrt(((ours - theirs) ** 2).mean())), float(spearmanr(ours.ravel(), theirs.ravel()).statistic)


def main(runs_dir: Path, out: Path) -> None:
    found: dict[tuple[str, ...], tuple[float, float]] = {}

    def tried(overrides: list[str]) -> float:
        found[tuple(overrides)] = error(overrides, runs_dir)
        print(f"{found[tuple(overrides)][0]:.3f}  {' '.join(overrides)}", file=sys.stderr)
        return found[tuple(overrides)][0]

    best = min(settings(), key=tried)
    for change in REST:
        tried(changed(best, change))
    best = list(min(found, key=lambda key: found[key][0]))
    for change in REST:  # what helped alone may help together
        if changed(best, change) != best and found.get(tuple(changed(best, change))) is None:
            tried(changed(best, change))
    best = list(min(found, key=lambda key: found[key][0]))
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["setting", "error", "rank_correlation"])
        writer.writerows(
            [" ".join(key), f"{rms:.4f}", f"{rank:.4f}"]
            for key, (rms, rank) in sorted(found.items(), key=lambda i: i[1])
        )
    print("\n".join(best))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
