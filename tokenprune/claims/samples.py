"""The claim about sample complexity: findings from test accuracy over alpha_* and the number of training images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from statistics import fmean

import numpy as np

from tokenprune.claims.accuracy import UNKNOWN
from tokenprune.claims.claim import Finding
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.learning_curves import Shift, fit_shift
from tokenprune.claims.study import SAMPLES, Group, TrainedStudy, pruned
from tokenprune.claims.training import finding, less, shared
from tokenprune.complexity import bounds

#: Train sizes: the smallest, the largest, and one at least whose accuracy is a target.
_SIZES = 3
#: Alphas that differ by less are one.
_SAME = 1e-6
#: A model whose AIC is lower by more describes the curves better.
_AIC = 2.0
#: Of accuracies: means of pooled points differ in the last digits.
_ROUNDING = 1e-12


def fewer_samples(found: Sequence[TrainedStudy]) -> list[Finding]:
    """k in accuracy = A - B (N alpha_*^k)^-c, as of `fit_shift`: alpha_*^-k as many images do as well."""
    return [_finding(group) for group in over_samples(found)]


def relevance_counts(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy with the oracle less with random at one keep ratio, mean over N."""
    findings = []
    for group in pruned(found, SAMPLES):
        pairs = [
            (oracle, random)
            for oracle in group.of("oracle")
            for random in group.of("random")
            if (oracle.stays, oracle.samples, _length(oracle)) == (random.stays, random.samples, _length(random))
        ]
        sizes = sorted({oracle.samples for oracle, _ in pairs})
        if len(sizes) < _SIZES:
            continue
        keeps = ", ".join(f"{keep:g}" for keep in sorted({oracle.keep for oracle, _ in pairs}))
        what = f"accuracy with oracle less with random at keep ratio {keeps}, mean over N {sizes[0]:,} to {sizes[-1]:,}"
        findings.append(less(group, pairs, [arm for pair in pairs for arm in pair], what))
    return findings


def over_samples(found: Sequence[TrainedStudy]) -> list[Group]:
    """Settings that differ in pruner and N, each N trained at one length; none without an oracle or of a single N."""
    groups = []
    for group in pruned(found, SAMPLES):
        one_length = tuple(setting for row in _cells(group).values() for setting in row.values())
        if group.of("oracle") and len({setting.samples for setting in one_length}) > 1:
            groups.append(replace(group, settings=one_length))
    return groups


