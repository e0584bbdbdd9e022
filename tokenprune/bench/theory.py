"""The default phase diagram: models trained as one batch against the same models one after another."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from tokenprune.bench.timing import Ratio, interleaved
from tokenprune.theory.load import load_theory_recipe
from tokenprune.theory.phase import PhaseRecipe
from tokenprune.theory.run import theory_run
from tokenprune.theory.tokens import draw

PROMISED_SECONDS = 30.0
PROMISED_RATIO = 20.0


class PlainViT(torch.nn.Module):
    """Eq. 1 of Li et al. (ICLR 2023) as one would write it for a single model."""

    def __init__(self, dim: int, neurons: int, tokens: int) -> None:
        super().__init__()
        self.output = torch.nn.Parameter(0.01 * torch.randn(neurons, dim))
        self.value = torch.nn.Parameter(torch.eye(dim))
        self.key = torch.nn.Parameter(torch.eye(dim))
        self.query = torch.nn.Parameter(torch.eye(dim))
        self.signs = (2.0 * torch.randint(0, 2, (tokens, neurons)) - 1) / neurons**0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [b, l, d]: F of every sample."""
        attention = torch.softmax((x @ self.query.T) @ (x @ self.key.T).mT, -1)
        hidden = torch.relu(attention @ x @ self.value.T @ self.output.T)
        return (hidden * self.signs).sum((1, 2)) / x.shape[1]


def diagrams(trials: int, plain_trials: int, rounds: int) -> list[Ratio]:
    """Seconds of the diagram of `trials` a cell, and how many times longer the plain loop takes per model."""

    def load(count: int) -> PhaseRecipe:
        recipe = load_theory_recipe("phase-alpha", "phase", [f"grid.trials={count}"]).recipe
        assert isinstance(recipe, PhaseRecipe)
        return recipe

    seconds = interleaved({"batched": lambda: _batched(trials), "plain": lambda: _plain(load(plain_trials))}, rounds)
    cells = len(load(1).grid.values) * len(load(1).samples)
    models = cells * trials
    return [
        Ratio(
            "theory/diagram",
            f"seconds for the phase diagram of {models:,} models, saved chunk by chunk",
            seconds["batched"],
            seconds,
            PROMISED_SECONDS if trials == 20 else None,
            at_most=True,
        ),
        Ratio(
            "theory/batched",
            f"the same per model, over a plain loop of {cells * plain_trials} of the models with autograd",
            seconds["plain"] / plain_trials / (seconds["batched"] / trials),
            seconds,
            PROMISED_RATIO,
        ),
    ]


def _batched(trials: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        theory_run(load_theory_recipe("phase-alpha", "phase", [f"grid.trials={trials}"]), runs_dir=Path(folder))


def _plain(recipe: PhaseRecipe) -> None:
    rng = np.random.default_rng(0)
    for value in recipe.grid.values:
        data, spec = recipe.at(value)
        for samples in recipe.samples:
            for _ in range(recipe.grid.trials):
                model = PlainViT(data.dim, spec.neurons, data.count)
                optimizer = torch.optim.SGD(model.parameters(), lr=recipe.train.step_size)
                drawn = draw(data, samples, rng)
                x, y = torch.from_numpy(drawn.tokens).mT.contiguous(), torch.from_numpy(drawn.labels)
                for batch in range(0, samples, recipe.train.batch_size):
                    part = slice(batch, batch + recipe.train.batch_size)
                    loss = torch.clamp(1 - y[part] * model(x[part]), min=0).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                test = draw(data, recipe.grid.test_samples, rng)
                with torch.no_grad():
                    margins = torch.from_numpy(test.labels) * model(torch.from_numpy(test.tokens).mT)
                    torch.clamp(1 - margins, min=0).mean().item()
