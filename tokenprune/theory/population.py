"""Many independent models, each with its own samples, signs and initial weights, trained as one batch of tensors.

Shapes: m models trained together, n samples of each, d dimensions of a token, l tokens; others as in `network`.

Every model draws from a generator of its own, seeded by its key, so that its numbers depend neither on the models
trained with it (except for rounding in products of another batch size, 1e-7) nor on the order of chunks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tokenprune.theory.jobs import BLOCK, ModelJob, neurons
from tokenprune.theory.network import PatchCNN, ShallowViT
from tokenprune.theory.shallow import Descent
from tokenprune.theory.tokens import RELEVANT, Samples, draw, remove

_STREAM = 0x7E0
_TRAIN, _TEST, _START, _ORDER = range(4)

Network = ShallowViT | PatchCNN


@dataclass(frozen=True)
class Bags:
    """Samples of all models of a chunk. position: None where every sample has all its tokens."""

    tokens: Float[Tensor, "m n d l"]
    labels: Float[Tensor, "m n"]
    relevant: Float[Tensor, "m n l"]
    position: Int64[Tensor, "m n l"] | None

    def __getitem__(self, part: slice) -> "Bags":
        position = None if self.position is None else self.position[:, part]
        return Bags(self.tokens[:, part], self.labels[:, part], self.relevant[:, part], position)

    def at(self, rows: Int64[Tensor, "m 1"], index: Int64[Tensor, "m b"]) -> "Bags":
        position = None if self.position is None else self.position[rows, index]
        return Bags(self.tokens[rows, index], self.labels[rows, index], self.relevant[rows, index], position)


def test_bags(jobs: Sequence[ModelJob], device: torch.device) -> Bags:
    return _bags([_samples(job, _TEST, job.test_samples) for job in jobs], jobs, device)


def start(jobs: Sequence[ModelJob], device: torch.device) -> Network:
    """The initial networks.

    |W_V mu_j - p_j| = sigma and |W_K mu_j - q_j| = |W_Q mu_j - q_j| = delta, each error in a random direction of its
    own, p_j and q_j axis j; W_O ~ N(0, xi^2); entries of a_(l) are +-1/sqrt(m). The CNN has rows ~ N(0, xi^2) over the
    tokens themselves, and as many of them as make up for the attention's parameters.
    """
    drawn = [_start(job) for job in jobs]
    tensors = [torch.from_numpy(np.stack(part)).to(device) for part in zip(*drawn, strict=True)]
    if jobs[0].model.kind == "cnn":
        return PatchCNN(*tensors)
    output, value, key, query, signs = tensors
    network, removed = ShallowViT(output, value, key, query, signs), jobs[0].removed
    if removed is not None and removed.method == "magnitude":
        network.keep = jobs[0].data.count - removed.count
    return network


def descend(network: Network, jobs: Sequence[ModelJob], spec: Descent, device: torch.device) -> Iterator[int]:
    """SGD, in place: yields the number of steps taken, first 0, then after every step."""
    yield 0
    for done, bags in enumerate(_batches(jobs, spec, device), start=1):
        network.step(bags.tokens, bags.labels, spec.step_size, bags.position)
        yield done


def trained(jobs: Sequence[ModelJob], spec: Descent, device: torch.device) -> Network:
    """Networks after all steps."""
    network = start(jobs, device)
    for _ in descend(network, jobs, spec, device):
        pass
    return network


def relevant(network: Network, bags: Bags) -> Float[Tensor, "m 1"]:
    """Label-relevant share of the tokens that the network keeps."""
    kept = bags.relevant
    if isinstance(network, ShallowViT) and network.keep is not None:
        kept = torch.take_along_dim(kept, network.kept(bags.tokens), 2)
    return kept.mean((1, 2))[:, None]


def score(network: Network, bags: Bags, at_once: int = 20) -> Float[Tensor, "m 2"]:
    """Mean test hinge loss and test error of every model, NaN both where it diverged.

    `at_once` samples of each at a time, to stay within the cache.
    """
    parts = [bags[i : i + at_once] for i in range(0, bags.labels.shape[1], at_once)]
    agree = torch.cat([part.labels * network.margins(part.tokens, part.position) for part in parts], 1)
    loss = (1 - agree).clamp(min=0).mean(1)
    error = 1 - (agree > 0).to(agree.dtype).mean(1)
    return torch.stack([loss, torch.where(loss.isfinite(), error, torch.nan)], 1)


def _rng(job: ModelJob, part: int, *more: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([_STREAM, part, *job.key, *more]))


def _samples(job: ModelJob, part: int, count: int, *more: int) -> Samples:
    rng = _rng(job, part, *more)
    samples = draw(job.data, count, rng)
    if job.removed is None or job.removed.method == "magnitude":
        return samples
    return remove(samples, job.removed, rng)


def _bags(samples: Sequence[Samples], jobs: Sequence[ModelJob], device: torch.device) -> Bags:
    whole = samples[0].tokens.shape[2] == jobs[0].data.count
    return Bags(
        torch.from_numpy(np.stack([found.tokens for found in samples])).to(device),
        torch.from_numpy(np.stack([found.labels for found in samples])).to(device),
        torch.from_numpy(np.stack([found.kind == RELEVANT for found in samples]).astype(np.float32)).to(device),
        None if whole else torch.from_numpy(np.stack([found.position for found in samples])).to(device),
    )


def _batches(jobs: Sequence[ModelJob], spec: Descent, device: torch.device) -> Iterator[Bags]:
    """The batches of all steps; samples that do not fill a batch are left out."""
    steps, batch = jobs[0].samples // spec.batch_size, spec.batch_size
    if spec.epochs == 1:
        size = max(BLOCK // batch, 1) * batch
        for block, first in enumerate(range(0, steps * batch, size)):
            count = min(size, steps * batch - first)
            bags = _bags([_samples(job, _TRAIN, count, block) for job in jobs], jobs, device)
            for at in range(0, count, batch):
                yield bags[at : at + batch]
        return
    bags = _bags([_samples(job, _TRAIN, job.samples) for job in jobs], jobs, device)
    rows = torch.arange(len(jobs), device=device)[:, None]
    for epoch in range(spec.epochs):
        order = np.stack([_rng(job, _ORDER, epoch).permutation(job.samples) for job in jobs])
        index = torch.from_numpy(order).to(device)
        for at in range(0, steps * batch, batch):
            yield bags.at(rows, index[:, at : at + batch])


def _start(job: ModelJob) -> tuple[np.ndarray, ...]:
    rng, model, data = _rng(job, _START), job.model, job.data
    rows = neurons(model, data)
    if model.kind == "cnn":
        weights: tuple[np.ndarray, ...] = (_normal(rng, model.scale, rows, data.dim),)
    else:
        value, key = model.value_dim or data.dim, model.key_dim or data.dim
        weights = (
            _normal(rng, model.scale, rows, value),
            _near_identity(rng, model.sigma, value, data.dim),
            _near_identity(rng, model.delta, key, data.dim),
            _near_identity(rng, model.delta, key, data.dim),
        )
    columns = 1 if model.signs == "shared" else data.count
    signs = rng.choice(np.array([-1, 1], np.float32), (rows, columns)) / np.float32(np.sqrt(rows))
    return *weights, np.repeat(signs, data.count // columns, axis=1)


def _normal(rng: np.random.Generator, scale: float, rows: int, columns: int) -> np.ndarray:
    return np.float32(scale) * rng.standard_normal((rows, columns), np.float32)


def _near_identity(rng: np.random.Generator, distance: float, rows: int, columns: int) -> np.ndarray:
    """Axis j for pattern j, every column off by `distance` in a random direction."""
    error = rng.standard_normal((rows, columns), np.float32)
    return np.eye(rows, columns, dtype=np.float32) + np.float32(distance) * error / np.linalg.norm(error, axis=0)
