"""Claims about the number of iterations: findings from time results."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.theory.time import TimeResult

if TYPE_CHECKING:
    import numpy as np

DRAWS = 2000
#: A line through two places fits whatever stands there.
PLACES = 3
#: Of fewer values not even smallest and largest enclose the median at 95 % (2 / 2^5 is more than 5 %).
TRIALS = 6


def convergence(settings: Sequence[LaboratoryStudy[Any]]) -> list[Finding]:
    """h and, as variant `eta`, k of T ~ alpha_*^-h eta^-k, ViTs. T: median over trials of the iterations needed.

    A median bears trials that were given up as long as they are fewer than half; other cells are left out.
    """
    found = []
    for setting in settings:
        if isinstance(setting.first, TimeResult) and setting.first.kind == "vit":
            found += [_exponent(setting, None), _exponent(setting, "eta")]
    return found


def _exponent(setting: LaboratoryStudy[TimeResult], variant: str | None) -> Finding:
    result = setting.first
    times = _times(setting, "iterations")
    name, symbol, which = ("alpha_*", "h", 1) if variant is None else ("eta", "k", 2)
    design = _design(result)
    medians = _medians(times)
    estimate = _coefficient(design, medians[None], which)
    left_out = int((medians == math.inf).sum())
    every = [_trials_of(setting, row, column) for row, column in _places(result)]
    given_up = sum(t is None for cell in every for t in cell)
    counted = [each.diverged for each in setting.results if each.diverged is not None]
    lost = sum(counted) if counted else None
    finding = partial(
        Finding,
        subject=setting,
        what=f"exponent {symbol} of T ~ {name}^-{symbol}",
        n=times.shape[1],
        more=partial(setting.further, times.shape[1]),
        variant=variant,
        unit=f"exponent of 1 / {name}",
        todo=_longer(setting, left_out, given_up, lost),
        beside=f"{lost} of {times.size} models diverged" if lost else None,
        details={
            "median": [
                [float(value) if value < math.inf else None for value in row]
                for row in medians.reshape(len(result.step_sizes), -1)
            ],
            "values": list(result.values),
            "step_sizes": list(result.step_sizes),
            "left_out": left_out,
            "given_up": given_up,
            "diverged": lost,
            "exponent_to_no_error": _only(
                _coefficient(design, _medians(_times(setting, "iterations_to_no_error"))[None], which)
            ),
        },
    )
    effect = _only(estimate)
    if effect is None:
        return finding(lacking=f"fewer than {PLACES} {name} have cells in which most trials reached zero loss")
    if times.shape[1] < TRIALS:
        return finding(
            estimate=Estimate(effect, None, None, times.shape[1], lambda bound: None),
            lacking=f"the median of {times.shape[1]} trials has no bootstrap interval, it takes {TRIALS}",
            todo=f"{TRIALS} trials:\n{setting.command({'convergence.trials': TRIALS})}",
        )
    draws = _coefficient(design, _resampled(times), which)
    return finding(estimate=Estimate.of_draws(effect, draws, times.shape[1]))


def _places(result: TimeResult) -> list[tuple[int, int]]:
    return [(row, column) for row in range(len(result.step_sizes)) for column in range(len(result.values))]


def _trials_of(setting: LaboratoryStudy[TimeResult], row: int, column: int) -> list[int | None]:
    return [t for each in setting.results for t in each.iterations[row][column]]


def _times(setting: LaboratoryStudy[TimeResult], table: str) -> "np.ndarray":
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
    """Least squares of log medians [draws, cells] over the finite cells; draws that cannot tell are left out.

    Those have fewer than three places along the axis, or cells along which both axes vary as one.
    """
    import numpy as np

    known = np.isfinite(medians)
    logs = np.log(np.where(known, medians, 1.0))
    masked = known[..., None] * design
    found = np.linalg.pinv(np.swapaxes(masked, 1, 2) @ design) @ (np.swapaxes(masked, 1, 2) @ logs[..., None])
    patterns, which_pattern = np.unique(known, axis=0, return_inverse=True)
    tells = np.array([_tells(design[pattern], which) for pattern in patterns])[which_pattern.reshape(-1)]
    return np.asarray(found[tells, which, 0])


def _tells(design: "np.ndarray", which: int) -> bool:
    """Whether these cells have places enough, and the other columns do not say what this one does."""
    import numpy as np

    if len(set(design[:, which])) < PLACES:
        return False
    others = np.delete(design, which, axis=1)
    return bool(np.linalg.matrix_rank(design) > np.linalg.matrix_rank(others))


def _only(values: "np.ndarray") -> float | None:
    return float(values[0]) if len(values) else None


def _longer(setting: LaboratoryStudy[TimeResult], left_out: int, given_up: int, lost: int | None) -> str | None:
    """More iterations for trials that were given up, smaller steps for those that diverged."""
    said = []
    if lost:
        smaller = [size / 2 for size in setting.first.step_sizes]
        said.append(
            f"{lost} models diverged, which more iterations would not mend: smaller step sizes:\n"
            f"{setting.command({'convergence.step_sizes': smaller})}"
        )
    if left_out and given_up > (lost or 0):
        limit = setting.first.limit
        said.append(
            f"In {left_out} {'cell' if left_out == 1 else 'cells'} at least half of the trials were given up after "
            f"{limit} iterations: more iterations:\n{setting.command({'convergence.iterations': 4 * limit})}"
        )
    return "\n".join(said) or None
