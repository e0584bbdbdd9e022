"""T5: tokens removed in training and test."""

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.removal import after_removal
from tokenprune.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    "T5",
    "Removal of tokens",
    None,
    (
        Claim(
            id="theory-sparsify",
            experiment="T5",
            name="removal lowers samples",
            statement="Removing label-irrelevant or noisy tokens lowers sample complexity.",
            source=f"{PAPER}, corollary on sparsification",
            reads="sparsify results",
            test="log2 of N50 after removal over N50 before, or after random removal of as many tokens, is below 0",
            unit="doublings of N50",
            support=(None, 0.0),
            find=after_removal,
        ),
    ),
)
