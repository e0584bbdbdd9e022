"""Which cells of a sweep are left to run, and their cost. Nothing here imports torch, unless a timm model is named."""

import itertools
import zipfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tokenprune import cost, files
from tokenprune.errors import TokenpruneError
from tokenprune.identity import curve_id
from tokenprune.images import data_folder
from tokenprune.recipe import Recipe, Schedule, named, pruner_options
from tokenprune.recipe.sweep import Cell
from tokenprune.runs import RunFolder
from tokenprune.sweep.progress import CellRow

#: Training images, side in pixels, classes, as published.
KNOWN = {"cifar10": (50_000, 32, 10), "cifar100": (50_000, 32, 100), "svhn": (73_257, 32, 10)}

#: Classes of CIFAR-100 that `data.exclude` calls plants.
PLANTS = 15


def standing(cell: Cell, runs_dir: Path) -> CellRow:
    """A cell's state from its run folder; results that cannot be read make it failed, with the reason."""
    folder = RunFolder(runs_dir / cell.run)
    try:
        status = folder.status()
        if folder.finished:
            result = folder.result()
            done = all(_measured(folder, cell, i, result.precision) for i in range(len(cell.prune)))
            if done:
                return CellRow(cell, "finished", accuracy=result.test_accuracy)
        if status is not None and status.state == "running":
            return CellRow(cell, "elsewhere", message="another process is working in this run folder")
    except TokenpruneError as error:
        return CellRow(cell, "failed", message=str(error))
    return CellRow(cell, "waiting", begun=folder.resume.is_file() and not folder.finished)


def _measured(folder: RunFolder, cell: Cell, index: int, precision: str) -> bool:
    """Whether every curve of one entry of `prune` is there. Raises TokenpruneError for one that cannot be read."""
    spec, recipe = cell.prune[index], cell.loaded.recipe
    for method in spec.methods:
        identity = curve_id(
            pruner_options(recipe, method),
            list(map(named, spec.points)),
            spec.site,
            spec.seeds,
            spec.finetune_epochs,
            precision,
        )
        path = folder.prune_folder(method, identity) / "result.json"
        if not path.is_file():
            return False
        folder.curve(path.parent)
    return True


def training_flops(recipe: Recipe, data_dir: Path | None = None) -> float | None:
    """3 x forward x images x epochs, a backward pass counting as two forward ones; None if the images are not known.

    Forward passes are those of the pruner that the model is trained with, at its final ratio, on the patches that
    `train.patch_dropout` leaves of images shrunk to `train.image_size`.
    """
    known = _images(recipe, data_dir)
    if known is None:
        return None
    (count, side, classes), train = known, recipe.train
    dropping = _at_most(train.epochs, train.patch_dropout_epochs) if train.patch_dropout else 0.0
    small = _at_most(train.epochs, train.image_size_epochs) if train.image_size else 0.0
    forward = 0.0
    for start, stop in itertools.pairwise(sorted({0.0, dropping, small, float(train.epochs)})):
        whole = _architecture(recipe, train.image_size if train.image_size and start < small else side, classes)
        share = 1 - train.patch_dropout if start < dropping else 1.0
        few = replace(whole, patches=max(1, int(whole.patches * share)))
        forward += (stop - start) * (_forward(recipe, few) + whole.embedding - few.embedding)  # all are embedded
    return 3.0 * count * forward


def _at_most(epochs: int, asked: float | None) -> float:
    return float(epochs) if asked is None else asked


def _forward(recipe: Recipe, architecture: cost.Architecture) -> int:
    """FLOPs of one image's forward pass in training."""
    pruner = recipe.pruner
    if pruner.name == "none":
        return cost.flops(architecture).flops
    asks = ("attention",) if pruner.name == "magnitude" else ()
    schedule = Schedule.parse(pruner.site)
    return cost.flops(architecture, schedule, pruner.keep, asks).flops


def _architecture(recipe: Recipe, side: int, classes: int) -> cost.Architecture:
    model = recipe.model
    if model.name is not None or model.stages is not None:
        import torch

        from tokenprune import models

        with torch.device("meta"):
            return models.architecture_of(models.build(model, classes, side))
    return cost.Architecture(
        depth=model.depth,
        dim=model.dim,
        heads=model.heads,
        mlp_hidden=int(model.dim * model.mlp_ratio),
        patches=(side // model.patch_size) ** 2,
        prefix=int(model.class_token) + model.registers,
        patch_size=model.patch_size,
        classes=classes,
        class_token=model.class_token,
        qk_norm=model.qk_norm,
    )


def _images(recipe: Recipe, data_dir: Path | None) -> tuple[int, int, int] | None:
    """Training images, side, classes."""
    data = recipe.data
    if data.source == "patterns":
        known: tuple[int, int, int] | None = (data.patterns.train_size, data.patterns.image_size, data.patterns.classes)
    elif data.is_folder:
        known = None  # a folder's images are not counted here
    else:
        file = Path(data.source) if data.source not in KNOWN else data_folder(data_dir) / f"{data.source}.npz"
        known = _in_file(file) or KNOWN.get(data.source)
    if known is None:
        return None
    count, side, classes = known
    if data.exclude:
        left = classes - sum(PLANTS if name == "plants" else 1 for name in data.exclude)
        count, classes = count * left // classes, left  # classes are of equal size
    if data.scene == "spurious":
        count, classes = 2 * count // classes, 2  # birds and airplanes
    return data.train_size or count, data.image_size or side, classes


@lru_cache
def _in_file(path: Path) -> tuple[int, int, int] | None:
    """From the headers and labels of a prepared .npz, without its images; None if it cannot be read."""
    try:
        with files.opened(path) as handle:
            with zipfile.ZipFile(handle) as archive, archive.open("train_images.npy") as images:
                shape = _shape(images)
            handle.seek(0)
            with np.load(handle) as arrays:
                classes = len(arrays["classes"]) if "classes" in arrays else int(arrays["train_labels"].max()) + 1
    except Exception:  # damaged bytes raise many kinds of errors in zipfile and numpy
        return None
    return shape[0], shape[1], classes


def _shape(handle: Any) -> tuple[int, ...]:
    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(handle)[0]
