"""Claims about sample complexity: findings from phase results.

tokenprune.complexity is imported inside the functions: numpy costs more than most commands that never ask.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.published import EXPONENTS, PHASE_VIT
from tokenprune.claims.theory.grid import wider
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.theory.phase import PhaseResult

if TYPE_CHECKING:
    from tokenprune.complexity import Table

#: Parts of the largest N up to which the exponent is fitted again.
_PARTS = (1, 2, 4, 8)

_NAMES = {"alpha": "alpha_*^-2", "noise": "tau", "start": "sigma"}


def against_alpha(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Exponent of N50 against 1 / alpha_*, ViTs."""
    return [_exponent(setting) for setting in _phases(settings, "vit", "alpha")]


def against_noise(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Slope of N50^-1/2 against tau, ViTs."""
    return [_slope(setting) for setting in _phases(settings, "vit", "noise")]


def against_start(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Slope of N50^-1/2 against sigma, ViTs."""
    return [_slope(setting) for setting in _phases(settings, "vit", "start")]


def against_cnn(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """Exponent of a CNN less that of the ViT on the same data, trained and tested alike.

    A network meets the other with the same model section but for the kind, and all others only if there is none.
    """
    vits, cnns = _phases(settings, "vit", "alpha"), _phases(settings, "cnn", "alpha")
    found = []
    for cnn in cnns:
        rivals = [vit for vit in vits if _task(vit) == _task(cnn)]
        twins = [vit for vit in rivals if _network(vit) == _network(cnn)]
        free = [vit for vit in rivals if all(_network(vit) != _network(other) for other in cnns)]
        found += [_difference(vit, cnn) for vit in twins or free]
        if not (twins or free):
            found.append(_alone(cnn))
    return found


def _phases(settings: Sequence[LaboratoryStudy[Any]], kind: str, axis: str) -> list[LaboratoryStudy[PhaseResult]]:
    return [
        setting
        for setting in settings
        if isinstance(setting.first, PhaseResult) and (setting.first.kind, setting.first.axis) == (kind, axis)
    ]


def _successes(setting: LaboratoryStudy[PhaseResult]) -> tuple[list[list[int]], int]:
    """By value, N, over all seeds; and of how many trials each."""
    tables = [result.successes() for result in setting.results]
    pooled = [[sum(cell) for cell in zip(*columns, strict=True)] for columns in zip(*tables, strict=True)]
    return pooled, sum(result.trials for result in setting.results)


def _exponent(setting: LaboratoryStudy[PhaseResult]) -> Finding:
    from tokenprune.complexity import power_law

    result = setting.first
    successes, trials = _successes(setting)
    checked = checks(result.values, result.samples, successes, trials)
    lapsing = checked["with_lapse"]
    power = power_law([value**0.5 for value in result.values], result.samples, successes, trials)
    return Finding(
        subject=setting,
        what="exponent g of N50 ~ alpha_*^-g",
        estimate=Estimate.of_fit(power, trials),
        n=trials,
        more=partial(setting.further, trials),
        lacking=power.lacking,
        todo=_wider(setting, successes, trials),
        beside=lapsing and f"{lapsing['exponent']:.3g} with a lapse of {lapsing['lapse']:.1%}",
        details={
            **_table(setting, successes, trials),
            **checked,
            "intercept": power.intercept,
            "slope": power.slope,
            "fitted_n50": [power.n50(value**0.5) for value in result.values],
            "offset": _offset(result.values, result.samples, successes, trials),
            "paper": EXPONENTS[result.kind],
            "published": published_exponent(),
        },
    )


@cache
def published_exponent() -> dict[str, float | None]:
    """The exponent of the published phase diagram, which was fitted like every other."""
    from tokenprune.complexity import power_law

    table = PHASE_VIT
    power = power_law([value**0.5 for value in table.values], table.samples, table.successes, table.trials)
    return {
        "exponent": power.estimate,
        "low": power.low,
        "high": power.high,
        "offset": _offset(table.values, table.samples, table.successes, table.trials),
    }


def training_time(setting: LaboratoryStudy[Any]) -> float:
    """eta epochs / batch: what N is multiplied with to count steps of SGD by their size."""
    train = setting.first.recipe["train"]
    return float(train["step_size"] * train["epochs"] / train["batch_size"])


def checks(values: Sequence[float], samples: Sequence[int], successes: "Table", trials: int) -> dict[str, Any]:
    """What stands beside the exponent: deviance, lack of fit, a success rate that need not reach 1, smaller grids.

    exponent_up_to: by the largest N that is used; null where what is left has no exponent.
    """
    from tokenprune.complexity import columns, lack_of_fit, power_law
    from tokenprune.lapse import lapsing

    x = [value**0.5 for value in values]
    power = power_law(x, samples, successes, trials, draws=1)
    lacking = lack_of_fit(power, columns(values, samples, successes, trials))
    found = lapsing(x, samples, successes, trials)
    smaller = {}
    for part in _PARTS:
        rows = [row for row, n in enumerate(samples) if n <= max(samples) / part]
        if len(rows) > 1:
            table = [[column[row] for row in rows] for column in successes]
            law = power_law(x, [samples[row] for row in rows], table, trials, draws=1)
            smaller[str(samples[rows[-1]])] = law.estimate
    return {
        "deviance": power.deviance,
        "freedom": power.freedom,
        "lack_of_fit": lacking and asdict(lacking),
        "with_lapse": found and asdict(found),
        "exponent_up_to": smaller,
    }


def _offset(values: Sequence[float], samples: Sequence[int], successes: "Table", trials: int) -> float | None:
    """a in N50 ~ (alpha_* - a)^-2, the theorem's full form; None where samples do not fall as alpha_* grows."""
    from tokenprune.complexity import line

    fit = line([value**-0.5 for value in values], samples, successes, trials, draws=1)
    return fit.zero if fit.estimate is not None and fit.estimate > 0 else None


def _slope(setting: LaboratoryStudy[PhaseResult]) -> Finding:
    from tokenprune.complexity import columns, lack_of_fit, line

    result = setting.first
    successes, trials = _successes(setting)
    fit = line(result.values, result.samples, successes, trials)
    lacking = lack_of_fit(fit, columns(result.values, result.samples, successes, trials))
    name = _NAMES[result.axis]
    return Finding(
        subject=setting,
        what=f"slope of N50^-1/2 against {name}",
        estimate=Estimate.of_fit(fit, trials),
        n=trials,
        more=partial(setting.further, trials),
        lacking=fit.lacking,
        todo=_wider(setting, successes, trials),
        beside=f"form (Theta(1) - {name})^-2: lack of fit p {_p(lacking.p)}" if lacking else None,
        details={
            **_table(setting, successes, trials),
            "deviance": fit.deviance,
            "freedom": fit.freedom,
            "lack_of_fit": lacking and asdict(lacking),
            "intercept": fit.intercept,
            "slope": fit.slope,
            "zero": fit.zero if fit.estimate is not None and fit.estimate < 0 else None,
            "fitted_n50": [fit.n50(value) for value in result.values],
        },
    )


def _p(value: float) -> str:
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"


def _difference(vit: LaboratoryStudy[PhaseResult], cnn: LaboratoryStudy[PhaseResult]) -> Finding:
    from tokenprune.complexity import power_law

    fits, tables = [], []
    for seed, setting in enumerate((vit, cnn)):
        successes, trials = _successes(setting)
        x = [value**0.5 for value in setting.first.values]
        fits.append(power_law(x, setting.first.samples, successes, trials, seed=seed))
        tables.append((setting, successes, trials))
    first, second = fits
    lacking = [f"{name}: {fit.lacking}" for name, fit in zip(("vit", "cnn"), fits, strict=True) if fit.lacking]
    todo = [text for table in tables if (text := _wider(*table)) is not None]
    finding = partial(
        Finding,
        subject=vit,
        others=(cnn,),
        what="exponent g of N50 ~ alpha_*^-g of the CNN less that of the ViT",
        n=min(trials for *_, trials in tables),
        more=partial(_more_of_both, vit, cnn, min(trials for *_, trials in tables)),
        todo="\n".join(todo) or None,
        details={
            name: {
                "setting": setting.first.setting,
                "exponent": fit.estimate,
                "low": fit.low,
                "high": fit.high,
                "intercept": fit.intercept,
                "paper": EXPONENTS[name],
                **checks(setting.first.values, setting.first.samples, successes, trials),
                **_table(setting, successes, trials),
            }
            for name, fit, (setting, successes, trials) in zip(("vit", "cnn"), fits, tables, strict=True)
        },
    )
    if first.estimate is None or second.estimate is None:
        return finding(lacking="; ".join(lacking))
    gap, gaps = second.estimate - first.estimate, second.samples - first.samples
    return finding(
        estimate=Estimate.of_draws(gap, gaps, min(trials for *_, trials in tables)),
        beside="; ".join(
            f"{name} {fit.estimate:.3g} ({fit.low:.3g} to {fit.high:.3g})"
            for name, fit in zip(("CNN", "ViT"), (second, first), strict=True)
        ),
    )


def _more_of_both(
    vit: LaboratoryStudy[PhaseResult], cnn: LaboratoryStudy[PhaseResult], have: int, wanted: int
) -> list[str]:
    """Further trials are needed of the ViT and of the CNN alike."""
    return [*vit.further(have, wanted), *cnn.further(have, wanted)[1:]]


def _alone(cnn: LaboratoryStudy[PhaseResult]) -> Finding:
    return Finding(
        subject=cnn,
        what="",
        n=_successes(cnn)[1],
        lacking="no ViT was trained and tested like this CNN",
        todo="The ViT beside it:\n" + cnn.command({"model.kind": "vit", "grid.samples": None}),
    )


def _task(setting: LaboratoryStudy[PhaseResult]) -> str:
    """What a ViT and a CNN must share to be compared."""
    recipe = setting.first.recipe
    grid = {key: value for key, value in recipe["grid"].items() if key != "samples"}
    return json.dumps([recipe["data"], recipe["train"], grid], sort_keys=True)


def _network(setting: LaboratoryStudy[PhaseResult]) -> str:
    return json.dumps({**setting.first.recipe["model"], "kind": None}, sort_keys=True)


def _table(setting: LaboratoryStudy[PhaseResult], successes: list[list[int]], trials: int) -> dict[str, Any]:
    from tokenprune.complexity import columns

    result = setting.first
    fit = columns(result.values, result.samples, successes, trials)
    return {
        "values": list(result.values),
        "samples": list(result.samples),
        "successes": successes,
        "n50": fit.n50,
        "bound": fit.bound,
        "n50_in_training_time": [n and n * training_time(setting) for n in fit.n50],
        "diverged": sum(count for each in setting.results for column in each.diverged() for count in column),
    }


def _wider(setting: LaboratoryStudy[PhaseResult], successes: list[list[int]], trials: int) -> str | None:
    """The grid that would give every column an N50."""
    from tokenprune.complexity import columns

    result = setting.first
    fit = columns(result.values, result.samples, successes, trials)
    names = [f"at {_NAMES[result.axis]} = {value:g}" for value in result.values]
    lost = [
        sum(count for column in columns for count in column)
        for columns in zip(*(each.diverged() for each in setting.results), strict=True)
    ]
    return wider(setting, "grid.samples", result.samples, fit.bound, names, lost, trials * len(result.samples))
