"""Run folders with chosen numbers, for tests of what reads them: claims, report, ls. No torch, no training."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokenprune import files, runs
from tokenprune.identity import canonical, curve_id
from tokenprune.recipe import Schedule, dump_recipe, kept, parse_recipe
from tokenprune.recipe.schema import RECORDED
from tokenprune.runs import DataFacts, Epoch, ModelFacts, PrunePoint, PruneResult, RunFolder, TrainResult
from tokenprune.statistics import mcnemar, paired_interval, wilson

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PATCHES = 64

#: Accuracy per keep ratio; a tuple holds one accuracy per draw of a random pruner.
Curve = Mapping[float, float | tuple[float, ...]]


def write_images(path: Path, images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """A prepared .npz whose training and test images are the same."""
    np.savez(
        path,
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        classes=np.array(classes),
    )


def make_run(
    runs_dir: Path,
    *,
    recipe: str = "shallow",
    depth: int = 1,
    seed: int = 0,
    accuracy: float = 0.6,
    methods: Mapping[str, Curve] | None = None,
    attention: tuple[float | Sequence[float], float | Sequence[float]] | None = (0.66, 0.8),
    relevant_share: float | None = 0.66,
    recall: Mapping[float, float] | None = None,
    site: str = "before:0",
    examples: bool = True,
    count: int = 1000,
    epochs: int = 3,
    overrides: Sequence[str] = (),
    kept_relevance: float | None = None,
    groups: Mapping[str, float] | None = None,
    finished: bool = True,
) -> RunFolder:
    """A finished run and its prunes, every file as the program writes it.

    accuracy: unpruned, of `count` test images (rounded to whole images).
    methods: curve per method; a `random` curve's plain number below ratio 1 stands for three equal draws.
    attention: share on relevant tokens before and after training, one number or one per block; None for unknown.
    recall: relevant_recall per keep ratio of the oracle (default: the most that `relevant_share` allows).
    overrides: recipe keys (`train.epochs=7`) that make another family: a pruner, a train size, a scene, a start.
    kept_relevance: alpha_* of the tokens that the training pruner keeps. groups: accuracy per group of test images.
    """
    text = f"data: {{source: cifar10, scene: composite}}\nmodel: {{depth: {depth}}}\nrun: {{seed: {seed}}}\n"
    spec = parse_recipe(text, recipe, [f"train.epochs={epochs}", *overrides], context=RECORDED)
    folder = RunFolder(runs_dir / runs.run_name(recipe, spec.setting(), seed))
    runs.atomic.make_folder(folder.path)
    folder.set_recipe(text, overrides)
    folder.resolved.write_text(dump_recipe(spec))
    runs.atomic.write_json(folder.environment, runs.describe("cpu", 2, {"source": "cifar10", "official": False}))
    steps, accuracy = 390, round(accuracy * count) / count
    epochs = spec.train.epochs
    rows = range(epochs + 1) if epochs else ()
    folder.set_epochs([_epoch(e, epochs, depth, steps, accuracy, attention) for e in rows])
    folder.set_status("finished" if finished else "interrupted", epochs, epochs * steps)
    if not finished:
        return folder

    labels = np.arange(count, dtype=np.uint8) % len(CLASSES)
    baseline = predictions_of(labels, accuracy)
    np.savez(folder.predictions, labels=labels, predictions=baseline)
    folder.weights.write_bytes(f"weights of {folder.name}".encode())
    correct = int((baseline == labels).sum())
    folder.set_result(
        TrainResult(
            name=recipe,
            setting=spec.setting(),
            family=spec.family(),
            seed=seed,
            model=ModelFacts(
                name="vit",
                depth=depth,
                dim=192,
                heads=3,
                patch_size=4,
                patches=PATCHES,
                prefix=1,
                class_token=True,
                parameters=25_000 + 444_864 * depth,
                flops=60e6 * depth,
            ),
            data=DataFacts(
                source="cifar10",
                scene=spec.data.scene,
                classes=CLASSES,
                train_count=spec.data.train_size or 50_000,
                test_count=count,
                relevant_share=relevant_share,
                note="CIFAR-10, 20 of 10,000 test images JPEG-restored",
            ),
            pruner=spec.pruner.name if spec.pruner.removes else "none",
            keep_ratio=spec.pruner.keep_ratio if spec.pruner.removes else 1.0,
            kept_relevance=kept_relevance,
            start=None if spec.start.source is None else spec.start.label,
            epochs=epochs,
            test_count=count,
            test_correct=correct,
            test_accuracy=correct / count,
            test_loss=1.2,
            group_accuracy=dict(groups) if groups is not None else None,
            seconds=69.0,
            precision="fp32",
            device="cpu",
            weights_sha256=files.sha256(folder.weights),
        )
    )
    for method, curve in (methods or {}).items():
        known = recall if method == "oracle" else None
        make_prune(folder, method, curve, site=site, recall=known, examples=examples)
    return folder


def make_prune(
    folder: RunFolder,
    method: str,
    curve: Curve,
    *,
    site: str = "before:0",
    recall: Mapping[float, float] | None = None,
    examples: bool = True,
    draws: int = 3,
    options: Mapping[str, object] | None = None,
    precision: str = "fp32",
) -> Path:
    """Add one prune result to a finished run; returns its folder."""
    result = folder.result()
    share = result.data.relevant_share
    with np.load(folder.predictions) as arrays:
        labels, baseline = arrays["labels"], arrays["predictions"]
    known = (options or {}, sorted(curve, reverse=True), site)
    ids = (curve_id(*known, seeds, 0, precision) for seeds in range(draws, 64))
    path = next(path for seeds in ids if not (path := folder.prune_folder(method, seeds)).exists())
    runs.atomic.make_folder(path)
    rows: list[np.ndarray] = []
    points: list[PrunePoint] = []
    for ratio, accuracies in sorted(curve.items(), reverse=True):
        if not isinstance(accuracies, tuple):
            accuracies = (accuracies,) * (draws if method == "random" and ratio < 1 else 1)
        for draw, accuracy in enumerate(accuracies):
            rows.append(predictions_of(labels, accuracy, shift=2))
            relevance, found = _relevance(method, ratio, share, recall)
            points.append(
                _point(
                    labels,
                    baseline,
                    rows[-1],
                    ratio,
                    site,
                    result,
                    draw if method == "random" and ratio < 1 else None,
                    relevance,
                    found,
                )
            )
    np.savez(
        path / "predictions.npz",
        labels=labels,
        baseline=baseline,
        predictions=np.stack(rows),
        index=np.arange(len(labels)),
    )
    if examples:
        _examples(path / "examples.npz", labels, rows, points)
    runs.save_result(
        path / "result.json",
        PruneResult(
            run=folder.name,
            method=method,
            options=dict(options or {}),
            site=site,
            precision=precision,
            device="cpu",
            batch_size=500,
            count=len(labels),
            baseline_correct=result.test_correct,
            baseline_accuracy=result.test_accuracy,
            baseline_images_per_second=1000.0,
            points=tuple(points),
        ),
        ["predictions.npz", "examples.npz"],
    )
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], None], *, sealed: bool = True) -> None:
    """Change a result.json and seal it anew; or leave it without a seal, as older ones are."""
    tree = json.loads(path.read_text())
    del tree["seal"]
    change(tree)
    if not sealed:
        del tree["files"]
    seal = {"seal": hashlib.sha256(canonical(tree)).hexdigest()} if sealed else {}
    path.write_text(json.dumps(tree | seal))


def without_speeds(tree: dict[str, Any]) -> None:
    """A change for `rewrite`: a curve that was not timed."""
    tree["baseline_images_per_second"] = None
    for point in tree["points"]:
        point["images_per_second"] = point["speedup"] = None


def reseal(folder: RunFolder) -> None:
    """Let a run's result be of the files that lie beside it now."""
    folder.set_result(folder.result())


