"""A recipe's images and model on their device."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.models import VisionTransformer

from tokenprune import data, hardware, models, pruners
from tokenprune.data import Dataset
from tokenprune.errors import WARNING, TokenpruneError, UsageError, counted
from tokenprune.models import SparseViT, Weights
from tokenprune.pipeline.normalise import check_normalised, normalised, trained_otherwise
from tokenprune.pruners.base import Pruner
from tokenprune.recipe import Data, Recipe, Schedule, read_resolved
from tokenprune.recipe.schema import weights_at
from tokenprune.runs import RunFolder


@dataclass(frozen=True)
class Prepared:
    """A recipe's data and model on their device."""

    recipe: Recipe
    dataset: Dataset
    model: SparseViT
    device: torch.device
    precision: hardware.Precision
    threads: int
    weights: Weights | None = None  # that it starts from
    teacher: VisionTransformer | None = None  # of the pruner, in eval mode
    notes: tuple[str, ...] = ()  # warnings for the user, a line each


#: Bytes of images that one process keeps: eight data sets of CIFAR-10's size.
CACHE_BYTES = 2 * 2**30


class DatasetCache:
    """Photographs, and data sets on their device, that one process keeps from run to run.

    Cached values are never changed, so results do not depend on what ran before.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._read = functools.cache(data.read)  # scenes and subsets are made of the same photographs
        self._datasets: dict[str, Dataset] = {}

    def dataset(
        self, spec: Data, data_dir: Path | None, device: torch.device, say: Callable[[str], None] | None = None
    ) -> Dataset:
        """As `data.load`, on `device`; those used longest ago are dropped."""
        key = f"{spec.model_dump_json()} {data_dir} {device}"
        found = self._datasets.pop(key, None)
        if found is None:
            found = data.load(spec, data_dir, self._read, say).to(device, hardware.room_for_images(device))
        while self._datasets and _bytes(found) + sum(map(_bytes, self._datasets.values())) > self.limit:
            del self._datasets[next(iter(self._datasets))]
        self._datasets[key] = found
        return found

    def provenance(self, spec: Data, data_dir: Path | None) -> dict[str, Any]:
        """As `data.provenance`."""
        return data.provenance(spec, data_dir, self._read)


def _bytes(dataset: Dataset) -> int:
    return dataset.train.nbytes + dataset.test.nbytes


def prepare(
    recipe: Recipe,
    data_dir: Path | None,
    cache: DatasetCache | None = None,
    weights: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Prepared:
    """The images and the model with the recipe's seed. Raises TokenpruneError, UsageError.

    weights: of the run that it starts from, instead of `model.checkpoint`. Nothing is pretrained here.
    say: takes lines about images, before anything is slow.
    """
    cache = cache or DatasetCache()
    device = hardware.choose_device(recipe.run.device)
    threads = hardware.set_threads(recipe.run.threads)
    precision = hardware.choose_precision(recipe.train.precision, device)
    dataset = normalised(cache.dataset(recipe.images, data_dir, device, say), recipe)
    torch.manual_seed(recipe.run.seed)
    vit = models.build(recipe.model, len(dataset.classes), dataset.side)
    # Fused attention's backward pass is the slower one on CPU (docs/architecture.md).
    models.set_attention(vit, fused=device.type == "cuda")
    read, notes = None, [_untaught(dataset), _unread(dataset), _passed(dataset)]
    if (first := weights or recipe.model.checkpoint) is not None:
        read = models.load_weights(vit, first, None if weights else recipe.model.checkpoint_key)
        if recipe.train.epochs == 0 and recipe.model.head == "checkpoint" and read.initialised:
            raise UsageError(_other_classes(read, recipe, len(dataset.classes)))
        notes += [str(read), trained_otherwise(Path(first), read, recipe, dataset)]
    pruner, schedule = None, None
    if recipe.pruner.removes:
        pruner, schedule = (
            pruners.create(recipe.pruner.name, **recipe.pruner.options),
            Schedule.parse(recipe.pruner.site),
        )
    model = models.runnable(vit, pruner, schedule, recipe.pruner.keep).to(device)
    model.schedule.check(model.depth, model.class_pooled)
    notes.append(_hardly_learns(recipe, pruner))
    if pruner is not None and pruner.fixed and (recipe.pruner.anneal_epochs or recipe.pruner.anneal_from):
        raise UsageError(f"pruner.anneal_epochs: pruner {recipe.pruner.name!r} is made for one number of tokens")
    if pruner is not None and pruner.fixed and recipe.train.patch_dropout:
        raise UsageError(f"train.patch_dropout: pruner {recipe.pruner.name!r} is made for one number of tokens")
    if models.has_codes(vit) and (recipe.train.patch_dropout or recipe.train.image_size is not None):
        raise UsageError(
            "train.patch_dropout, train.image_size: not for models with rotary codes, positional or local attention"
        )
    if (small := recipe.train.image_size) is not None:
        side = dataset.side
        if pruner is not None:
            raise UsageError("train.image_size: only without a pruner")
        if small >= side or small % model.patch_size:
            raise UsageError(
                f"train.image_size: found {small}, must be less than the {side} pixels of these images "
                f"and a multiple of the model's patches of {model.patch_size}"
            )
    teacher = None
    if pruner is not None and recipe.train.teacher is not None:
        if not pruner.uses_teacher or type(pruner).loss is Pruner.loss:
            raise UsageError(f"train.teacher: pruner {recipe.pruner.name!r} has no loss that uses a teacher")
        teacher, note = _teacher(recipe.train.teacher, recipe, dataset)
        teacher.to(device)
        notes.append(note)
    return Prepared(recipe, dataset, model, device, precision, threads, read, teacher, tuple(filter(None, notes)))


def _teacher(path: str, recipe: Recipe, dataset: Dataset) -> tuple[VisionTransformer, str | None]:
    """A run's model, or this recipe's with other weights, in eval mode; and a warning where it saw other images."""
    spec, weights = recipe.model, weights_at(path)
    try:
        if Path(path).is_dir():
            run = RunFolder(Path(path))
            spec, weights = read_resolved(run.resolved).model, run.check_weights()
        vit = models.build(spec, len(dataset.classes), dataset.side)
        read = models.load_weights(vit, weights)
    except TokenpruneError as error:
        raise type(error)(f"train.teacher: {error}") from error
    if read.initialised:
        raise UsageError(
            f"train.teacher: {weights} classifies other classes than {', '.join(dataset.classes[:5])}, ..."
        )
    return vit.eval().requires_grad_(False), trained_otherwise(weights, read, recipe, dataset)


def _hardly_learns(recipe: Recipe, pruner: Pruner | None) -> str | None:
    """A warning where the model itself hardly learns and starts from nothing."""
    if (
        pruner is None
        or pruner.model_rate >= 1
        or recipe.model.checkpoint is not None
        or recipe.start.source is not None
    ):
        return None
    return (
        f"{WARNING}pruner {recipe.pruner.name!r} trains the model at {pruner.model_rate:g} of the learning rate, and "
        "it starts from random weights; model.checkpoint=RUN/weights.safetensors starts from a trained one"
    )


def _other_classes(read: Weights, recipe: Recipe, count: int) -> str:
    """The error for a classifier that is of other classes than the images."""
    has = "it has no classifier" if read.classes is None else f"its classifier has {counted(read.classes, 'output')}"
    if recipe.data.classes is not None:
        return f"{read.file}: {has}, and {recipe.data.classes} (data.classes) names {count:,}"
    return (
        f"{read.file}: its classifier is not one of the {count} classes of these images ({has}); --head linear "
        "(model.head) trains one, --head knn needs no training; --classes (data.classes) names the outputs of one that "
        "has these classes among others"
    )


def _untaught(dataset: Dataset) -> str | None:
    names = dataset.provenance.get("untaught", [])
    if names and (file := dataset.provenance.get("classes")):
        return f"{file['path']}: no training images of {len(names):,} of its {len(dataset.classes):,} classes"
    return f"{WARNING}no training images of {_some(names)}" if names else None


def _unread(dataset: Dataset) -> str | None:
    names = dataset.provenance.get("unread", [])
    what = f"{counted(len(names), 'image file')} cannot be read and left out"
    return f"{WARNING}{what}: {_some(names)}" if names else None


def _passed(dataset: Dataset) -> str | None:
    names = dataset.provenance.get("passed", [])
    return f"{WARNING}not read, as by name no image: {_some(names)}" if names else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def prepare_run(
    run: RunFolder,
    recipe: Recipe,
    device: str | None,
    data_dir: Path | None,
    cache: DatasetCache | None = None,
    say: Callable[[str], None] | None = None,
) -> Prepared:
    """A finished run's model and images, both checked to be unchanged."""
    weights = run.check_weights()
    if device is not None:
        recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"device": device})})
    bare = recipe.model_copy(
        update={
            "start": Recipe().start,
            "pruner": Recipe().pruner,
            "model": recipe.model.model_copy(update={"checkpoint": None, "init": "timm"}),  # weights are loaded
        }
    )
    prepared = prepare(bare, data_dir, cache, say=say)
    run.check_images(prepared.dataset.provenance)
    check_normalised(run.environment, prepared.dataset)
    models.load_weights(prepared.model.vit, weights)
    return prepared
