"""T1, T2, T3 and T6: samples needed over alpha_*, token noise and the starting error, by ViT and CNN."""

from functools import partial

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.scaling import against_cnn, scaling
from tokenprune.experiments.experiment import Experiment

ALPHA = Experiment(
    "T1",
    "Samples over alpha_*",
    None,
    (
        Claim(
            id="theory-alpha",
            experiment="T1",
            name="samples over alpha_*",
            statement="Sample complexity falls as alpha_* grows, and no faster than alpha_*^-2.",
            source=f"{PAPER}, Theorem 1",
            reads="phase results of the ViT over alpha_*",
            test="the exponent g of N50 ~ alpha_*^-g is above 0 and at most 2. In a single pass N is iterations times "
            "batch, so N50 also measures how fast SGD is: N50 eta / batch is reported as well. g depends on the N of "
            "the grid: the g of a success rate that need not reach 1 is reported with it",
            unit="exponent of 1 / alpha_*",
            support=(0.0, 2.0),
            find=partial(scaling, axis="alpha"),
        ),
    ),
)

NOISE = Experiment(
    "T2",
    "Samples over token noise",
    None,
    (
        Claim(
            id="theory-noise",
            experiment="T2",
            name="samples over token noise",
            statement="Sample complexity grows with token noise tau.",
            source=f"{PAPER}, Theorem 1, as (Theta(1) - tau)^-2 (full form as recalled)",
            reads="phase results of the ViT over tau",
            test="the slope of N50^-1/2 against tau is below 0; the form is not tested, its lack of fit is reported",
            unit="N^-1/2 per unit of tau",
            support=(None, 0.0),
            find=partial(scaling, axis="noise"),
        ),
    ),
)

START = Experiment(
    "T3",
    "Samples over the starting error",
    None,
    (
        Claim(
            id="theory-start",
            experiment="T3",
            name="samples over the starting error",
            statement="Sample complexity grows with the starting error sigma.",
            source=f"{PAPER}, Theorem 1, as (Theta(1) - sigma)^-2 (full form as recalled)",
            reads="phase results of the ViT over sigma, with delta twice that",
            test="the slope of N50^-1/2 against sigma is below 0; the form is not tested, its lack of fit is reported",
            unit="N^-1/2 per unit of sigma",
            support=(None, 0.0),
            find=partial(scaling, axis="start"),
        ),
    ),
)

CNN = Experiment(
    "T6",
    "ViT and CNN",
    None,
    (
        Claim(
            id="theory-vit-beats-cnn",
            experiment="T6",
            name="ViT needs fewer than a CNN",
            statement="As alpha_* falls, a CNN of about as many parameters needs ever more samples than the ViT.",
            source=f"{PAPER}, Proposition 1: alpha_*^-4 against alpha_*^-2",
            reads="phase results over alpha_* of a ViT and a CNN on the same data, trained alike",
            test="exponent g of N50 ~ alpha_*^-g of the CNN less that of the ViT is above 0. In a single pass N is "
            "iterations times batch, so this also compares how fast SGD trains them",
            unit="exponent of 1 / alpha_*",
            support=(0.0, None),
            find=against_cnn,
        ),
    ),
)
