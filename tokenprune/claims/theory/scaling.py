"""Claims about sample complexity: findings from phase and sparsify results.

tokenprune.complexity is imported inside the functions: numpy costs more than most commands that never ask.
"""

import json
from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from tokenprune.claims.published import EXPONENTS, PHASE_VIT
from tokenprune.claims.theory.claim import TheoryFinding
from tokenprune.claims.theory.setting import Setting
from tokenprune.runs import PhaseResult, SparsifyResult

if TYPE_CHECKING:
    from tokenprune.complexity import Table

_NAMES = {"alpha": "alpha_*^-2", "noise": "tau", "start": "sigma"}


def against_alpha(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """Exponent of N50 against 1 / alpha_*, ViTs."""
    return [_exponent(setting) for setting in _phases(settings, "vit", "alpha")]


def against_noise(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """Slope of N50^-1/2 against tau, ViTs."""
    return [_slope(setting) for setting in _phases(settings, "vit", "noise")]


def against_start(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """Slope of N50^-1/2 against sigma, ViTs."""
    return [_slope(setting) for setting in _phases(settings, "vit", "start")]


def against_cnn(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
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


def after_removal(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """log2 of N50 after removal over N50 before, and over N50 after random removal of as many tokens."""
    found = []
    for setting in settings:
        if isinstance(setting.first, SparsifyResult):
            methods = set(setting.first.complexity)
            pairs = [(method, "none") for method in ("irrelevant", "noisy")]
            pairs += [(method, "random") for method in ("irrelevant", "noisy", "magnitude")]
            found += [_ratio(setting, *pair) for pair in pairs if methods.issuperset(pair)]
    return found


def _phases(settings: Sequence[Setting[Any]], kind: str, axis: str) -> list[Setting[PhaseResult]]:
    return [
        setting
        for setting in settings
        if isinstance(setting.first, PhaseResult) and (setting.first.kind, setting.first.axis) == (kind, axis)
    ]


def _successes(setting: Setting[PhaseResult]) -> tuple[list[list[int]], int]:
    """By value, N, over all seeds; and of how many trials each."""
    tables = [result.successes() for result in setting.results]
    pooled = [[sum(cell) for cell in zip(*columns, strict=True)] for columns in zip(*tables, strict=True)]
    return pooled, sum(result.trials for result in setting.results)


def _exponent(setting: Setting[PhaseResult]) -> TheoryFinding:
    from tokenprune.complexity import power_law

    result = setting.first
    successes, trials = _successes(setting)
    power = power_law([value**0.5 for value in result.values], result.samples, successes, trials)
    return TheoryFinding(
        settings=(setting,),
        what="exponent g of N50 ~ alpha_*^-g",
        trials=trials,
        effect=power.estimate,
        low=power.low,
        high=power.high,
        p=power.p,
        lacking=power.lacking,
        todo=_wider(setting, successes, trials),
        details={
            **_table(setting, successes, trials),
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


def _offset(values: Sequence[float], samples: Sequence[int], successes: "Table", trials: int) -> float | None:
    """a in N50 ~ (alpha_* - a)^-2, the theorem's full form; None where samples do not fall as alpha_* grows."""
    from tokenprune.complexity import line

    fit = line([value**-0.5 for value in values], samples, successes, trials, draws=1)
    return fit.zero if fit.estimate is not None and fit.estimate > 0 else None


def _slope(setting: Setting[PhaseResult]) -> TheoryFinding:
    from tokenprune.complexity import line

    result = setting.first
    successes, trials = _successes(setting)
    fit = line(result.values, result.samples, successes, trials)
    name = _NAMES[result.axis]
    return TheoryFinding(
        settings=(setting,),
        what=f"slope of N50^-1/2 against {name}",
        trials=trials,
        effect=fit.estimate,
        low=fit.low,
        high=fit.high,
        p=fit.p,
        lacking=fit.lacking,
        todo=_wider(setting, successes, trials),
        details={
            **_table(setting, successes, trials),
            "intercept": fit.intercept,
            "slope": fit.slope,
            "zero": fit.zero if fit.estimate is not None and fit.estimate < 0 else None,
            "fitted_n50": [fit.n50(value) for value in result.values],
        },
    )


def _difference(vit: Setting[PhaseResult], cnn: Setting[PhaseResult]) -> TheoryFinding:
    from tokenprune.complexity import bootstrap_p, bounds, power_law

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
        TheoryFinding,
        settings=(vit, cnn),
        what="exponent g of N50 ~ alpha_*^-g of the CNN less that of the ViT",
        trials=min(trials for *_, trials in tables),
        todo="\n".join(todo) or None,
        details={
            name: {
                "setting": setting.first.setting,
                "exponent": fit.estimate,
                "low": fit.low,
                "high": fit.high,
                "intercept": fit.intercept,
                "paper": EXPONENTS[name],
                **_table(setting, successes, trials),
            }
            for name, fit, (setting, successes, trials) in zip(("vit", "cnn"), fits, tables, strict=True)
        },
    )
    if first.estimate is None or second.estimate is None:
        return finding(lacking="; ".join(lacking))
    gaps = second.samples - first.samples
    low, high = bounds(gaps)
    return finding(effect=second.estimate - first.estimate, low=low, high=high, p=partial(bootstrap_p, gaps))


def _alone(cnn: Setting[PhaseResult]) -> TheoryFinding:
    return TheoryFinding(
        settings=(cnn,),
        what="",
        trials=_successes(cnn)[1],
        lacking="no ViT was trained and tested like this CNN",
        todo="The ViT beside it:\n" + cnn.command({"model.kind": "vit", "grid.samples": None}),
    )


def _task(setting: Setting[PhaseResult]) -> str:
    """What a ViT and a CNN must share to be compared."""
    recipe = setting.first.recipe
    grid = {key: value for key, value in recipe["grid"].items() if key != "samples"}
    return json.dumps([recipe["data"], recipe["train"], grid], sort_keys=True)


def _network(setting: Setting[PhaseResult]) -> str:
    return json.dumps({**setting.first.recipe["model"], "kind": None}, sort_keys=True)


def _ratio(setting: Setting[SparsifyResult], method: str, reference: str) -> TheoryFinding:
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
    return TheoryFinding(
        settings=(setting,),
        what=f"log2 of N50 with {result.complexity_removed} {method} tokens removed over N50 "
        + ("before" if reference == "none" else "with as many random ones removed"),
        trials=trials,
        variant=method if reference == "none" else f"{method} against random",
        effect=power.estimate,
        low=power.low,
        high=power.high,
        p=power.p,
        lacking=power.lacking and (" and ".join(beyond) or power.lacking),
        todo=_grid(setting, "removal.samples", result.samples, fit.bound, spoken),
        details={
            "samples": list(result.samples),
            "removed": result.complexity_removed,
            "n50": dict(zip((before, after), fit.n50, strict=True)),
            "bound": dict(zip((before, after), fit.bound, strict=True)),
            "successes": dict(zip((before, after), successes, strict=True)),
        },
    )


def _listed(places: Sequence[str]) -> str:
    shown = places if len(places) <= 4 else [*places[:3], f"at {len(places) - 3} more"]
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]


def _removed(method: str) -> str:
    return "before removal" if method == "none" else f"with {method} tokens removed"


def _removal(setting: Setting[SparsifyResult], method: str) -> list[int]:
    """Successes by N, over all seeds."""
    return [
        sum(loss is not None and loss < setting.first.success for cell in cells for loss in cell)
        for cells in zip(*(result.complexity[method] for result in setting.results), strict=True)
    ]


def _table(setting: Setting[PhaseResult], successes: list[list[int]], trials: int) -> dict[str, Any]:
    from tokenprune.complexity import columns

    result = setting.first
    fit = columns(result.values, result.samples, successes, trials)
    return {
        "values": list(result.values),
        "samples": list(result.samples),
        "successes": successes,
        "n50": fit.n50,
        "bound": fit.bound,
        "diverged": sum(count for each in setting.results for column in each.diverged() for count in column),
    }


def _wider(setting: Setting[PhaseResult], successes: list[list[int]], trials: int) -> str | None:
    """The grid that would give every column an N50."""
    from tokenprune.complexity import columns

    result = setting.first
    fit = columns(result.values, result.samples, successes, trials)
    names = [f"at {_NAMES[result.axis]} = {value:g}" for value in result.values]
    return _grid(setting, "grid.samples", result.samples, fit.bound, names)


def _grid(
    setting: Setting[Any], key: str, samples: Sequence[int], bound: Sequence[str | None], names: Sequence[str]
) -> str | None:
    """Says which columns have no N50, and the command that adds the N they lack; None where all have one."""
    failed = [name for name, side in zip(names, bound, strict=True) if side and side.startswith(">")]
    passed = [name for name, side in zip(names, bound, strict=True) if side and side.startswith("<")]
    batch = setting.first.recipe["train"]["batch_size"]
    more = {*samples}
    said = []
    if failed:
        said.append(f"no trial succeeded {_listed(failed)}: add larger N")
        more |= {2 * max(samples), 4 * max(samples)}
    if passed and (smaller := {n for n in (min(samples) // 2, min(samples) // 4) if n >= batch}):
        said.append(f"every trial succeeded {_listed(passed)}: add smaller N")
        more |= smaller
    if not said:
        return None
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}:\n{setting.command({key: sorted(more)})}"
