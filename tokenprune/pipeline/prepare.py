"""A recipe's images and model on their device."""

from dataclasses import dataclass
from pathlib import Path

import torch

from tokenprune import data, hardware, models, pruners
from tokenprune.data import Dataset
from tokenprune.models import SparseViT
from tokenprune.recipe import Recipe, Schedule


@dataclass(frozen=True)
class Prepared:
    """A recipe's data and model on their device."""

    recipe: Recipe
    dataset: Dataset
    model: SparseViT
    device: torch.device
    precision: hardware.Precision
    threads: int


def prepare(recipe: Recipe, data_dir: Path | None) -> Prepared:
    """Load the images and build the model with the recipe's seed. Raises TokenpruneError, UsageError."""
    device = hardware.choose_device(recipe.run.device)
    threads = hardware.set_threads(recipe.run.threads)
    precision = hardware.choose_precision(recipe.train.precision, device)
    dataset = data.load(recipe.data, data_dir)
    torch.manual_seed(recipe.run.seed)
    vit = models.build(recipe.model, len(dataset.classes), dataset.train.images.shape[-1])
    # Fused attention's backward pass is the slower one on CPU (docs/architecture.md).
    models.set_attention(vit, fused=device.type == "cuda")
    if recipe.model.checkpoint is not None:
        models.load_weights(vit, recipe.model.checkpoint)
    pruner, schedule = None, None
    if recipe.pruner.name != "none":
        pruner, schedule = (
            pruners.create(recipe.pruner.name, **recipe.pruner.options),
            Schedule.parse(recipe.pruner.site),
        )
    model = SparseViT(vit, pruner, schedule, recipe.pruner.input_scores)
    return Prepared(recipe, dataset.to(device), model.to(device), device, precision, threads)
