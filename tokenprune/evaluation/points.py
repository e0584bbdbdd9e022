"""From accumulated points to the record of a curve, and to its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenprune import cost, files
from tokenprune.errors import TokenpruneError
from tokenprune.evaluation.accumulator import PointAccumulator
from tokenprune.evaluation.timing import Clock
from tokenprune.hardware import Precision
from tokenprune.recipe import Keep, Schedule, named, share_of
from tokenprune.runs import PrunePoint, PruneResult, atomic, read_result, save_result, settle_prune
from tokenprune.statistics import mcnemar, paired_interval, wilson

#: Arrays that have a row per point.
_BY_POINT = ("predictions", "kept", "owner", "count", "attention", "probability")


@dataclass(frozen=True)
class Curve:
    """One method's accuracy at every ratio, with the predictions it was computed from.

    predictions: `labels`, `baseline` and `index` [images], `predictions` [points, images] in the order of
        `result.points`; classes in the smallest unsigned type that holds them.
    examples: a few test images: `images` uint8 [e, h, w, 3], `labels` and `index` [e], and what each point makes of
        them (see `examples.ExampleStates`): `owner` int16 [points, e, sites, t], `count` int16 [points, e, sites],
        `attention` float16 [points, e, t], `predictions` and their `probability` [points, e]; None where none were
        asked for.
    """

    result: PruneResult
    predictions: dict[str, np.ndarray]
    examples: dict[str, np.ndarray] | None


def save_curve(curve: Curve, folder: Path) -> None:
    """Writes predictions.npz, examples.npz and, last, result.json; a folder without it is ignored.

    An earlier curve there stays until all of this one is on disk. Raises TokenpruneError if it cannot be saved.
    """
    at = folder / atomic.ANEW
    try:
        atomic.make_folder(at)
        _save_arrays(at / "predictions.npz", curve.predictions)
        if curve.examples is not None:
            _save_arrays(at / "examples.npz", curve.examples)
        save_result(at / "result.json", curve.result, ["predictions.npz", "examples.npz"])
    finally:
        settle_prune(folder)


def load_curve(folder: Path) -> Curve:
    """What `save_curve` saved. Raises TokenpruneError if it is damaged."""
    examples = folder / "examples.npz"
    return Curve(
        read_result(folder / "result.json", PruneResult),
        _load_arrays(folder / "predictions.npz"),
        _load_arrays(examples) if examples.is_file() else None,
    )


@dataclass(frozen=True)
class EvaluationPass:
    """Values that all curves of one pass share.

    labels: true classes of the images measured on. relevant: their label-relevant area, in tokens. examples: index of
    those to look at, and `pictures`, uint8 [e, 3, h, h]. baseline: classes predicted by the model that all points are
    compared with.
    """

    run: str
    schedule: Schedule
    precision: Precision
    device: str
    architecture: cost.Architecture
    labels: np.ndarray
    examples: np.ndarray
    pictures: np.ndarray | None
    unpruned: PointAccumulator
    baseline: np.ndarray
    relevant: float | None
    clock: Clock


def to_curve(
    measured: EvaluationPass, method: str, options: dict[str, Any], points: Sequence[tuple[Keep, PointAccumulator]]
) -> Curve:
    """The curve of one method from its points with their keep ratios."""
    labels, baseline = measured.labels, measured.baseline
    answers = np.stack([point.answers() for _, point in points])
    correct = int((baseline == labels).sum())
    site, scores = measured.schedule.recorded
    result = PruneResult(
        run=measured.run,
        method=method,
        options=options,
        site=site,
        input_scores=scores,
        precision=measured.precision,
        device=measured.device,
        batch_size=measured.clock.batch_size,
        count=len(labels),
        baseline_correct=correct,
        baseline_accuracy=correct / len(labels),
        baseline_images_per_second=_speed(measured, measured.unpruned),
        points=tuple(
            _point(measured, keep, point, row, labels) for (keep, point), row in zip(points, answers, strict=True)
        ),
    )
    kind = np.min_scalar_type(int(max(labels.max(), baseline.max(), answers.max())))
    predictions = {
        "labels": labels.astype(kind),
        "baseline": baseline.astype(kind),
        "predictions": answers.astype(kind),
        "index": np.arange(len(labels)),
    }
    return Curve(result, predictions, _examples(measured, labels.astype(kind), answers.astype(kind), points))


def join(curves: Sequence[Curve], *, method: str, options: dict[str, Any], finetune_epochs: int) -> Curve:
    """One curve from curves of the same images: points measured on a model each, fine-tuned to its ratio."""
    first = curves[0]
    points = tuple(point for curve in curves for point in curve.result.points)
    shared = {"method": method, "options": options, "finetune_epochs": finetune_epochs}
    result = first.result.model_copy(update={"points": points, **shared})
    shown = [curve.examples for curve in curves if curve.examples is not None]
    alike = len({frozenset(each) for each in shown}) == 1  # those of older versions have other arrays
    return Curve(result, _joined([curve.predictions for curve in curves]), _joined(shown) if alike else None)


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The same arrays, with those that have a row per point concatenated."""
    rows: dict[str, np.ndarray] = {
        key: np.concatenate([part[key] for part in parts]) for key in _BY_POINT if key in parts[0]
    }
    return {**parts[0], **rows}


