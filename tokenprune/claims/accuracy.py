"""Claims about accuracy under pruning: findings from prune results."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from tokenprune.claims import commands
from tokenprune.claims.claim import Finding, Support
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.evidence import RunData, answers
from tokenprune.claims.study import TrainedStudy
from tokenprune.runs import PrunePoint, PruneResult
from tokenprune.statistics import image_variance

#: A ratio at which the oracle keeps this share of the relevant area removes label-irrelevant tokens only.
RECALL = 0.99

UNKNOWN = "this data set does not say which tokens are label-relevant"


class Condition(NamedTuple):
    """What two prunes must share to be compared."""

    site: str
    finetune_epochs: int
    images: int

    def __str__(self) -> str:
        epochs = "1 epoch" if self.finetune_epochs == 1 else f"{self.finetune_epochs} epochs"
        tuned = f", {epochs} of fine-tuning" if self.finetune_epochs else ""
        return f"site {self.site}{tuned}"

    @classmethod
    def of(cls, prune: PruneResult) -> "Condition":
        return cls(prune.written_site, prune.finetune_epochs, prune.count)


def curve_name(method: str, options: Mapping[str, Any]) -> str:
    """The method, with options where it was given any."""
    given = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    return f"{method} ({given})" if given else method


@dataclass(frozen=True)
class Points:
    """A method's points in one run that remove tokens: by ratio, one per draw; and where they were read.

    by_ratio: what is not one ratio for all sites has its text as a key (`PrunePoint.keep`). rows: likewise, the
    folder, result and row of predictions of each draw.
    """

    by_ratio: Mapping[float | str, list[PrunePoint]]
    evidence: tuple[str, ...]
    rows: Mapping[float | str, list[tuple[Path, PruneResult, int]]]

    def accuracy(self, ratio: float | str) -> float:
        """Mean over draws."""
        return fmean(point.accuracy for point in self.by_ratio[ratio])

    def answers(self, ratios: Sequence[float | str]) -> "np.ndarray | None":
        """Share of ratios and draws at which each test image was right, [images]; None where that is unknown."""
        paths = {path for ratio in ratios for path, *_ in self.rows[ratio]}
        known = {path: found for path in paths if (found := self._right[path]) is not None}
        if not ratios or len(known) < len(paths):
            return None
        return sum(
            known[path][row] / len(self.rows[ratio]) / len(ratios)
            for ratio in ratios
            for path, _, row in self.rows[ratio]
        )

    def unpruned(self) -> "np.ndarray | None":
        """Which test images the model with all tokens has right, [images], where that was measured beside."""
        for path, result in self._files.items():
            whole = [row for row, point in enumerate(result.points) if point.realised[-1] >= 1]
            if whole and (found := self._right[path]) is not None:
                return found[whole[0]].astype(float)
        return None

    @property
    def _files(self) -> dict[Path, PruneResult]:
        return {path: result for rows in self.rows.values() for path, result, _ in rows}

    @cached_property
    def _right(self) -> "dict[Path, np.ndarray | None]":
        """What each file says of which images were right, read once."""
        return {path: answers(path, result) for path, result in self._files.items()}

    def above_chance(self, ratio: float) -> float | None:
        """Share of the relevant area that is kept less the share of tokens, mean over draws; None if unknown."""
        excess = [
            point.relevant_recall - point.realised[-1]
            for point in self.by_ratio[ratio]
            if point.relevant_recall is not None
        ]
        return fmean(excess) if excess else None


@dataclass(frozen=True)
class _Effect:
    """What a claim computes from the points of its methods, in one study under one condition.

    values: by seed. keep: the ratios that it is at, or that are to be measured. unknowable: no further run helps.
    images: variance from the choice of test images; None where answers by image are not known. support: as in Finding.
    """

    values: Mapping[int, float]
    what: str
    keep: Sequence[float]
    lacking: str | None = None
    unknowable: bool = False
    images: float | None = None
    support: Support | None = None


#: A method's points in each run that has some of all methods, by seed, methods in order.
_Measured = Mapping[int, tuple[Points, ...]]


def compare(study: TrainedStudy, subject: str, reference: str) -> list[Finding]:
    """Accuracy of `subject` less that of `reference`, mean over the ratios below 1 that all runs share."""

    def effect(measured: _Measured) -> _Effect:
        ratios = _shared(measured)
        by_ratio = {
            seed: [first.accuracy(ratio) - second.accuracy(ratio) for ratio in ratios]
            for seed, (first, second) in measured.items()
        }
        lacking = None if ratios else f"{subject} and {reference} share no keep ratio below 1"
        found = _over_ratios(ratios, by_ratio, f"accuracy of {subject} less that of {reference}", lacking)
        pairs = [(first.answers(ratios), second.answers(ratios)) for first, second in measured.values()]
        return replace(found, images=paired(pairs))

    return _findings(study, (subject, reference), effect)


def paired(answers: Sequence[tuple["np.ndarray | None", "np.ndarray | None"]]) -> float | None:
    """`image_variance` of the first less the second of each seed, [images] each; None where any is unknown.

    Nor is it known where seeds were tested on different numbers of images.
    """
    known = [(first, second) for first, second in answers if first is not None and second is not None]
    if not known or len(known) < len(answers) or len({len(each) for pair in known for each in pair}) > 1:
        return None
    return image_variance(np.stack([first - second for first, second in known]))


def relevance_kept(study: TrainedStudy) -> list[Finding]:
    """Share of the relevant area that magnitude keeps less the share of tokens that it keeps, as chance would have it.

    Mean over the ratios below 1 that all runs share.
    """

    def effect(measured: _Measured) -> _Effect:
        ratios = _shared(measured)
        above = {seed: [points.above_chance(ratio) for ratio in ratios] for seed, (points,) in measured.items()}
        known = {seed: [x for x in excess if x is not None] for seed, excess in above.items()}
        if known != above:
            return _Effect({}, "", ratios, UNKNOWN, unknowable=True)
        what = "share of the relevant area that magnitude keeps less the share of tokens"
        return _over_ratios(ratios, known, what, None if ratios else "the runs share no keep ratio below 1")

    return _findings(study, ("magnitude",), effect)


def irrelevant_removed(study: TrainedStudy) -> list[Finding]:
    """Accuracy of the oracle less the unpruned model's, at the smallest ratio that keeps the relevant area.

    The ratio is chosen by relevance alone, never by accuracy, so that the choice does not favour the claim. It costs
    little if less than a twentieth of what the model's accuracy is above chance is lost.
    """

    def effect(measured: _Measured) -> _Effect:
        oracle = {seed: points for seed, (points,) in measured.items()}
        at = _irrelevant_gone(oracle.values(), _shared(measured))
        if isinstance(at, _Effect):
            return at
        ratio, keeps = at
        values = {seed: fmean(point.difference for point in points.by_ratio[ratio]) for seed, points in oracle.items()}
        what = f"accuracy of oracle less the unpruned model's at keep ratio {ratio:g}, {keeps}"
        images = paired([(points.answers([ratio]), points.unpruned()) for points in oracle.values()])
        return _Effect(values, what, [ratio], images=images, support=(-margin(study), None))

    return _findings(study, ("oracle",), effect)


def oracle_against_random(study: TrainedStudy) -> list[Finding]:
    """Accuracy of the oracle less that of random at as many tokens, at the ratio of `irrelevant_removed`."""

    def effect(measured: _Measured) -> _Effect:
        oracles = {seed: (oracle,) for seed, (oracle, _) in measured.items()}
        at = _irrelevant_gone([oracle for (oracle,) in oracles.values()], _shared(oracles))
        if isinstance(at, _Effect):
            return at
        ratio, keeps = at
        if ratio not in _shared(measured):
            return _Effect({}, "", [ratio], f"random was not measured at keep ratio {ratio:g}, {keeps}")
        values = {seed: oracle.accuracy(ratio) - random.accuracy(ratio) for seed, (oracle, random) in measured.items()}
        images = paired([(oracle.answers([ratio]), random.answers([ratio])) for oracle, random in measured.values()])
        what = f"accuracy of oracle less that of random at keep ratio {ratio:g}, {keeps}"
        return _Effect(values, what, [ratio], images=images)

    return _findings(study, ("oracle", "random"), effect)


def margin(study: TrainedStudy) -> float:
    """Loss of accuracy that counts as small: a twentieth of what the study's mean accuracy is above chance."""
    chance = 1 / len(study.runs[0].result.data.classes)
    return 0.05 * max(0.0, fmean(study.accuracy.values()) - chance)


