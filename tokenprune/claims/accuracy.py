"""Claims about accuracy under pruning: findings from prune results."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from tokenprune.claims import commands
from tokenprune.claims.claim import Finding
from tokenprune.claims.evidence import RunData
from tokenprune.runs import PrunePoint, PruneResult

#: A ratio at which the oracle keeps this share of the relevant area removes label-irrelevant tokens only.
RECALL = 0.99

UNKNOWN = "this data set does not say which tokens are label-relevant"


class Condition(NamedTuple):
    """What two prunes must share to be compared."""

    site: str
    input_scores: str | None
    finetune_epochs: int
    images: int

    def __str__(self) -> str:
        scores = f", scores {self.input_scores}" if self.input_scores else ""
        epochs = "1 epoch" if self.finetune_epochs == 1 else f"{self.finetune_epochs} epochs"
        tuned = f", {epochs} of fine-tuning" if self.finetune_epochs else ""
        return f"site {self.site}{scores}{tuned}"


@dataclass(frozen=True)
class Points:
    """A method's points in one run that remove tokens: by ratio, one per draw; and where they were read."""

    by_ratio: Mapping[float, list[PrunePoint]]
    evidence: tuple[str, ...]

    def accuracy(self, ratio: float) -> float:
        """Mean over draws."""
        return fmean(point.accuracy for point in self.by_ratio[ratio])

    def above_chance(self, ratio: float) -> float | None:
        """Share of the relevant area that is kept less the share of tokens, mean over draws; None if unknown."""
        excess = [
            point.relevant_recall - point.realised[-1]
            for point in self.by_ratio[ratio]
            if point.relevant_recall is not None
        ]
        return fmean(excess) if excess else None


def compare(runs: tuple[RunData, ...], subject: str, reference: str) -> list[Finding]:
    """Accuracy of `subject` less that of `reference`, mean over the ratios below 1 that all runs share."""
    found = []
    for condition in _conditions(runs, (subject, reference)):
        for options in _variants(runs, condition, subject):
            pairs = {}
            for run in runs:
                first, second = _points(run, condition, subject, options), _points(run, condition, reference)
                if first is not None and second is not None:
                    pairs[run.result.seed] = first, second
            shared = (
                set.intersection(*(set(a.by_ratio) & set(b.by_ratio) for a, b in pairs.values())) if pairs else set()
            )
            ratios = sorted(shared, reverse=True)
            lacking = None
            if not pairs:
                lacking = _unmeasured(runs, (subject, reference), condition)
            elif not ratios:
                lacking = f"{subject} and {reference} share no keep ratio below 1"
            todo = [run for run in runs if run.result.seed not in pairs] if ratios else list(runs)
            found.append(
                Finding(
                    runs=runs,
                    site=condition.site if condition else None,
                    variant=_variant(condition, subject, options),
                    values={
                        seed: fmean(a.accuracy(r) - b.accuracy(r) for r in ratios)
                        for seed, (a, b) in pairs.items()
                        if ratios
                    },
                    what=f"accuracy of {subject} less that of {reference}{_over(ratios)}",
                    images=condition.images if condition else None,
                    lacking=lacking,
                    todo=tuple(_prune(run, (subject, reference), condition, ratios) for run in todo),
                    evidence=tuple(name for a, b in pairs.values() for name in (*a.evidence, *b.evidence)),
                    details={
                        "keep": ratios,
                        "per_ratio": [fmean(a.accuracy(r) - b.accuracy(r) for a, b in pairs.values()) for r in ratios],
                    },
                )
            )
    return found


