"""The papers' synthetic experiments: thousands of small models trained as one batch, an experiment per file.

An experiment is a module of this folder with an `EXPERIMENT`: its recipe, result and plan. Importing it imports
no torch; its plan does, where it trains.
"""

import importlib
from typing import TYPE_CHECKING

from tokenprune.errors import unknown

if TYPE_CHECKING:
    from tokenprune.theory.base import TheoryExperiment

EXPERIMENTS = {
    "phase": "success over (alpha_*, noise, start or confusion; training samples)",
    "attention": "attention on label-relevant tokens, iteration by iteration",
    "sparsify": "test loss over tokens removed, and the samples needed before and after",
    "time": "iterations to zero test loss over alpha_* and the step size",
    "spatial": "patch association, a solution without it, and transfer (Jelassi et al., NeurIPS 2022)",
}


def experiment(name: str) -> "TheoryExperiment":
    """Raises UsageError for an unknown name."""
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    found: TheoryExperiment = importlib.import_module(f"tokenprune.theory.{name}").EXPERIMENT
    return found