def varied(labels: np.ndarray, count: int) -> np.ndarray:
    """Index of `count` images, rising: the first of every class, then the second of every class, and so on."""
    by_class = np.argsort(labels, kind="stable")
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_class] = np.arange(len(labels)) - np.searchsorted(labels[by_class], labels[by_class])
    return np.sort(np.argsort(turn, kind="stable")[:count])


def _point(
    measured: EvaluationPass, keep: Keep, point: PointAccumulator, answers: np.ndarray, labels: np.ndarray
) -> PrunePoint:
    right, before = answers == labels, measured.baseline == labels
    count, correct = len(right), int(right.sum())
    lost, gained = int((before & ~right).sum()), int((right & ~before).sum())
    low, high = wilson(correct, count)
    difference_low, difference_high = paired_interval(lost, gained, count)
    kept_relevance, relevant_recall = point.relevance(measured.relevant)
    unpruned = cost.flops(measured.architecture)
    flops, realised_mean = point.cost(measured.architecture, measured.schedule)
    speed, bare = _speed(measured, point), _speed(measured, measured.unpruned)
    patches, name = measured.architecture.patches, named(keep)
    return PrunePoint(
        seed=point.draw,
        keep_ratio=share_of(keep, patches, len(measured.schedule.cursors)),
        keep=name if isinstance(name, str) else None,
        realised=point.realised(patches),
        realised_mean=realised_mean,
        correct=correct,
        accuracy=correct / count,
        low=low,
        high=high,
        difference=(gained - lost) / count,
        difference_low=difference_low,
        difference_high=difference_high,
        lost=lost,
        gained=gained,
        mcnemar_p=mcnemar(lost, gained),
        agreement=float((answers == measured.baseline).mean()),
        tokens=point.spread(),
        kept_relevance=kept_relevance,
        relevant_recall=relevant_recall,
        flops=flops,
        ideal_speedup=unpruned.flops / flops,
        images_per_second=speed,
        speedup=None if speed is None or bare is None else speed / bare,
        own_time=_own_time(measured, point),
    )


def _own_time(measured: EvaluationPass, point: PointAccumulator) -> float | None:
    """The share of a point's time in which its pruner works: scores, choice, merging; the rest is the model's."""
    if point.scores is None:
        return None
    own = measured.clock.seconds(point.scores, point.own)
    whole = measured.clock.seconds("shared", point.scores, point)
    return None if own is None or whole is None else min(1.0, own / whole)


def _speed(measured: EvaluationPass, point: PointAccumulator) -> float | None:
    """Images per second of a point: blocks before the first site, its ranking, the blocks after."""
    parts = ["shared", point] if point.scores is None else ["shared", point.scores, point]
    return measured.clock.images_per_second(*parts)


def _examples(
    measured: EvaluationPass, labels: np.ndarray, answers: np.ndarray, points: Sequence[tuple[Keep, PointAccumulator]]
) -> dict[str, np.ndarray] | None:
    chosen = measured.examples
    if len(chosen) == 0 or measured.pictures is None:
        return None
    shown = [point.shown() for _, point in points]
    return {
        "images": measured.pictures.transpose(0, 2, 3, 1),
        "labels": labels[chosen],
        "index": chosen,
        **{name: np.stack([each[name] for each in shown]) for name in shown[0]},
        "predictions": answers[:, chosen],
    }


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return files.read_arrays(path)
    except (OSError, ValueError):
        raise TokenpruneError(f"{path}: missing or damaged; measure again with --force") from None


def _save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    atomic.write(path, lambda handle: np.savez_compressed(handle, **arrays))  # type: ignore[arg-type]