def predictions_of(labels: np.ndarray, accuracy: float, shift: int = 1) -> np.ndarray:
    """Predictions of exactly round(accuracy * n) right answers, on the first images; `shift` says how others err."""
    right = np.arange(len(labels)) < round(accuracy * len(labels))
    return np.where(right, labels, (labels + shift) % len(CLASSES)).astype(np.uint8)


def _point(
    labels: np.ndarray,
    baseline: np.ndarray,
    predictions: np.ndarray,
    ratio: float,
    site: str,
    result: TrainResult,
    draw: int | None,
    relevance: float | None,
    found: float | None,
) -> PrunePoint:
    count, depth = len(labels), result.model.depth
    right, before = predictions == labels, baseline == labels
    correct, lost, gained = int(right.sum()), int((before & ~right).sum()), int((right & ~before).sum())
    schedule, present = Schedule.parse(site), PATCHES
    realised = []
    for _ in schedule.cursors:
        present = kept(ratio, present)
        realised.append(present / PATCHES)
    low, high = wilson(correct, count)
    difference_low, difference_high = paired_interval(lost, gained, count)
    first = schedule.cursors[0] / 2
    mean = (first + (depth - first) * realised[-1]) / depth
    return PrunePoint(
        seed=draw,
        keep_ratio=ratio,
        realised=tuple(realised),
        realised_mean=mean,
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
        kept_relevance=relevance,
        relevant_recall=found,
        flops=result.model.flops * mean,
        ideal_speedup=1 / mean,
        images_per_second=1000.0 / mean,
        speedup=0.97 / mean,
    )