@dataclass(frozen=True)
class Needed:
    """Images needed by a group's curves of accuracy over N, a curve for each alpha_*.

    alphas: rising. samples: N that all curves have. arms: by alpha, then N. by_seed: N needed at each alpha_*, a row
    per target accuracy, which are those of the least alpha_* at its N but the first and the last; censored at the edge
    of the N measured.
    """

    alphas: tuple[float, ...]
    samples: tuple[int, ...]
    arms: tuple[TrainedStudy, ...]
    by_seed: Mapping[int, Sequence[Sequence[float]]]

    @property
    def middle(self) -> int:
        """N at which the curve of the least alpha_* has the middle target accuracy."""
        return self.samples[(len(self.samples) - 1) // 2]

    @property
    def at_middle(self) -> list[float]:
        """N needed for the middle target at each alpha_*, geometric mean over seeds."""
        return [math.exp(fmean(map(math.log, column))) for column in zip(*self._middles, strict=True)]

    @property
    def censored(self) -> list[float]:
        """Share of the seeds whose N needed for the middle target lies at or beyond the N measured, at each alpha_*."""
        edges = self.samples[0] * (1 + _SAME), self.samples[-1] * (1 - _SAME)
        return [fmean(not edges[0] < n < edges[1] for n in column) for column in zip(*self._middles, strict=True)]

    @property
    def _middles(self) -> list[Sequence[float]]:
        return [rows[(len(rows) - 1) // 2] for rows in self.by_seed.values()]


def images_needed(group: Group) -> Needed | None:
    """None where no two alpha_* are known on the same three N."""
    curves = [row for row in _cells(group).values() if len(row) >= _SIZES]
    samples = sorted(set.intersection(*map(set, curves))) if curves else []
    if len(samples) < _SIZES or any(row[n].alpha is None for row in curves for n in samples):
        return None
    by_alpha = sorted(((fmean(row[n].alpha or 0 for n in samples), row) for row in curves), key=itemgetter(0))
    alphas = tuple(alpha for alpha, _ in by_alpha)
    arms = tuple(row[n] for _, row in by_alpha for n in samples)
    if alphas[-1] - alphas[0] < _SAME:
        return None
    by_seed = {}
    for seed in shared(arm.accuracy for arm in arms):
        by_row = [rising([row[n].accuracy[seed] for n in samples]) for _, row in by_alpha]
        by_seed[seed] = [[samples_needed(samples, curve, target) for curve in by_row] for target in by_row[0][1:-1]]
    return Needed(alphas, tuple(samples), arms, by_seed)


def samples_needed(samples: Sequence[int], accuracy: Sequence[float], target: float) -> float:
    """N at which the curve, which does not fall over N and is straight in log N between its points, has the target.

    Clipped to the range of `samples`, which rise; the middle, in log N, of a stretch that has it. So a curve and its
    mirror image are read alike, and chance makes N too large as often as too small.
    """
    logs = [math.log(n) for n in samples]
    first = _reached(logs, accuracy, target)
    last = -_reached([-n for n in reversed(logs)], [-value for value in reversed(accuracy)], -target)
    return math.exp((first + last) / 2)


def _reached(x: Sequence[float], y: Sequence[float], target: float) -> float:
    """Smallest x at which y, straight between its points, is at least the target; the last x where it never is."""
    reached = next((i for i, value in enumerate(y) if value >= target - _ROUNDING), None)
    if reached is None:
        return x[-1]
    if reached == 0:
        return x[0]
    share = min(1.0, (target - y[reached - 1]) / (y[reached] - y[reached - 1]))
    return (1 - share) * x[reached - 1] + share * x[reached]


def rising(accuracy: Sequence[float]) -> list[float]:
    """The nearest curve, by least squares, that never falls."""
    from scipy.optimize import isotonic_regression

    return [float(value) for value in isotonic_regression(accuracy).x]


#: By method and keep ratio, then by N.
_Cells = dict[tuple[str, float], dict[int, TrainedStudy]]


def _cells(group: Group) -> _Cells:
    """One training for each N: of the length that most settings share, or else the longest."""
    there = group.of("none", "oracle")
    common = {length: sum(_length(setting) == length for setting in there) for length in map(_length, there)}
    cells: _Cells = {}
    for setting in sorted(there, key=lambda setting: (common[_length(setting)], setting.runs[0].result.epochs)):
        cells.setdefault((setting.method, setting.keep), {})[setting.samples] = setting
    return cells


def _length(setting: TrainedStudy) -> tuple[object, ...]:
    return tuple(setting.science[key] for key in SAMPLES)


def _finding(group: Group) -> Finding:
    cells, arms = _cells(group), group.of("none", "oracle")
    if len({setting.samples for setting in arms}) < _SIZES:
        missing = [*_missing(group, cells), *_between(cells)]
        return finding(group, arms, {}, "", "needs three train sizes", missing)
    needed = images_needed(group)
    if needed is None and any(arm.alpha is None for arm in arms):
        return finding(group, (), {}, "", UNKNOWN)
    if needed is None:
        lacking = "no two alpha_* were trained on the same three numbers of images"
        return finding(group, arms, {}, "", lacking, _missing(group, cells))
    alphas, samples, n = needed.alphas, needed.samples, len(needed.by_seed)
    what = (
        f"k in accuracy = A - B (N alpha_*^k)^-c, alpha_* {alphas[0]:.2f} to {alphas[-1]:.2f}, "
        f"N {samples[0]:,} to {samples[-1]:,}"
    )
    about = finding(group, needed.arms, dict.fromkeys(needed.by_seed, 0.0), what)
    if not n:
        return about
    answers = _answers(needed)
    try:
        shift = _shift(needed, answers)
    except ValueError as error:
        return replace(about, estimate=None, n=n, lacking=str(error))
    low, high = bounds(shift.draws) if n > 1 else (None, None)
    estimate = Estimate(shift.k, low, high, n, shift.p, "seeds")
    fits = "as well" if abs(shift.rival) <= _AIC else "better" if shift.rival > 0 else "worse"
    drawn = "seeds alone" if answers is None else "seeds and test images"
    beside = f"interval over {drawn}; a shift of accuracy, the same at every N, fits {fits} (AIC {-shift.rival:+.1f})"
    if shift.rival > _AIC:
        beside += ", so k has a sign but no meaning as an exponent"
    return replace(about, estimate=estimate, beside=beside)


def _answers(needed: Needed) -> np.ndarray | None:
    """Which test images were right, [seeds, arms, images]; None where any is unknown, or of other numbers of images."""
    right = [[arm.answers[seed] for arm in needed.arms] for seed in needed.by_seed]
    sizes = {None if each is None else len(each) for row in right for each in row}
    return np.array(right) if len(sizes) == 1 and None not in sizes else None


def _shift(needed: Needed, answers: np.ndarray | None) -> Shift:
    """Raises ValueError where accuracy does not rise with N."""
    seeds, arms = list(needed.by_seed), needed.arms
    return fit_shift(
        np.tile(np.array(needed.samples, float), len(needed.alphas)),
        np.repeat(needed.alphas, len(needed.samples)),
        np.array([[arm.accuracy[seed] for arm in arms] for seed in seeds]),
        answers,
        np.array([arm.samples * arm.runs[0].result.epochs / arm.science.get("train.batch_size", 1) for arm in arms]),
    )


def _missing(group: Group, cells: _Cells) -> list[tuple[TrainedStudy, tuple[str, ...]]]:
    """What fills the table of methods and train sizes."""
    table = {("none", 1.0): {}, **cells}
    there = {n: setting for row in cells.values() for n, setting in row.items()}
    found = []
    for (method, keep), row in table.items():
        change = [f"pruner.name={method}"]
        change += [f"pruner.keep_ratio={keep:g}", f"pruner.site={group.site}"] if method != "none" else []
        found += [(there[n], tuple(change)) for n in sorted(there) if n not in row]
    return found


def _between(cells: _Cells) -> list[tuple[TrainedStudy, tuple[str, ...]]]:
    """A third train size in every row: in the middle of the two, and as long trained as lies in the middle."""
    there = {n: setting for row in cells.values() for n, setting in row.items()}
    (few, first), (many, second) = sorted(there.items())
    middle = [math.sqrt(first.science[key] * second.science[key]) for key in SAMPLES[1:]]
    values = (round(math.sqrt(few * many)), round(middle[0]), round(middle[1], 3))
    change = tuple(f"{key}={value:g}" for key, value in zip(SAMPLES, values, strict=True))
    return [(next(iter(row.values())), change) for row in cells.values()]
