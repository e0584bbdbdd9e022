"""Claims of Jelassi, Sander & Li (NeurIPS 2022): patch association grows in training, and what it learnt transfers.

tokenprune.complexity is imported inside the functions: numpy costs more than most commands that never ask.
"""

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Any

from tokenprune.claims.theory.claim import TheoryClaim, TheoryFinding
from tokenprune.claims.theory.setting import Setting
from tokenprune.runs import SpatialResult
from tokenprune.statistics import mean_interval, t_test

PAPER = "Jelassi, Sander & Li, Vision Transformers provably learn spatial structure, NeurIPS 2022"
_ARMS = ("transfer", "scratch")


def associates(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """Growth of patch association, last less first, by trial: mean overlap, and variant `exact`."""
    chosen = _spatial(settings)
    return [_growth(setting, name) for name in ("overlap", "exact") for setting in chosen]


def transfers(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """log2 of N50 from scratch over N50 of transfer."""
    return [_ratio(setting) for setting in _spatial(settings)]


SPATIAL_CLAIMS: tuple[TheoryClaim, ...] = (
    TheoryClaim(
        id="theory-spatial-association",
        number="T8",
        statement="Trained on spatially structured data, positional attention comes to associate patches of one set.",
        source=f"{PAPER}: patch association is learnt by minimising the training loss",
        reads="spatial results",
        test="overlap of the C - 1 largest A_ij with i's own set, last less first, is above 0; variant exact",
        unit="share",
        range=(0.0, None),
        find=associates,
    ),
    TheoryClaim(
        id="theory-spatial-transfer",
        number="T9",
        statement="With attention taken from a task of the same spatial structure, fewer samples are needed.",
        source=f"{PAPER}: fine-tuning v with A frozen needs far fewer samples",
        reads="spatial results",
        test="log2 of N50 from scratch over N50 with A frozen and v trained is above 0",
        unit="doublings of N50",
        range=(0.0, None),
        find=transfers,
    ),
)


def _spatial(settings: Sequence[Setting[Any]]) -> list[Setting[SpatialResult]]:
    return [setting for setting in settings if isinstance(setting.first, SpatialResult)]


def _growth(setting: Setting[SpatialResult], name: str) -> TheoryFinding:
    curves = [pair for result in setting.results for pair in zip(getattr(result, name), result.loss, strict=True)]
    whole = [
        [value for value in curve if value is not None]
        for curve, loss in curves
        if None not in curve and None not in loss
    ]
    changes = [curve[-1] - curve[0] for curve in whole]
    effect, low, high = mean_interval(changes) if changes else (None, None, None)
    return TheoryFinding(
        settings=(setting,),
        what="growth of the mean overlap with the own set" if name == "overlap" else "growth of the exact-match rate",
        trials=len(whole),
        variant=None if name == "overlap" else name,
        effect=effect,
        low=low,
        high=high,
        p=partial(t_test, changes),
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


def _ratio(setting: Setting[SpatialResult]) -> TheoryFinding:
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
    return TheoryFinding(
        settings=(setting,),
        what="log2 of N50 from scratch over N50 of transfer",
        trials=trials,
        effect=power.estimate,
        low=power.low,
        high=power.high,
        p=power.p,
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


def _wider(setting: Setting[SpatialResult], bounds: dict[str, str]) -> str | None:
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


def _pooled(setting: Setting[SpatialResult], table: str, attention: str) -> float | None:
    return _mean(value for result in setting.results for value in getattr(result, table)[attention])


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
