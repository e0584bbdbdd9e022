"""T8 and T9: spatially structured data, positional attention, and its transfer to another task."""

from tokenprune.claims import Claim
from tokenprune.claims.theory.spatial import PAPER as SPATIAL
from tokenprune.claims.theory.spatial import associates, transfers
from tokenprune.experiments.experiment import Experiment

ASSOCIATION = Experiment(
    "T8",
    "Association of patches",
    None,
    (
        Claim(
            id="theory-spatial-association",
            experiment="T8",
            name="patches are associated",
            statement="Trained on spatially structured data, positional attention comes to associate patches of one "
            "set.",
            source=f"{SPATIAL}: patch association is learnt by minimising the training loss",
            reads="spatial results",
            test="overlap of the C - 1 largest A_ij with i's own set, last less first, is above 0; variant exact",
            unit="share",
            support=(0.0, None),
            find=associates,
        ),
    ),
)

TRANSFER = Experiment(
    "T9",
    "Transfer of structure",
    None,
    (
        Claim(
            id="theory-spatial-transfer",
            experiment="T9",
            name="structure transfers",
            statement="With attention taken from a task of the same spatial structure, fewer samples are needed.",
            source=f"{SPATIAL}: fine-tuning v with A frozen needs far fewer samples",
            reads="spatial results",
            test="log2 of N50 from scratch over N50 with A frozen and v trained is above 0",
            unit="doublings of N50",
            support=(0.0, None),
            find=transfers,
        ),
    ),
)
