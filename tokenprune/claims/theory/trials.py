"""A study per experiment of the laboratory: the trials of all seeds as arrays. nan: diverged, or given up.

Shapes: v values of the axis, n training set sizes, t trials of all seeds, i iterations, e step sizes, r numbers of
removed tokens.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokenprune.claims.theory.study import Array, LaboratoryStudy
from tokenprune.theory.attention import AttentionResult
from tokenprune.theory.phase import PhaseResult
from tokenprune.theory.result import TheoryResult
from tokenprune.theory.sparsify import SparsifyResult
from tokenprune.theory.spatial import SpatialResult
from tokenprune.theory.time import TimeResult


class PhaseStudy(LaboratoryStudy[PhaseResult]):
    """A phase diagram."""

    @cached_property
    def loss(self) -> Float[Array, "v n t"]:
        """Test hinge loss."""
        return self.pooled("loss")

    @cached_property
    def successes(self) -> Int[Array, "v n"]:
        return _count(self.loss < self.first.success)

    @cached_property
    def diverged(self) -> Int[Array, "v n"]:
        return _count(np.isnan(self.loss))


class AttentionStudy(LaboratoryStudy[AttentionResult]):
    """Curves of attention, loss and norms over training."""

    CURVES = ("attention", "attention_relevant", "loss", "query_norm", "query_norm_other", "key_norm", "key_norm_other")

    def curve(self, name: str) -> Float[Array, "i t"]:
        """Trials that did not diverge: a trial has diverged if anything measured in it ceased to be finite."""
        return self.pooled(name, trials=0)[self._finite].T

    @property
    def trials(self) -> int:
        """Without those that diverged."""
        return int(self._finite.sum())

    @property
    def diverged(self) -> int:
        return int((~self._finite).sum())

    @cached_property
    def _finite(self) -> Array:
        return np.all([np.isfinite(self.pooled(name, trials=0)).all(1) for name in self.CURVES], axis=0)


class SparsifyStudy(LaboratoryStudy[SparsifyResult]):
    """Loss over removed tokens, and success over N before and after removal, by method."""

    def curve(self, name: str, method: str) -> Float[Array, "r t"]:
        """name: loss, accuracy or relevant."""
        return self.pooled(name, method)

    def complexity(self, method: str) -> Float[Array, "n t"]:
        """Test hinge loss at each N."""
        return self.pooled("complexity", method)

    def successes(self, method: str) -> Int[Array, " n"]:
        return _count(self.complexity(method) < self.first.success)

    def diverged(self, name: str, method: str) -> Int[Array, " ..."]:
        """Models without a loss: of the curves (`loss`) by removed tokens, of `complexity` by N."""
        return _count(np.isnan(self.pooled(name, method)))


class TimeStudy(LaboratoryStudy[TimeResult]):
    """Iterations until the test loss counts as zero."""

    def iterations(self) -> Float[Array, "e v t"]:
        """At least 1, infinite where given up."""
        known = self.pooled("iterations")
        return np.where(np.isnan(known), np.inf, np.maximum(known, 1))

    @property
    def diverged(self) -> int | None:
        """Models, as far as they were counted."""
        counted = [result.diverged for result in self.results if result.diverged is not None]
        return sum(counted) if counted else None


class SpatialStudy(LaboratoryStudy[SpatialResult]):
    """Patch association on a source task, and accuracy on a target task."""

    CURVES = ("overlap", "exact", "loss", "accuracy")

    def curve(self, name: str) -> Float[Array, "i t"]:
        return self.pooled(name, trials=0).T

    def constructed(self, name: str, attention: str) -> Float[Array, " t"]:
        """One of CURVES, of networks that were built and not trained."""
        return self.pooled(f"constructed_{name}", attention)

    def target(self, arm: str) -> Float[Array, "n t"]:
        """Test accuracy on the target task."""
        return self.pooled("target_accuracy", arm)

    def successes(self, arm: str) -> Int[Array, " n"]:
        return _count(self.target(arm) >= self.first.success)


_STUDIES: dict[type[TheoryResult], type[LaboratoryStudy[Any]]] = {
    PhaseResult: PhaseStudy,
    AttentionResult: AttentionStudy,
    SparsifyResult: SparsifyStudy,
    TimeResult: TimeStudy,
    SpatialResult: SpatialStudy,
}


def laboratory_studies(results: Iterable[tuple[str, TheoryResult]]) -> list[LaboratoryStudy[Any]]:
    """Results, each with the name of its folder, by setting; seeds in order."""
    settings: dict[str, list[tuple[str, TheoryResult]]] = {}
    for name, result in sorted(results, key=lambda pair: (pair[1].name, pair[1].setting, pair[1].seed)):
        settings.setdefault(result.setting, []).append((name, result))
    return [
        _STUDIES.get(type(found[0][1]), LaboratoryStudy)(*map(tuple, zip(*found, strict=True)))
        for found in settings.values()
    ]


def _count(true: Array) -> Array:
    """Over the last axis, the trials."""
    return np.asarray(true.sum(-1))
