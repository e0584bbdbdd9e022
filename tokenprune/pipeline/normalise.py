"""Mean and sd that pixels are normalised by, compared with those that loaded weights were trained with."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm

from tokenprune import files, models
from tokenprune.data import Dataset
from tokenprune.errors import WARNING, TokenpruneError, UsageError
from tokenprune.models import Weights
from tokenprune.recipe import Recipe
from tokenprune.recipe.images import Channels

#: Statistics that differ by no more are the same ones, rounded: 2.55 of 255 levels.
NEAR = 0.01


def normalised(dataset: Dataset, recipe: Recipe) -> Dataset:
    """The data set with the mean and sd of `data.normalise`, which its provenance records."""
    by = recipe.data.normalise
    if not isinstance(by, str):
        mean, std = by
    elif by == "dataset":
        mean, std = dataset.mean, dataset.std
    elif (found := _of_timm(recipe)) is not None:
        mean, std = found
    else:
        raise UsageError(
            f"data.normalise: timm does not say what {recipe.model.name} was trained with: [mean, sd] does"
        )
    said = {"by": by if isinstance(by, str) else "recipe", "mean": list(mean), "std": list(std)}
    return replace(dataset, mean=mean, std=std, provenance={**dataset.provenance, "normalise": said})


def check_normalised(environment: Path, dataset: Dataset) -> None:
    """Raises TokenpruneError where a run's images were normalised otherwise, by another timm's table."""
    here, then = dataset.provenance["normalise"], (_record(environment).get("data") or {}).get("normalise") or {}
    pair = models.mean_and_std(then)
    if pair and not _near(pair, (here["mean"], here["std"])):
        raise TokenpruneError(
            f"{environment.parent}: trained on images normalised with {_said(*pair)}, here with "
            f"{_said(here['mean'], here['std'])}: the installed timm has other statistics; train the run again"
        )


def trained_otherwise(weights: Path, read: Weights, recipe: Recipe, dataset: Dataset) -> str | None:
    """A warning where weights were trained on images normalised otherwise; None where that is not known."""
    here, (who, there) = dataset.provenance["normalise"], _trained_with(weights, read, recipe)
    pair = models.mean_and_std(there)
    if there.get("by") == here["by"] == "dataset" or (pair and _near(pair, (here["mean"], here["std"]))):
        return None
    if pair is None and "by" not in there:
        return None
    trained = _said(*pair) if pair else "the statistics of its own images"
    return (
        f"{WARNING}{weights}: trained on images normalised with {trained} (says {who}), here with "
        f"{_said(here['mean'], here['std'])}; data.normalise changes that"
    )


def _trained_with(weights: Path, read: Weights, recipe: Recipe) -> tuple[str, Mapping[str, Any]]:
    """Mean and sd that weights were trained with, and the source of that: the first of four that has any."""
    if isinstance(ours := _record(weights.parent / "environment.json").get("data"), Mapping):
        said = ours.get("normalise")
        return "its run", said if isinstance(said, Mapping) else {"by": "dataset"}  # older runs had no other way
    if isinstance(hub := _record(weights.parent / "config.json").get("pretrained_cfg"), Mapping):
        return "config.json beside it", hub
    if read.normalised:
        return "its trainer", dict(zip(("mean", "std"), read.normalised, strict=True))
    return f"timm of {recipe.model.name}", dict(zip(("mean", "std"), _of_timm(recipe) or (), strict=False))


def _near(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> bool:
    return bool(np.abs(np.subtract(one, other)).max() <= NEAR)


def _of_timm(recipe: Recipe) -> tuple[Channels, Channels] | None:
    """Mean and sd that timm's model of that name was trained with."""
    found = timm.get_pretrained_cfg(recipe.model.name, allow_unregistered=False) if recipe.model.name else None
    return models.mean_and_std(found.to_dict()) if found else None


def _record(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = files.parse_json(files.read_text(path))
        return found if isinstance(found, dict) else {}
    return {}


def _said(mean: Sequence[float], std: Sequence[float]) -> str:
    return f"mean {', '.join(f'{each:.3g}' for each in mean)} and sd {', '.join(f'{each:.3g}' for each in std)}"
