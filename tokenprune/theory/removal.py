"""Removal of tokens from samples before the network sees them."""

import numpy as np

from tokenprune.theory.jobs import Removed
from tokenprune.theory.tokens import CONFUSION, IRRELEVANT, RELEVANT, Samples

# Order in which kinds are removed as label-irrelevant: label-relevant ones only when no others are left.
_ORDER = {IRRELEVANT: 0, CONFUSION: 1, RELEVANT: 2}


def remove(samples: Samples, removed: Removed, rng: np.random.Generator) -> Samples:
    """The samples without those tokens (Li et al., ICLR 2023, corollary on sparsification).

    irrelevant: tokens of patterns that are not discriminative, at random among them; where a sample has too few, then
    confusion tokens, then label-relevant ones. noisy: by the true norm of their noise, of any kind. random: any.
    Raises ValueError for `magnitude`, which the network does itself.
    """
    if removed.method == "magnitude":
        raise ValueError("magnitude removes tokens by a network's attention, not by properties of the samples")
    ties = rng.random(samples.kind.shape, np.float32)
    if removed.method == "random":
        order = ties
    elif removed.method == "noisy":
        order = -samples.noise
    else:
        order = ties + np.array([_ORDER[kind] for kind in (RELEVANT, CONFUSION, IRRELEVANT)])[samples.kind]
    rank = order.argsort(1).argsort(1)
    return samples.keep(rank >= removed.count)