def _relevance(
    method: str, ratio: float, share: float | None, recall: Mapping[float, float] | None
) -> tuple[float | None, float | None]:
    """(kept_relevance, relevant_recall): the oracle takes relevant tokens first, the others keep the average."""
    if share is None:
        return None, None
    found = min(1.0, ratio / share) if method == "oracle" else ratio
    if recall is not None:
        found = recall[ratio]
    return min(1.0, found * share / ratio), found


def _epoch(
    epoch: int,
    epochs: int,
    depth: int,
    steps: int,
    accuracy: float,
    attention: tuple[float | Sequence[float], float | Sequence[float]] | None,
) -> Epoch:
    done = epoch / epochs
    shares = None
    if attention is not None:
        first, last = ([end] * depth if isinstance(end, (int, float)) else list(end) for end in attention)
        shares = tuple(a + done * (b - a) for a, b in zip(first, last, strict=True))
    started = epoch > 0
    return Epoch(
        epoch=epoch,
        step=epoch * steps,
        train_loss=2.3 - done if started else None,
        train_accuracy=(1 - done) * 0.1 + done * accuracy if started else None,
        test_loss=2.3 - done,
        test_accuracy=(1 - done) * 0.1 + done * accuracy,
        learning_rate=1e-3 * (1 - done) if started else None,
        attention_on_relevant=shares,
        seconds=23.0 if started else None,
        images_per_second=2180.0 / depth if started else None,
    )


def _examples(path: Path, labels: np.ndarray, rows: list[np.ndarray], points: list[PrunePoint], count: int = 4) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    owner = np.full((len(points), count, 1, PATCHES), -1, dtype=np.int16)
    for row, point in zip(owner, points, strict=True):
        left = round(point.realised[-1] * PATCHES)
        row[..., :left] = np.arange(left)
    owner = generator.permuted(owner, axis=3)
    np.savez(
        path,
        images=images,
        labels=labels[:count],
        index=np.arange(count),
        owner=owner,
        count=(owner >= 0).sum(axis=3).astype(np.int16),
        attention=((owner[:, :, 0] >= 0) / PATCHES).astype(np.float16),
        probability=np.full((len(points), count), 0.75, np.float16),
        predictions=np.stack([row[:count] for row in rows]),
    )


def make_latency(
    folder: RunFolder,
    medians: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    unpruned: Sequence[float],
    batches: Sequence[int] = (1, 8),
    site: str = "before:0",
    name: str = "latency-0",
    **machine: Any,
) -> Path:
    """Add a latency measurement to a finished run: ms of each method and ratio at each batch size; p90 a tenth more."""
    rows = [("none", "", 1.0, unpruned), *((m, site, k, ms) for m, of in medians.items() for k, ms in of.items())]
    labels = {
        "point": {
            "method": tuple(row[0] for row in rows),
            "options": ("{}",) * len(rows),
            "site": tuple(row[1] for row in rows),
            "keep": tuple(row[2] for row in rows),
        },
        "batch": {"batch": tuple(batches)},
    }
    times = np.array([row[3] for row in rows], dtype=float)
    arrays = {"median": ("ms", times), "p90": ("ms", 1.1 * times), "speed-up": ("x", times[0] / times)}
    values = {
        array: runs.Values(unit=unit, axes=("point", "batch"), values=each.tolist(), labels=labels)
        for array, (unit, each) in arrays.items()
    }
    return make_measurement(folder, "latency", values, name=name, **machine)


def make_measurement(
    folder: RunFolder, measurement: str, arrays: Mapping[str, runs.Values], *, name: str | None = None, **facts: Any
) -> Path:
    """Add a measurement to a finished run; its result.json. facts: fields of the result, such as options."""
    path = folder.measurements / (name or f"{measurement}-0") / "result.json"
    runs.atomic.make_folder(path.parent)
    known = {"precision": "fp32", "device": "cpu", "threads": 2, "processor": "Some CPU", "torch": "2.14"} | facts
    weights = folder.result().weights_sha256
    result = runs.MeasureResult(
        run=folder.name, measurement=measurement, weights_sha256=weights, arrays=dict(arrays), **known
    )
    runs.save_result(path, result)
    return path