def relevance_kept(runs: tuple[RunData, ...]) -> list[Finding]:
    """Share of the relevant area that magnitude keeps less the share of tokens that it keeps, as chance would have it.

    Mean over the ratios below 1 that all runs share.
    """
    found = []
    for condition in _conditions(runs, ("magnitude",)):
        for options in _variants(runs, condition, "magnitude"):
            curves = _curves(runs, condition, "magnitude", options)
            ratios = _shared(curves.values())
            above = {seed: [points.above_chance(ratio) for ratio in ratios] for seed, points in curves.items()}
            known = {seed: [x for x in excess if x is not None] for seed, excess in above.items()}
            lacking, todo = None, [run for run in runs if run.result.seed not in curves]
            if not curves:
                lacking = _unmeasured(runs, ("magnitude",), condition)
            elif not ratios:
                lacking, todo = "the runs share no keep ratio below 1", list(runs)
            elif known != above:
                lacking, todo, known = UNKNOWN, [], {}
            found.append(
                Finding(
                    runs=runs,
                    site=condition.site if condition else None,
                    variant=_variant(condition, "magnitude", options),
                    values={seed: fmean(excess) for seed, excess in known.items() if excess},
                    what=f"share of the relevant area that magnitude keeps less the share of tokens{_over(ratios)}",
                    images=condition.images if condition else None,
                    lacking=lacking,
                    todo=tuple(_prune(run, ("magnitude",), condition, ratios) for run in todo),
                    evidence=tuple(name for points in curves.values() for name in points.evidence),
                    details={
                        "keep": ratios,
                        "per_ratio": [fmean(ratio) for ratio in zip(*known.values(), strict=True)],
                    },
                )
            )
    return found


def irrelevant_removed(runs: tuple[RunData, ...]) -> list[Finding]:
    """Accuracy of the oracle less the unpruned model's, at the smallest ratio that keeps the relevant area.

    The ratio is chosen by relevance alone, never by accuracy, so that the choice does not favour the claim.
    """
    found = []
    for condition in _conditions(runs, ("oracle",)):
        for options in _variants(runs, condition, "oracle"):
            oracle = _curves(runs, condition, "oracle", options)
            recall = {ratio: _recall(list(oracle.values()), ratio) for ratio in reversed(_shared(oracle.values()))}
            enough = [ratio for ratio, share in recall.items() if share is not None and share >= RECALL]
            ratio = min(enough) if enough else None
            lacking, todo = None, [run for run in runs if run.result.seed not in oracle]
            add: list[float] = [] if ratio is None else [ratio]
            if not oracle:
                lacking = _unmeasured(runs, ("oracle",), condition)
            elif not recall:
                lacking, todo, add = "the runs share no keep ratio below 1", list(runs), [0.9]
            elif any(share is None for share in recall.values()):
                lacking, todo = UNKNOWN, []
            elif ratio is None:
                add = [round((1 + max(recall)) / 2, 3)]
                lacking, todo = (
                    f"no measured ratio below 1 keeps {RECALL:.0%} of the relevant area "
                    f"({max(recall):g} keeps {recall[max(recall)]:.1%}); add ratio {add[0]:g}",
                    list(runs),
                )
            kept = (
                ""
                if ratio is None
                else f" at keep ratio {ratio:g}, which keeps {recall[ratio]:.1%} of the relevant area"
            )
            found.append(
                Finding(
                    runs=runs,
                    site=condition.site if condition else None,
                    variant=_variant(condition, "oracle", options),
                    values={
                        seed: fmean(point.difference for point in points.by_ratio[ratio])
                        for seed, points in oracle.items()
                        if ratio is not None
                    },
                    what=f"accuracy of oracle less the unpruned model's{kept}",
                    images=condition.images if condition else None,
                    lacking=lacking,
                    todo=tuple(_prune(run, ("oracle",), condition, add) for run in todo),
                    evidence=tuple(name for points in oracle.values() for name in points.evidence),
                    details={"keep": ratio, "relevant_recall": {f"{r:g}": share for r, share in recall.items()}},
                )
            )
    return found