def _irrelevant_gone(oracle: Iterable[Points], ratios: Sequence[float]) -> "tuple[float, str] | _Effect":
    """The smallest ratio at which the oracle keeps the relevant area, in words as well; an effect that says why none.

    ratios: those measured, from the largest.
    """
    curves = list(oracle)
    recall = {ratio: _recall(curves, ratio) for ratio in reversed(ratios)}
    if not recall:
        return _Effect({}, "", [0.9], "the runs share no keep ratio below 1")
    known = {ratio: share for ratio, share in recall.items() if share is not None}
    if known != recall:
        return _Effect({}, "", [], UNKNOWN, unknowable=True)
    enough = [ratio for ratio, share in known.items() if share >= RECALL]
    if not enough:
        most = max(known)
        add = round((1 + most) / 2, 3)
        lacking = (
            f"no measured ratio below 1 keeps {RECALL:.0%} of the relevant area "
            f"({most:g} keeps {known[most]:.1%}); add ratio {add:g}"
        )
        return _Effect({}, "", [add], lacking)
    return min(enough), f"which keeps {known[min(enough)]:.1%} of the relevant area"


def _over_ratios(
    ratios: Sequence[float], by_ratio: Mapping[int, Sequence[float]], what: str, lacking: str | None
) -> _Effect:
    """The mean over ratios; by_ratio: an effect for each, by seed."""
    values = {seed: fmean(effects) for seed, effects in by_ratio.items() if effects}
    return _Effect(values, what + _over(ratios), ratios, lacking)


