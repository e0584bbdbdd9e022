"""T4: attention over training."""

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.attention import concentration
from tokenprune.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    "T4",
    "Attention over training",
    None,
    (
        Claim(
            id="theory-attention",
            experiment="T4",
            name="attention concentrates at 1/t",
            statement="Attention summed over label-relevant tokens grows in training, to a limit, no slower than 1/t.",
            source=f"{PAPER}, Proposition 2: to 1 - eta^C at a rate of O(1/t)",
            reads="attention results",
            test="last less first is above 0; variant rate: p in limit - a(t) ~ t^-p is above 1, where p is "
            "identified: a "
            "residual of at most 1 % of the rise, and an interval within 0.2 to 10",
            unit="share of attention",
            support=(0.0, None),
            find=concentration,
        ),
    ),
)
