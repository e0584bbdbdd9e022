"""What a measurement may ask of a finished run beside its model: its curves, its images, its model pruned.

A pruning is a method with its options, a site, and what stays there; the measurements that compare a model before and
after pruning take `methods`, `keep` and `site` as options, and by default what the run's curves have.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from tokenprune import pruners
from tokenprune.data import Batch, Dataset, test_batches, test_batches_at
from tokenprune.errors import UsageError, shortened
from tokenprune.evaluation import CurvePlan, draw_seed
from tokenprune.hardware import Precision
from tokenprune.models import BatchInfo, SparseViT, Trace
from tokenprune.pruners.base import Pruner
from tokenprune.pruners.registry import untrained_pruners
from tokenprune.recipe import Keep, Recipe, Schedule, named, pruner_options, read_keep
from tokenprune.runs import PruneResult


@dataclass(frozen=True)
class Pruning:
    """options: as JSON, so that prunings can be told apart."""

    method: str
    options: str
    site: str
    keep: Keep

    @property
    def plan(self) -> CurvePlan:
        """What `tokenprune prune` would be asked for."""
        return CurvePlan(((self.method, json.loads(self.options)),), (self.keep,), Schedule.parse(self.site))


@dataclass(frozen=True)
class Pruned:
    """The model under one pruning. seed: of its draws."""

    model: SparseViT
    keep: Keep
    seed: int

    def __call__(self, batch: Batch) -> Trace:
        """The whole forward pass of a batch; a random method makes the first draw that `tokenprune prune` makes."""
        info = BatchInfo(batch.relevance, batch.labels, batch.index, self.seed)
        return self.model.run(batch.images, self.keep, info)


@dataclass(frozen=True)
class Subject:
    """A finished run.

    model: in eval mode, without a pruner. curves: what `tokenprune prune` left, but fine-tuned ones, whose models are
    not kept. fill: loads the trained parameters of a pruner into it. data_dir: where images of other data sets are.
    notes: lines that a measurement adds, to be kept with its result. progress: called with what is done and its total.
    """

    model: SparseViT
    dataset: Dataset
    device: torch.device
    precision: Precision
    recipe: Recipe
    curves: tuple[PruneResult, ...]
    fill: Callable[[CurvePlan, str, Pruner], None]
    data_dir: Path | None = None
    notes: list[str] = field(default_factory=list)
    progress: Callable[[int, int], None] = lambda done, total: None

    def batches(self) -> Iterator[Batch]:
        """All test images."""
        return test_batches(self.dataset, self.recipe.evaluate.batch_size, self.model.patch_size)

    def batches_at(self, places: Iterable[Int[Tensor, " b"]]) -> Iterator[Batch]:
        """The test images at each of these places."""
        where = self.dataset.test.images.device
        return test_batches_at(self.dataset, (index.to(where) for index in places), self.model.patch_size)

    def prunings(self, methods: object = None, keep: object = None, site: object = None) -> list[Pruning]:
        """Those asked for that remove a token, each once. None: as in the run's curves, or without any in its recipe.

        methods: a name or a list of names, `all` for every one that needs no training. keep: a ratio, 0.9/0.7/0.5 (one
        for each site), r=8, or a list of these.

        Raises UsageError for an unknown method or site, and what cannot stay.
        """
        sites = [str(Schedule.parse(_text("site", site)))] if site is not None else self._sites()
        names = None if methods is None else [_text("methods", name) for name in listed("methods", methods)]
        if names is not None and "all" in names:
            names = untrained_pruners()
        keeps = None if keep is None else [read_keep(each) for each in listed("keep", keep)]
        found: dict[Pruning, None] = {}
        for at in sites:
            Schedule.parse(at).check(self.model.depth, self.model.class_pooled)
            for name, options in self._methods(at, names):
                pruners.create(name, **json.loads(options))
                found |= dict.fromkeys(
                    Pruning(name, options, at, each) for each in keeps or self._keeps(at, name, options)
                )
        return [each for each in found if self._removes(each)]

    def unpruned(self) -> Pruned:
        """The model itself."""
        return Pruned(self.model, 1.0, draw_seed(self.recipe.run.seed, 0))

    def pruned(self, pruning: Pruning) -> Pruned:
        """The model under a pruning; its weights are shared. UsageError for a pruner that is not trained for it."""
        ((name, options),), (keep,) = pruning.plan.methods, pruning.plan.keep
        pruner = pruners.create(name, **options)
        model = SparseViT(self.model.vit, pruner, pruning.plan.schedule, keep)
        self.fill(pruning.plan, name, pruner)
        pruner.to(self.device).eval()
        model.training = False  # of the model alone: its weights are in eval mode
        return Pruned(model, keep, draw_seed(self.recipe.run.seed, 0))

    def _sites(self) -> list[str]:
        return sorted({curve.written_site for curve in self.curves}) or [self.recipe.evaluate.site]

    def _methods(self, site: str, names: Sequence[str] | None) -> list[tuple[str, str]]:
        """Methods with their options: of the curves at that site or, where they are not named there, of the recipe."""
        known: dict[str, set[str]] = {}
        for curve in self._at(site):
            known.setdefault(curve.method, set()).add(_json(curve.options))
        if names is None:
            names = sorted(known) or self.recipe.evaluate.methods
        fresh = {name: {_json(pruner_options(self.recipe, name))} for name in names if name not in known}
        return [(name, options) for name in names for options in sorted((known | fresh)[name])]

    def _keeps(self, site: str, name: str, options: str) -> list[Keep]:
        own = [curve for curve in self._at(site) if (curve.method, _json(curve.options)) == (name, options)]
        points = [point for curve in own or self._at(site) for point in curve.points]
        asked = dict.fromkeys(point.keep or point.keep_ratio for point in points)
        return [read_keep(each) for each in asked] or list(self.recipe.evaluate.points)

    def _at(self, site: str) -> list[PruneResult]:
        return [curve for curve in self.curves if curve.written_site == site]

    def _removes(self, pruning: Pruning) -> bool:
        model = SparseViT(self.model.vit, None, pruning.plan.schedule)
        return model.counts(pruning.keep)[-1] < model.patches


def labels(prunings: Sequence[Pruning | None]) -> dict[str, tuple[str | float, ...]]:
    """Columns of an axis whose places are prunings; None stands for the unpruned model, method `none` at keep 1."""
    rows: list[tuple[Any, ...]] = [
        ("none", "{}", "", 1.0) if each is None else (each.method, each.options, each.site, named(each.keep))
        for each in prunings
    ]
    return dict(zip(("method", "options", "site", "keep"), zip(*rows, strict=True), strict=True))


def listed(option: str, value: object) -> list[Any]:
    """One value or several as a list. Raises UsageError for none."""
    found = list(value) if isinstance(value, list | tuple) else [value]
    if not found:
        raise UsageError(f"option {option}: an empty list")
    return found


def whole(option: str, value: object) -> int:
    """Raises UsageError for what is no whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"option {option}: found {shortened(repr(value))}, must be a whole number, 1 or more")
    return value


def _text(option: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"option {option}: found {shortened(repr(value))}, must be text")
    return value


def _json(options: Any) -> str:
    return json.dumps(options, sort_keys=True)
