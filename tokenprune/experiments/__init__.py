"""Every experiment: I1 to I15 of trained models, T1 to T9 of the laboratory; a new one is a module and a line.

A module holds an experiment's claims, figures and tables. Rules of claims were fixed before the results.
"""

from tokenprune.claims import Claim
from tokenprune.experiments import (
    attention,
    features,
    flatness,
    heads,
    low_pass,
    magnitude,
    methods,
    networks,
    positional,
    samples,
    sparsified,
    spurious,
    starts,
)
from tokenprune.experiments.experiment import Experiment
from tokenprune.experiments.theory import attention as attention_over_time
from tokenprune.experiments.theory import convergence, removal, scaling, spatial

EXPERIMENTS: tuple[Experiment, ...] = (
    samples.EXPERIMENT,
    sparsified.EXPERIMENT,
    magnitude.EXPERIMENT,
    attention.EXPERIMENT,
    spurious.EXPERIMENT,
    starts.EXPERIMENT,
    sparsified.NOISE,
    methods.EXPERIMENT,
    positional.EXPERIMENT,
    features.EXPERIMENT,
    networks.EXPERIMENT,
    flatness.EXPERIMENT,
    low_pass.EXPERIMENT,
    heads.EXPERIMENT,
)

LABORATORY: tuple[Experiment, ...] = (
    scaling.ALPHA,
    scaling.NOISE,
    scaling.START,
    attention_over_time.EXPERIMENT,
    removal.EXPERIMENT,
    scaling.CNN,
    convergence.EXPERIMENT,
    spatial.ASSOCIATION,
    spatial.TRANSFER,
)

CLAIMS: tuple[Claim, ...] = tuple(claim for each in (*EXPERIMENTS, *LABORATORY) for claim in each.claims)

__all__ = ["CLAIMS", "EXPERIMENTS", "LABORATORY", "Experiment"]
