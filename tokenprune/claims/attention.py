"""The claim about where attention goes during training: findings from the epochs' records."""

from statistics import fmean

from tokenprune.claims.claim import Finding
from tokenprune.claims.evidence import RunData


def concentration(runs: tuple[RunData, ...]) -> list[Finding]:
    """Share of attention on label-relevant tokens after the last epoch less that before training, mean over blocks."""
    shifts: dict[int, list[float]] = {}
    starts: list[float] = []
    evidence = []
    for run in runs:
        known = {epoch.epoch: epoch.attention_on_relevant for epoch in run.epochs}
        first, last = known.get(0), known.get(run.result.epochs)
        if first and last:
            shifts[run.result.seed] = [after - before for before, after in zip(first, last, strict=True)]
            starts.append(fmean(first))
            evidence.append(run.folder.name)
    share = runs[0].result.data.relevant_share
    uniform = "" if share is None else f" (uniform attention would put {share:.3f} on them)"
    lacking, todo = None, ()
    if not shifts and share is None:
        lacking = "this data set does not say which tokens are label-relevant; composite scenes and patterns do"
    elif not shifts:
        lacking = "attention on relevant tokens was recorded both before training and after it in no run"
    began = f", from {fmean(starts):.3f}" if starts else ""
    return [
        Finding(
            runs=runs,
            site=None,
            values={seed: fmean(blocks) for seed, blocks in shifts.items()},
            what=f"change of the attention on label-relevant tokens{began}{uniform}",
            images=None,
            lacking=lacking,
            todo=todo,
            evidence=tuple(evidence),
            details={
                "blocks": [fmean(block) for block in zip(*shifts.values(), strict=True)],
                "before": fmean(starts) if starts else None,
                "uniform": share,
            },
        )
    ]
