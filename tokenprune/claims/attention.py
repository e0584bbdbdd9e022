"""The claim about where attention goes during training: findings from the epochs' records."""

from functools import partial
from statistics import fmean

from tokenprune.claims import commands
from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.study import TrainedStudy
from tokenprune.claims.training import needed


def concentration(study: TrainedStudy) -> list[Finding]:
    """Share of attention on label-relevant tokens after the last epoch less that before training, mean over blocks."""
    if not study.runs[0].result.epochs:
        return []  # adopted: nothing was trained here
    shifts: dict[int, list[float]] = {}
    starts: list[float] = []
    evidence = []
    for run in study.runs:
        known = {epoch.epoch: epoch.attention_on_relevant for epoch in run.epochs}
        first, last = known.get(0), known.get(run.result.epochs)
        if first and last:
            shifts[run.result.seed] = [after - before for before, after in zip(first, last, strict=True)]
            starts.append(fmean(first))
            evidence.append(run.folder.name)
    share = study.runs[0].result.data.relevant_share
    uniform = "" if share is None else f" (uniform attention would put {share:.3f} on them)"
    lacking = None
    if not shifts and share is None:
        lacking = "this data set does not say which tokens are label-relevant; composite scenes and patterns do"
    elif not shifts:
        lacking = "attention on relevant tokens was recorded both before training and after it in no run"
    began = f", from {fmean(starts):.3f}" if starts else ""
    return [
        Finding(
            subject=study,
            what=f"change of the attention on label-relevant tokens{began}{uniform}",
            estimate=Estimate.of_seeds({seed: fmean(blocks) for seed, blocks in shifts.items()}),
            lacking=lacking,
            more=None if lacking else partial(commands.in_all, needed([study]), len(study.runs)),
            evidence=tuple(evidence),
        )
    ]
