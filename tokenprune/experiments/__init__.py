"""Every experiment, I1 to I7 of trained models and T1 to T9 of the laboratory; a new one is a module and a line here.

A module holds an experiment's claims, figures and tables. Rules of claims were fixed before the results.
"""

from tokenprune.claims import Claim
from tokenprune.claims.theory.catalogue import LABORATORY
from tokenprune.experiments import attention, magnitude, samples, sparsified, spurious, starts
from tokenprune.experiments.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    samples.EXPERIMENT,
    sparsified.EXPERIMENT,
    magnitude.EXPERIMENT,
    attention.EXPERIMENT,
    spurious.EXPERIMENT,
    starts.EXPERIMENT,
    sparsified.NOISE,
)

CLAIMS: tuple[Claim, ...] = (*(claim for experiment in EXPERIMENTS for claim in experiment.claims), *LABORATORY)

__all__ = ["CLAIMS", "EXPERIMENTS", "Experiment"]
