"""Claims about the number of iterations: findings from time results."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tokenprune.claims.theory.claim import TheoryFinding
from tokenprune.claims.theory.setting import Setting
from tokenprune.runs import TimeResult

if TYPE_CHECKING:
    import numpy as np

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
    times = _times(setting, "iterations")
    name, symbol, which = ("alpha_*", "h", 1) if variant is None else ("eta", "k", 2)
    design = _design(result)
    medians = _medians(times)
    estimate = _coefficient(design, medians[None], which)
    left_out = int((medians == math.inf).sum())
    finding = partial(
        TheoryFinding,
        settings=(setting,),
        what=f"exponent {symbol} of T ~ {name}^-{symbol}",
        trials=times.shape[1],
        variant=variant,
        unit=f"exponent of 1 / {name}",
        todo=_longer(setting, left_out),
        details={
            "median": [
                [float(value) if value < math.inf else None for value in row]
                for row in medians.reshape(len(result.step_sizes), -1)
            ],
            "values": list(result.values),
            "step_sizes": list(result.step_sizes),
            "left_out": left_out,
            "exponent_to_no_error": _only(
                _coefficient(design, _medians(_times(setting, "iterations_to_no_error"))[None], which)
            ),
        },
    )
    effect = _only(estimate)
    if effect is None:
        return finding(lacking=f"fewer than two {name} have cells in which most trials reached zero loss")
    draws = _coefficient(design, _resampled(times), which)
    low, high = bounds(draws)
    return finding(effect=effect, low=low, high=high, p=partial(bootstrap_p, draws))


def _times(setting: Setting[TimeResult], table: str) -> "np.ndarray":
    """[cells, trials] over all seeds, cells by step size, then alpha_*; infinite where given up."""
    import numpy as np

    known = [
        [[math.inf if t is None else max(t, 1) for t in cell] for row in getattr(each, table) for cell in row]
        for each in setting.results
    ]
    return np.concatenate([np.asarray(cells, float) for cells in known], axis=1)


def _medians(times: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.median(times, axis=-1)


def _resampled(times: "np.ndarray") -> "np.ndarray":
    """Medians [draws, cells] of trials drawn anew within cells."""
    import numpy as np

    picks = np.random.default_rng(0).integers(0, times.shape[1], (DRAWS, *times.shape))
    return _medians(np.take_along_axis(times[None], picks, axis=2))


def _design(result: TimeResult) -> "np.ndarray":
    """[cells, 3]: 1, log 1 / alpha_*, log 1 / eta."""
    import numpy as np

    eta, alpha = np.meshgrid(np.log(result.step_sizes), np.log(result.values), indexing="ij")
    return np.stack([np.ones(alpha.size), -alpha.ravel(), -eta.ravel()], axis=1)


def _coefficient(design: "np.ndarray", medians: "np.ndarray", which: int) -> "np.ndarray":
    """Least squares of log medians [draws, cells] over the finite cells; draws that cannot tell are left out."""
    import numpy as np

    known = np.isfinite(medians)
    logs = np.log(np.where(known, medians, 1.0))
    masked = known[..., None] * design
    found = np.linalg.pinv(np.swapaxes(masked, 1, 2) @ design) @ (np.swapaxes(masked, 1, 2) @ logs[..., None])
    varied = np.where(known, design[:, which], np.nan)
    tells = [len(set(row[~np.isnan(row)])) > 1 for row in varied]
    return np.asarray(found[tells, which, 0])


def _only(values: "np.ndarray") -> float | None:
    return float(values[0]) if len(values) else None


def _longer(setting: Setting[TimeResult], left_out: int) -> str | None:
    if not left_out:
        return None
    limit = setting.first.limit
    return (
        f"In {left_out} {'cell' if left_out == 1 else 'cells'} at least half of the trials were given up after {limit} "
        f"iterations: more iterations:\n{setting.command({'convergence.iterations': 4 * limit})}"
    )