def _conditions(runs: tuple[RunData, ...], methods: tuple[str, ...]) -> list[Condition | None]:
    """Every condition under which one of the methods was measured; None alone where none ever was."""
    found = {_condition_of(prune) for run in runs for _, prune in run.prunes if prune.method in methods}
    return sorted(found, key=str) or [None]


def _condition_of(prune: PruneResult) -> Condition:
    return Condition(prune.site, prune.input_scores, prune.finetune_epochs, prune.count)


def _unmeasured(runs: tuple[RunData, ...], methods: tuple[str, ...], condition: Condition | None) -> str:
    """Why no run has points of all the methods."""
    for run in runs:
        if {prune.method for _, prune in run.prunes if _condition_of(prune) == condition} >= set(methods):
            return f"no ratio at which {' and '.join(methods)} were measured removes a token"
    return f"no run was measured with {'both ' if len(methods) > 1 else ''}{' and '.join(methods)}"


def _variants(runs: tuple[RunData, ...], condition: Condition | None, method: str) -> list[str]:
    """The options that the method was measured with, as JSON."""
    found = {
        _json(prune.options)
        for run in runs
        for _, prune in run.prunes
        if prune.method == method and _condition_of(prune) == condition
    }
    return sorted(found) or ["{}"]


def _points(run: RunData, condition: Condition | None, method: str, options: str | None = None) -> Points | None:
    """A method's points that remove tokens, of all its prunes; the later folder's where two measured the same.

    options: as JSON; None takes the plain method, or whatever single variant there is.
    """
    prunes = [
        (path, prune) for path, prune in run.prunes if prune.method == method and _condition_of(prune) == condition
    ]
    if options is None:
        known = sorted({_json(prune.options) for _, prune in prunes}, key=len)
        options = known[0] if known else "{}"
    points: dict[tuple[float, int | None], PrunePoint] = {}
    evidence = []
    for path, prune in prunes:
        if _json(prune.options) == options:
            points |= {(point.keep_ratio, point.seed): point for point in prune.points if point.realised[-1] < 1}
            evidence.append(f"{run.folder.name}/prune/{path.name}")
    by_ratio: dict[float, list[PrunePoint]] = {}
    for (ratio, _), point in points.items():
        by_ratio.setdefault(ratio, []).append(point)
    return Points(by_ratio, tuple(evidence)) if by_ratio else None


def _curves(runs: tuple[RunData, ...], condition: Condition | None, method: str, options: str) -> dict[int, Points]:
    """A method's points by seed, of the runs that have some."""
    found = {run.result.seed: _points(run, condition, method, options) for run in runs}
    return {seed: points for seed, points in found.items() if points is not None}


def _shared(curves: Collection[Points]) -> list[float]:
    """The ratios that all have, from the largest."""
    return sorted(set.intersection(*(set(points.by_ratio) for points in curves)), reverse=True) if curves else []


def _recall(curves: list[Points], ratio: float) -> float | None:
    shares = [point.relevant_recall for points in curves for point in points.by_ratio[ratio]]
    return fmean(share for share in shares if share is not None) if None not in shares else None


def _prune(run: RunData, methods: tuple[str, ...], condition: Condition | None, keep: list[float]) -> str:
    return commands.prune(
        run,
        methods,
        site=condition.site if condition else None,
        keep=[1.0, *keep] if keep else [],
        input_scores=condition.input_scores if condition else None,
        finetune_epochs=condition.finetune_epochs if condition else 0,
    )


def _variant(condition: Condition | None, method: str, options: str) -> str | None:
    if condition is None:
        return None
    return str(condition) if options == "{}" else f"{condition}, {method} {options}"


def _over(ratios: list[float]) -> str:
    if not ratios:
        return ""
    if len(ratios) == 1:
        return f" at keep ratio {ratios[0]:g}"
    return f", mean over {len(ratios)} keep ratios from {ratios[0]:g} to {ratios[-1]:g}"


def _json(options: Mapping[str, object]) -> str:
    return json.dumps(options, sort_keys=True)
