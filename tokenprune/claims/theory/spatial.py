"""Claims of Jelassi, Sander & Li (NeurIPS 2022): patch association grows in training, and what it learnt transfers.

tokenprune.complexity is imported inside the functions: numpy costs more than most commands that never ask.
"""

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Any

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.theory.spatial import SpatialResult

PAPER = "Jelassi, Sander & Li, Vision Transformers provably learn spatial structure, NeurIPS 2022"
_ARMS = ("transfer", "scratch")


def associates(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Growth of patch association, last less first, by trial: mean overlap, and variant `exact`."""
    chosen = _spatial(settings)
    return [_growth(setting, name) for name in ("overlap", "exact") for setting in chosen]


def transfers(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """log2 of N50 from scratch over N50 of transfer."""
    return [_ratio(setting) for setting in _spatial(settings)]


def _spatial(settings: Sequence[LaboratoryStudy[Any]]) -> list[LaboratoryStudy[SpatialResult]]:
    return [setting for setting in settings if isinstance(setting.first, SpatialResult)]


def _growth(setting: LaboratoryStudy[SpatialResult], name: str) -> Finding:
    curves = [pair for result in setting.results for pair in zip(getattr(result, name), result.loss, strict=True)]
    whole = [
        [value for value in curve if value is not None]
        for curve, loss in curves
        if None not in curve and None not in loss
    ]
    changes = [curve[-1] - curve[0] for curve in whole]
    return Finding(
        subject=setting,
        what="growth of the mean overlap with the own set" if name == "overlap" else "growth of the exact-match rate",
        n=len(whole),
        more=partial(setting.further, len(whole)),
        variant=None if name == "overlap" else name,
        estimate=Estimate.of_trials(changes),
        lacking=None if changes else "every trial diverged",
        details={
            "first": fmean([curve[0] for curve in whole]) if whole else None,
            "last": fmean([curve[-1] for curve in whole]) if whole else None,
            "chance": setting.first.chance if name == "overlap" else None,
            "diverged": len(curves) - len(whole),
            "accuracy": _mean(curve[-1] for result in setting.results for curve in result.accuracy),
            "constructed": {
                attention: {
                    name: _pooled(setting, f"constructed_{name}", attention),
                    "accuracy": _pooled(setting, "constructed_accuracy", attention),
                }
                for attention in setting.first.constructed_accuracy
            },
        },
    )


def _ratio(setting: LaboratoryStudy[SpatialResult]) -> Finding:
    from tokenprune.complexity import columns, power_law

    samples = setting.first.samples
    each = [result.successes() for result in setting.results]
    successes = [[sum(cell) for cell in zip(*(found[arm] for found in each), strict=True)] for arm in _ARMS]
    trials = sum(result.trials for result in setting.results)
    # Of x = 1 and 2 the exponent is log2 of the ratio of their N50.
    power = power_law((1, 2), samples, successes, trials)
    fit = columns((1, 2), samples, successes, trials)
    bounds = {arm: bound for arm, bound in zip(_ARMS, fit.bound, strict=True) if bound}
    lacking = power.lacking
    if lacking and bounds:
        lacking = "; ".join(f"N50 of {arm} is {bound}" for arm, bound in bounds.items())
    return Finding(
        subject=setting,
        what="log2 of N50 from scratch over N50 of transfer",
        estimate=Estimate.of_fit(power, trials),
        n=trials,
        more=partial(setting.further, trials),
        lacking=lacking,
        todo=_wider(setting, bounds),
        details={
            "samples": list(samples),
            "success": setting.first.success,
            "ratio": None if power.estimate is None else 2**power.estimate,
            "n50": dict(zip(_ARMS, fit.n50, strict=True)),
            "bound": dict(zip(_ARMS, fit.bound, strict=True)),
            "successes": dict(zip(_ARMS, successes, strict=True)),
            "accuracy": {
                arm: [
                    _mean(value for part in cell for value in part)
                    for cell in zip(*(result.target_accuracy[arm] for result in setting.results), strict=True)
                ]
                for arm in _ARMS
            },
        },
    )


def _wider(setting: LaboratoryStudy[SpatialResult], bounds: dict[str, str]) -> str | None:
    """The command that adds the N that an arm lacks; None where both have an N50."""
    more = set(setting.first.samples)
    for bound in bounds.values():
        more |= {2 * max(more), 4 * max(more)} if bound.startswith(">") else {min(more) // 2}
    batch = setting.first.recipe["train"]["batch_size"]
    wanted = sorted(n for n in more if n >= batch)
    if wanted == sorted(setting.first.samples):
        return None
    said = ", ".join(f"N50 of {arm} is {bound}" for arm, bound in bounds.items())
    return f"{said}: a wider range of N:\n{setting.command({'transfer.samples': wanted})}"


def _pooled(setting: LaboratoryStudy[SpatialResult], table: str, attention: str) -> float | None:
    return _mean(value for result in setting.results for value in getattr(result, table)[attention])


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
