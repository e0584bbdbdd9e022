"""Accuracy of a model over kept-token ratios on any loader of images."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, get_args

import torch
from timm.models import VisionTransformer
from torch import Tensor

from tokenprune.api.sparsify import Sparsified, quarters, ratios
from tokenprune.data import Batch
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.evaluation import CurvePlan, curves_of
from tokenprune.hardware import Precision
from tokenprune.pruners.base import Pruner
from tokenprune.pruners.registry import is_learned, untrained_pruners
from tokenprune.recipe import Schedule


class Row(NamedTuple):
    """A method at a ratio. Accuracy and agreement with the unpruned model are shares of the images.

    keep: the ratio, or `0.9/0.7/0.5`. draw: of a random pruner, else None. low, high: Wilson's 95 % interval of the
    accuracy. tokens: share of the patch tokens present, mean over blocks. speed: images a second, None below three
    batches of like size; speedup: over the unpruned model, in turns with it.
    """

    method: str
    keep: float | str
    draw: int | None
    accuracy: float
    low: float
    high: float
    agreement: float
    tokens: float
    gflops: float
    speed: float | None
    speedup: float | None


class Table(list[Row]):
    """Rows that print as a table; `pandas.DataFrame(table)` takes them too."""

    def __str__(self) -> str:
        lines: list[tuple[str, ...]] = [
            ("method", "keep", "draw", "accuracy, %", "agreement, %", "tokens, %", "GFLOPs", "speed-up")
        ]
        for row in self:
            speedup = "" if row.speedup is None else f"{row.speedup:.2f}"
            shares = (f"{100 * share:.1f}" for share in (row.accuracy, row.agreement, row.tokens))
            draw = "" if row.draw is None else str(row.draw)
            lines.append((row.method, f"{row.keep}", draw, *shares, f"{row.gflops:.3f}", speedup))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            )
            for line in lines
        )


def evaluate(
    model: VisionTransformer | Sparsified,
    loader: Iterable[tuple[Tensor, Tensor]],
    methods: Sequence[str] | str = ("magnitude", "random", "downsample"),
    keep: float | Sequence[float | Sequence[float]] = (1.0, 0.9, 0.7, 0.5, 0.3),
    *,
    sites: str | None = None,
    draws: int = 3,
    seed: int = 0,
    precision: Precision = "fp32",
) -> Table:
    """A row per method and ratio on the images of a loader, all in one pass.

    model: a timm Vision Transformer, or one that `sparsify` made: its pruner, with its options and what it learned, is
    then measured by its name. loader: (images, labels) batches, normalised as the model needs them. methods: pruners,
    or `all` that need no training. sites: as of `sparsify`; None is where that removes tokens, or its default. draws,
    seed: of random pruners.

    Raises UsageError as `sparsify` does, and for labels that are no classes; TokenpruneError where the loader has no
    images.
    """
    vit = model.sparse.vit if isinstance(model, Sparsified) else model
    own, taught = (model.method, model.pruner) if isinstance(model, Sparsified) else (("", {}), None)
    device = next(vit.parameters()).device
    names = untrained_pruners() if methods == "all" else [methods] if isinstance(methods, str) else list(methods)

    def fill(name: str, pruner: Pruner) -> None:
        if taught is not None and name == own[0]:
            pruner.load_state_dict(taught.state_dict())
        elif is_learned(name):
            raise UsageError(
                f"pruner {name!r} has parameters to learn: sparsify a model with it, train that, give that"
            )

    asked = [keep] if isinstance(keep, int | float) else list(keep)
    if vit.num_classes < 1:
        raise UsageError("evaluate: the model has no classifier (num_classes)")
    if draws < 1 or not asked or not names or precision not in get_args(Precision):
        raise UsageError("evaluate: takes a method, a ratio and a draw at least, and precision fp32 or bf16")
    batches = _numbered(loader, device, vit.num_classes, tuple(vit.patch_embed.img_size))
    first = next(batches, None)
    if first is None:
        raise TokenpruneError("evaluate: the loader has no images")
    plan = CurvePlan(
        methods=tuple((name, own[1] if name == own[0] else {}) for name in names),
        keep=tuple(map(ratios, asked)),
        schedule=Schedule.parse(sites) if sites is not None else _sites(model),
        seeds=draws,
        batch_size=len(first.labels),
        precision=precision,
        examples=0,
    )
    measured = curves_of(vit, chain([first], batches), plan, run="", seed=seed, device=device, fill=fill)
    return Table(
        Row(
            curve.result.method,
            point.keep or point.keep_ratio,
            point.seed,
            point.accuracy,
            point.low,
            point.high,
            float(point.agreement or 0.0),
            point.realised_mean,
            point.flops / 1e9,
            point.images_per_second,
            point.speedup,
        )
        for curve in measured
        for point in curve.result.points
    )


def _sites(model: VisionTransformer | Sparsified) -> Schedule:
    return model.sparse.schedule if isinstance(model, Sparsified) else quarters(model)


def _numbered(
    loader: Iterable[tuple[Tensor, Tensor]], device: torch.device, classes: int, size: tuple[int, int]
) -> Iterator[Batch]:
    """Batches that hold images, numbered on. Raises UsageError for other images, and labels that are no classes."""
    done = 0
    for batch in loader:
        if not isinstance(batch, Sequence) or len(batch) != 2 or not isinstance(batch[0], Tensor):
            raise UsageError("evaluate: the loader gives pairs of images (a tensor) and labels")
        images, labels = batch[0], torch.as_tensor(batch[1])
        if images.ndim != 4 or images.shape[-2:] != size:
            raise UsageError(
                f"evaluate: images are {list(images.shape)}, the model takes [images, 3, {size[0]}, {size[1]}]"
            )
        if not images.shape[0]:
            continue
        if labels.ndim != 1 or labels.is_floating_point() or labels.min() < 0 or labels.max() >= classes:
            raise UsageError(f"evaluate: labels are whole numbers from 0 to {classes - 1}, one for each image")
        index = torch.arange(done, done + len(labels), device=device)
        yield Batch(images.to(device), labels.to(device), None, index)
        done += len(labels)
