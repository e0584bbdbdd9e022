"""Runs of settings that are compared, by accuracy, for tests of the claims."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from factories import make_run

from tokenprune.claims import Verdict, judge, read_runs, studies
from tokenprune.experiments import CLAIMS

SIZES = (250, 1000, 4000)


def train(
    runs_dir: Path, accuracy: float | Sequence[float], *changes: str, method: str = "none", keep: float = 1.0, **options
) -> None:
    """A run per seed: three, of equal accuracy or as given."""
    pruner = [f"pruner.name={method}", f"pruner.keep_ratio={keep}"] if method != "none" else []
    by_seed = [accuracy] * 3 if isinstance(accuracy, float) else accuracy
    for seed, each in enumerate(by_seed):
        make_run(runs_dir, seed=seed, accuracy=each, overrides=[*pruner, *changes], **options)


def judged(runs_dir: Path, claim: str) -> list[Verdict]:
    runs, problems = read_runs(runs_dir)
    assert problems == []
    return [verdict for verdict in judge(studies(runs), CLAIMS) if verdict.claim == claim]


def samples(
    runs_dir: Path, accuracy: Callable[[int, float], float | Sequence[float]], alphas: Mapping[float, float]
) -> None:
    """Runs over N and alpha_* (by keep ratio of the oracle), longer trained on fewer images."""
    for n, (keep, alpha) in itertools.product(SIZES, alphas.items()):
        train(
            runs_dir,
            accuracy(n, alpha),
            f"data.train_size={n}",
            f"train.epochs={24_000 // n}",
            method="oracle",
            keep=keep,
            relevant_share=alphas[1.0],
            kept_relevance=alpha if keep < 1 else None,
        )