#: What was measured in a run: by condition, method and its options as JSON.
_Curves = Mapping[tuple[Condition, str, str], Points]


def _findings(study: TrainedStudy, methods: tuple[str, ...], effect: Callable[[_Measured], _Effect]) -> list[Finding]:
    """One for each condition, and each set of options of the first method."""
    runs, found = study.runs, []
    curves = {run.result.seed: curves_of(run) for run in runs}
    keys = {key for of_run in curves.values() for key in of_run}
    conditions = sorted({condition for condition, method, _ in keys if method in methods}, key=str)
    at_least_one: list[Condition | None] = [*conditions] or [None]
    for condition in at_least_one:
        variants = sorted(options for at, method, options in keys if (at, method) == (condition, methods[0]))
        for options in variants or ["{}"]:
            measured = {}
            for seed, of_run in curves.items():
                points = [_points(of_run, condition, each, None if i else options) for i, each in enumerate(methods)]
                if all(each is not None for each in points):
                    measured[seed] = tuple(each for each in points if each is not None)
            at = effect(measured) if measured else _Effect({}, "", [], _unmeasured(curves.values(), methods, condition))
            again = [run for run in runs if at.lacking or run.result.seed not in measured]
            alike = partial(_prune, methods=methods, condition=condition, keep=at.keep)
            found.append(
                Finding(
                    subject=study,
                    what=at.what,
                    estimate=Estimate.of_seeds(at.values, at.images),
                    lacking=at.lacking,
                    site=condition.site if condition else None,
                    variant=_variant(condition, methods[0], options),
                    methods=methods,
                    images=condition.images if condition else None,
                    todo=None if at.unknowable else "\n".join(map(alike, again)) or None,
                    more=None if at.unknowable else partial(commands.further, runs, alike=alike),
                    support=at.support,
                    evidence=tuple(name for points in measured.values() for each in points for name in each.evidence),
                )
            )
    return found


