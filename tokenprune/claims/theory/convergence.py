"""Claims about the number of iterations: findings from time results."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from tokenprune.claims.theory.claim import TheoryFinding
from tokenprune.claims.theory.setting import Setting
from tokenprune.runs import TimeResult

DRAWS = 2000


def convergence(settings: Sequence[Setting[Any]]) -> list[TheoryFinding]:
    """h and, as variant `eta`, k of T ~ alpha_*^-h eta^-k, ViTs. T: median over trials of the iterations needed.

    A median bears trials that were given up as long as they are fewer than half; other cells are left out.
    """
    found = []
    for setting in settings:
        if isinstance(setting.first, TimeResult) and setting.first.kind == "vit":
            found += [_exponent(setting, None), _exponent(setting, "eta")]
    return found


def _exponent(setting: Setting[TimeResult], variant: str | None) -> TheoryFinding:
    from tokenprune.complexity import bootstrap_p, bounds

    result = setting.first
    trials = sum(len(each.iterations[0][0]) for each in setting.results)
    name, symbol = ("alpha_*", "h") if variant is None else ("eta", "k")
    which = 0 if variant is None else 1
    medians, (estimate, draws) = _fit(setting, "iterations", which)
    _, (by_errors, _) = _fit(setting, "iterations_to_no_error", which)
    left_out = sum(value is None for row in medians for value in row)
    finding = partial(
        TheoryFinding,
        settings=(setting,),
        what=f"exponent {symbol} of T ~ {name}^-{symbol}",
        trials=trials,
        variant=variant,
        unit=f"exponent of 1 / {name}",
        todo=_longer(setting, left_out),
        details={
            "median": medians,
            "values": list(result.values),
            "step_sizes": list(result.step_sizes),
            "left_out": left_out,
            "exponent_to_no_error": by_errors,
        },
    )
    if estimate is None:
        return finding(lacking=f"fewer than two {name} have cells in which most trials reached zero loss")
    low, high = bounds(draws)
    return finding(effect=estimate, low=low, high=high, p=partial(bootstrap_p, draws))


def _fit(setting: Setting[TimeResult], table: str, which: int) -> tuple[list[list[float | None]], tuple[Any, Any]]:
    """Medians by step size, alpha_*; and the exponent of 1 / alpha_* (0) or 1 / eta (1) with bootstrap draws of it.

    Least squares of log T on both logarithms over the cells that have a median, in each draw anew.
    """
    import numpy as np

    result = setting.first
    tables = [
        [[[math.inf if t is None else max(t, 1) for t in cell] for cell in row] for row in getattr(each, table)]
        for each in setting.results
    ]
    times = np.concatenate([np.asarray(each, float) for each in tables], axis=2)
    times = times.reshape(-1, times.shape[2])
    middle = np.median(times, axis=1)
    known = np.isfinite(middle)
    grid = np.meshgrid(np.log(result.step_sizes), np.log(result.values), indexing="ij")
    eta, alpha = (-part.ravel() for part in grid)
    medians = [
        [float(value) if math.isfinite(value) else None for value in row]
        for row in middle.reshape(len(result.step_sizes), -1)
    ]
    design = np.stack([np.ones_like(alpha), *([alpha] if _varies(alpha[known]) else []), eta], axis=1)
    if not _varies(eta[known]):
        design = design[:, :-1]
    wanted = (alpha, eta)[which]
    if not _varies(wanted[known]):
        return medians, (None, np.empty(0))
    column = 1 if which == 0 else design.shape[1] - 1
    picks = np.random.default_rng(0).integers(0, times.shape[1], (DRAWS, *times.shape))
    drawn = np.median(np.take_along_axis(times[None], picks, axis=2), axis=2)
    sampled = np.stack([_least_squares(design, np.log(middle)), *(_least_squares(design, np.log(d)) for d in drawn)])
    draws = sampled[1:, column]
    return medians, (float(sampled[0, column]), draws[np.isfinite(draws)])


def _least_squares(design: Any, logs: Any) -> Any:
    """Coefficients over the cells that are finite; NaN where those do not determine them."""
    import numpy as np

    known = np.isfinite(logs)
    found, _, rank, _ = np.linalg.lstsq(design[known], logs[known], rcond=None)
    return found if rank == design.shape[1] else np.full(design.shape[1], np.nan)


def _varies(values: Any) -> bool:
    return len(set(values.tolist())) > 1


def _longer(setting: Setting[TimeResult], left_out: int) -> str | None:
    if not left_out:
        return None
    limit = setting.first.limit
    return (
        f"In {left_out} {'cell' if left_out == 1 else 'cells'} at least half of the trials were given up after {limit} "
        f"iterations: more iterations:\n{setting.command({'convergence.iterations': 4 * limit})}"
    )
