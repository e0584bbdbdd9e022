"""Training on the source task and on target tasks, and networks constructed instead of trained.

Shapes: m trials in work together, others as in `network`. A trial is independent of all others: its partition, its
source and target tasks, their samples and initial weights come from generators seeded by its number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tokenprune.theory.plan import Output, finite
from tokenprune.theory.result import marks
from tokenprune.theory.spatial import ARMS, BLOCK, SpatialRecipe
from tokenprune.theory.spatial.data import direction, draw, partition
from tokenprune.theory.spatial.network import PositionalViT, association

_STREAM = 0x5EA
_PARTITION, _FEATURE, _START, _TRAIN, _TEST, _ORDER = range(6)
_SOURCE = 0  # a target task is known by its N

#: A_ij of a constructed network where it attends; 0 elsewhere.
STRENGTH = 12.0

Batch = tuple[Float[Tensor, "m b d k"], Float[Tensor, "m b"]]


@dataclass(frozen=True)
class Task:
    """One task of each trial: partitions are the trial's, w*, samples and initial weights the task's."""

    recipe: SpatialRecipe
    trials: Sequence[int]
    which: int
    device: torch.device

    def rng(self, trial: int, part: int, *more: int) -> np.random.Generator:
        which = () if part == _PARTITION else (self.which,)
        return np.random.Generator(np.random.SFC64([_STREAM, part, self.recipe.run.seed, trial, *which, *more]))

    def sets(self, trial: int) -> np.ndarray:
        return partition(self.recipe.data, self.rng(trial, _PARTITION))

    def features(self) -> Float[Tensor, "m k"]:
        """w*"""
        return self.stacked([direction(self.recipe.data, self.rng(trial, _FEATURE)) for trial in self.trials])

    def samples(self, part: int, count: int, *more: int) -> Batch:
        data = self.recipe.data
        drawn = [
            draw(
                data,
                self.sets(trial),
                direction(data, self.rng(trial, _FEATURE)),
                count,
                self.rng(trial, part, *more),
            )
            for trial in self.trials
        ]
        patches, labels = zip(*drawn, strict=True)
        return self.stacked(patches), self.stacked(labels)

    def start(self) -> PositionalViT:
        """A_ij ~ N(0, attention_scale^2) off the diagonal, v ~ N(0, value_scale^2 I)."""
        data, model = self.recipe.data, self.recipe.model
        scores, values = [], []
        for trial in self.trials:
            rng = self.rng(trial, _START)
            scores.append(np.float32(model.attention_scale) * rng.standard_normal((data.patches,) * 2, np.float32))
            np.fill_diagonal(scores[-1], model.diagonal)
            values.append(np.float32(model.value_scale) * rng.standard_normal(data.dim, np.float32))
        return PositionalViT(self.stacked(scores), self.stacked(values), model)

    def fresh(self, iterations: int) -> Iterator[Batch]:
        """Batches of samples that are used once."""
        batch = self.recipe.train.batch_size
        for first in range(0, iterations, BLOCK):
            count = min(BLOCK, iterations - first)
            x, y = self.samples(_TRAIN, count * batch, first)
            for at in range(0, count * batch, batch):
                yield x[:, at : at + batch], y[:, at : at + batch]

    def repeated(self, iterations: int, count: int) -> Iterator[Batch]:
        """Batches out of `count` samples, in a new order each epoch; those that do not fill a batch are left out."""
        x, y = self.samples(_TRAIN, count)
        batch, done, epoch = self.recipe.train.batch_size, 0, 0
        rows = torch.arange(len(self.trials), device=self.device)[:, None]
        while done < iterations:
            orders = [self.rng(trial, _ORDER, epoch).permutation(count) for trial in self.trials]
            order = self.stacked(orders)
            for at in range(0, min(count // batch, iterations - done) * batch, batch):
                index = order[:, at : at + batch]
                yield x[rows, index], y[rows, index]
                done += 1
            epoch += 1

    def stacked(self, arrays: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self.device)


def score(network: PositionalViT, batch: Batch) -> Float[Tensor, "m 2"]:
    """Mean test logistic loss and test accuracy of each model, NaN both where it diverged."""
    x, y = batch
    agree = y * network.margins(x)
    loss = torch.nn.functional.softplus(-agree).mean(1)
    return torch.stack([loss, torch.where(loss.isfinite(), (agree > 0).to(loss.dtype).mean(1), torch.nan)], 1)


def constructed(start: PositionalViT, sets: Float[Tensor, "m d"], features: Tensor) -> dict[str, PositionalViT]:
    """Networks with v = 2 w* / d that were not trained, by where they attend.

    own: every patch to its own set. other: to the next set, so that no patch is associated with its own; F sums over
    all patches alike, so it does not matter which of them looks at which set. start: as before training.
    """
    value = 2 * features / start.scores.shape[1]
    found = {"start": PositionalViT(start.scores.clone(), value, start.spec)}
    last = int(sets.max())
    for name, shift in (("own", 0), ("other", 1)):
        wanted = (sets + shift) % (last + 1)
        scores = STRENGTH * (wanted[:, :, None] == sets[:, None]).to(value.dtype)
        scores.diagonal(dim1=1, dim2=2).fill_(start.spec.diagonal)
        found[name] = PositionalViT(scores, value, start.spec)
    return found


def train(recipe: SpatialRecipe, trials: Sequence[int], device: torch.device) -> Output:
    """For each trial: its curves, constructed networks by name, accuracy on target tasks by arm and N."""
    source = Task(recipe, trials, _SOURCE, device)
    sets = source.stacked([source.sets(trial) for trial in trials])
    same = sets[:, :, None] == sets[:, None]
    network, test = source.start(), source.samples(_TEST, recipe.curve.test_samples)
    made = {
        name: finite(_measured(made, same, test))
        for name, made in constructed(network, sets, source.features()).items()
    }
    points, curve = set(marks(recipe.curve.iterations, recipe.curve.every)), [_measured(network, same, test)]
    for done, (x, y) in enumerate(source.fresh(recipe.curve.iterations), start=1):
        network.step(x, y, recipe.train.step_size, recipe.train.attention_step_size)
        if done in points:
            curve.append(_measured(network, same, test))
    target = {
        arm: [_target(recipe, trials, count, arm, network, device) for count in recipe.transfer.samples] for arm in ARMS
    }
    return {"curve": finite(torch.stack(curve, 1)), "made": made, "target": target}


def _measured(network: PositionalViT, same: Bool[Tensor, "m d d"], test: Batch) -> Float[Tensor, "m 4"]:
    """Overlap, exact match, loss, accuracy."""
    return torch.cat([association(network.scores, same), score(network, test)], 1)


def _target(
    recipe: SpatialRecipe, trials: Sequence[int], count: int, arm: str, source: PositionalViT, device: torch.device
) -> Output:
    """Test accuracy of each trial after training on `count` samples of a target task of its own.

    Both arms see the same samples in the same order and start from the same v.
    """
    task = Task(recipe, trials, count, device)
    network = task.start()
    if arm == "transfer":
        network.scores = source.scores.clone()
    rate = recipe.train.attention_step_size if arm == "scratch" else 0.0
    for x, y in task.repeated(recipe.transfer.iterations, count):
        network.step(x, y, recipe.train.step_size, rate)
    return finite(score(network, task.samples(_TEST, recipe.curve.test_samples))[:, 1])
