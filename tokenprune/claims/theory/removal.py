"""Claims about removing tokens: findings from sparsify results.

tokenprune.complexity is imported inside the functions: numpy costs more than most commands that never ask.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.grid import wider
from tokenprune.claims.theory.scaling import training_time
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.theory.sparsify import SparsifyResult


def after_removal(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """log2 of N50 after removal over N50 before, and over N50 after random removal of as many tokens."""
    found = []
    for setting in settings:
        if isinstance(setting.first, SparsifyResult):
            methods = set(setting.first.complexity)
            pairs = [(method, "none") for method in ("irrelevant", "noisy")]
            pairs += [(method, "random") for method in ("irrelevant", "noisy", "magnitude")]
            found += [_ratio(setting, *pair) for pair in pairs if methods.issuperset(pair)]
    return found


def _ratio(setting: LaboratoryStudy[SparsifyResult], method: str, reference: str) -> Finding:
    from tokenprune.complexity import columns, power_law

    result = setting.first
    successes = [_removal(setting, name) for name in (reference, method)]
    trials = sum(len(each.complexity["none"][0]) for each in setting.results)
    # Of x = 1 and 2 the exponent is log2 of the ratio of their N50.
    power = power_law((1, 2), result.samples, successes, trials)
    fit = columns((1, 2), result.samples, successes, trials)
    before, after = ("before" if reference == "none" else "random"), method
    spoken = [_removed(name) for name in (reference, method)]
    beyond = [f"N50 {name} is {bound}" for name, bound in zip(spoken, fit.bound, strict=True) if bound]
    lost = [_diverged(setting, name) for name in (reference, method)]
    return Finding(
        subject=setting,
        what=f"log2 of N50 with {result.complexity_removed} {method} tokens removed over N50 "
        + ("before" if reference == "none" else "with as many random ones removed"),
        estimate=Estimate.of_fit(power, trials),
        n=trials,
        more=partial(setting.further, trials),
        variant=method if reference == "none" else f"{method} against random",
        lacking=power.lacking and (" and ".join(beyond) or power.lacking),
        todo=wider(
            setting,
            "removal.samples",
            result.samples,
            fit.bound,
            spoken,
            lost,
            trials * len(result.samples),
        ),
        beside=f"{sum(lost)} models diverged, counted as failures" if sum(lost) else None,
        details={
            "samples": list(result.samples),
            "removed": result.complexity_removed,
            "n50": dict(zip((before, after), fit.n50, strict=True)),
            "bound": dict(zip((before, after), fit.bound, strict=True)),
            "n50_in_training_time": {
                name: n and n * training_time(setting) for name, n in zip((before, after), fit.n50, strict=True)
            },
            "diverged": dict(zip((before, after), lost, strict=True)),
            "successes": dict(zip((before, after), successes, strict=True)),
        },
    )


def _removed(method: str) -> str:
    return "before removal" if method == "none" else f"with {method} tokens removed"


def _removal(setting: LaboratoryStudy[SparsifyResult], method: str) -> list[int]:
    """Successes by N, over all seeds."""
    return [
        sum(loss is not None and loss < setting.first.success for cell in cells for loss in cell)
        for cells in zip(*(result.complexity[method] for result in setting.results), strict=True)
    ]


def _diverged(setting: LaboratoryStudy[SparsifyResult], method: str) -> int:
    return sum(loss is None for each in setting.results for cell in each.complexity[method] for loss in cell)
