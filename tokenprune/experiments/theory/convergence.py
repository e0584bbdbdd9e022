"""T7: iterations to zero test error."""

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.convergence import convergence
from tokenprune.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    "T7",
    "Iterations to zero error",
    None,
    (
        Claim(
            id="theory-time",
            experiment="T7",
            name="iterations over alpha_* and eta",
            statement="Iterations to zero test error grow no faster than alpha_*^-1 eta^-1.",
            source=f"{PAPER}, Theorem 1: Theta(alpha_*^-1 eta^-1)",
            reads="time results of the ViT",
            test="the exponent h of T ~ alpha_*^-h is above 0 and at most 1; variant eta: of T ~ eta^-h. At least "
            "three "
            "alpha_* (three eta) and six trials",
            unit="exponent of 1 / alpha_*",
            support=(0.0, 1.0),
            find=convergence,
        ),
    ),
)