def curves_of(run: RunData) -> _Curves:
    """Points that remove tokens, of all prunes alike; the later folder's where two measured the same."""
    points: dict[
        tuple[Condition, str, str], dict[tuple[float | str, int | None], tuple[PrunePoint, Path, PruneResult, int]]
    ]
    points = {}
    evidence: dict[tuple[Condition, str, str], list[str]] = {}
    for path, prune in run.prunes:
        condition = Condition.of(prune)
        key = condition, prune.method, json.dumps(prune.options, sort_keys=True)
        removing = [(point, path, prune, row) for row, point in enumerate(prune.points) if point.realised[-1] < 1]
        points.setdefault(key, {}).update(
            {(each[0].keep or each[0].keep_ratio, each[0].seed): each for each in removing}
        )
        evidence.setdefault(key, []).append(f"{run.folder.name}/prune/{path.name}")
    found = {}
    for key, by_draw in points.items():
        by_ratio: dict[float | str, list[PrunePoint]] = {}
        rows: dict[float | str, list[tuple[Path, PruneResult, int]]] = {}
        for (ratio, _), (point, *row) in by_draw.items():
            by_ratio.setdefault(ratio, []).append(point)
            rows.setdefault(ratio, []).append(tuple(row))  # type: ignore[arg-type]
        found[key] = Points(by_ratio, tuple(evidence[key]), rows)
    return found


def _points(curves: _Curves, condition: Condition | None, method: str, options: str | None) -> Points | None:
    """options: None takes the plain method, or whatever variant there is. None where no token was removed."""
    known = {each: points for (at, name, each), points in curves.items() if (at, name) == (condition, method)}
    found = known.get(min(known, key=len, default="{}") if options is None else options)
    return found if found and found.by_ratio else None


def _unmeasured(curves: Iterable[_Curves], methods: tuple[str, ...], condition: Condition | None) -> str:
    """Why no run has points of all the methods."""
    if any({method for at, method, _ in of_run if at == condition} >= set(methods) for of_run in curves):
        return f"no ratio at which {' and '.join(methods)} were measured removes a token"
    return f"no run was measured with {'both ' if len(methods) > 1 else ''}{' and '.join(methods)}"


def _shared(measured: _Measured) -> list[float]:
    """The ratios that all have, from the largest."""
    shared = set.intersection(*(set(each.by_ratio) for points in measured.values() for each in points))
    return sorted((each for each in shared if not isinstance(each, str)), reverse=True)


def _recall(curves: list[Points], ratio: float) -> float | None:
    shares = [point.relevant_recall for points in curves for point in points.by_ratio[ratio]]
    return fmean(share for share in shares if share is not None) if None not in shares else None


def _prune(
    run: RunData, name: str | None = None, *, methods: Sequence[str], condition: Condition | None, keep: Sequence[float]
) -> str:
    """The command that measures the run, or the one called `name`, as the others; packed runs are trained first."""
    first = f"{commands.train(run, run.result.seed)[0]}\n" if name is None and commands.is_packed(run) else ""
    return first + commands.prune(
        run,
        methods,
        site=condition.site if condition else None,
        keep=[1.0, *keep] if keep else [],
        finetune_epochs=condition.finetune_epochs if condition else 0,
        name=name,
    )


def _variant(condition: Condition | None, method: str, options: str) -> str | None:
    if condition is None:
        return None
    return str(condition) if options == "{}" else f"{condition}, {method} {options}"


def _over(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    if len(ratios) == 1:
        return f" at keep ratio {ratios[0]:g}"
    return f", mean over {len(ratios)} keep ratios from {ratios[0]:g} to {ratios[-1]:g}"
