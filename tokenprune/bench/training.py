"""A training step and a whole epoch, against the plain loop."""

from collections.abc import Callable

import torch

from tokenprune import data, hardware, models
from tokenprune.bench import plain
from tokenprune.bench.timing import Ratio, interleaved
from tokenprune.data import Dataset
from tokenprune.models import SparseViT
from tokenprune.recipe import Recipe, parse_recipe
from tokenprune.training import Job, Learner, Reporter, train

BATCH = 128
TARGET = 3.0

#: The images of the shipped recipes' sizes; that they are patterns does not change the time.
_RECIPE = """
data: {{source: patterns, patterns: {{train_size: {count}, test_size: 10}}}}
model: {{depth: {depth}, dim: 192, heads: 3}}
train: {{epochs: 1, batch_size: {batch}, warmup_epochs: 0}}
"""


def ceiling(rounds: int) -> Ratio:
    """The most that bf16 can gain here: an MLP's three matrix products in fp32 over the same in bf16. Bounds `step`."""
    device = hardware.choose_device("auto")
    tokens, dim, hidden = BATCH * 65, 192, 768

    def products(kind: torch.dtype) -> Callable[[], None]:
        x, w = torch.randn(tokens, dim, device=device, dtype=kind), torch.randn(hidden, dim, device=device, dtype=kind)
        g = torch.randn(tokens, hidden, device=device, dtype=kind)

        def run() -> None:
            for _ in range(10):
                _ = x @ w.T, g @ w, g.T @ x  # forward, gradient of the input, gradient of the weight

        return run

    seconds = interleaved({"fp32": products(torch.float32), "bf16": products(torch.bfloat16)}, rounds, warm_up=2)
    what = f"matrix products of an MLP, {tokens} tokens, fp32 over bf16: the most that bf16 can gain here"
    return Ratio("step/ceiling", what, seconds["fp32"] / seconds["bf16"], seconds)


def step(depth: int, rounds: int) -> Ratio:
    """One optimiser step on a batch that is ready."""
    job = _job(depth, count=2 * BATCH)
    spec = job.recipe.train
    batch = next(iter(data.train_batches(job.dataset, spec.augment, BATCH, 4, seed=0, epoch=0)))
    learner, loop = Learner(job, per_epoch=2), _plain_loop(job)
    variants = {"plain": lambda: loop.step(batch.images, batch.labels), "tokenprune": lambda: learner.step(batch)}
    seconds = interleaved(variants, rounds, warm_up=2)
    what = f"training step, batch {BATCH}, {job.precision} against fp32"
    return Ratio(f"step/depth-{depth}", what, seconds["plain"] / seconds["tokenprune"], seconds, TARGET)


def epoch(depth: int, rounds: int, count: int) -> Ratio:
    """An epoch of `count` images with crop and flip: loading, augmentation and steps, nothing measured between."""
    job = _job(depth, count)
    loop = _plain_loop(job)
    variants = {"plain": lambda: loop.epoch(job.dataset, BATCH), "tokenprune": lambda: train(job, Reporter())}
    seconds = interleaved(variants, rounds)
    what = f"epoch of {count} images with crop and flip, against DataLoader and torchvision"
    return Ratio(f"epoch/depth-{depth}", what, seconds["plain"] / seconds["tokenprune"], seconds, TARGET)


def _job(depth: int, count: int) -> Job:
    recipe: Recipe = parse_recipe(_RECIPE.format(count=count, depth=depth, batch=BATCH), "bench")
    device = hardware.choose_device("auto")
    dataset: Dataset = data.load(recipe.images).to(device)
    vit = models.build(recipe.model, len(dataset.classes), 32)
    models.set_attention(vit, fused=device.type == "cuda")
    precision = hardware.choose_precision("auto", device)
    return Job(recipe, SparseViT(vit).to(device), dataset, device, precision, observe=False)


def _plain_loop(job: Job) -> plain.Loop:
    vit = models.build(job.recipe.model, len(job.dataset.classes), 32)
    return plain.Loop(vit, job.device)
