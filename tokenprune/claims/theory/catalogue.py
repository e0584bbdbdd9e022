"""The claims of the laboratory, T1 to T9. Ids and rules were fixed before the results."""

from tokenprune.claims.claim import Claim
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.attention import concentration
from tokenprune.claims.theory.convergence import convergence
from tokenprune.claims.theory.removal import after_removal
from tokenprune.claims.theory.scaling import against_alpha, against_cnn, against_noise, against_start
from tokenprune.claims.theory.spatial import PAPER as SPATIAL
from tokenprune.claims.theory.spatial import associates, transfers

LABORATORY: tuple[Claim, ...] = (
    Claim(
        id="theory-alpha",
        experiment="T1",
        name="samples over alpha_*",
        statement="Sample complexity falls as alpha_* grows, and no faster than alpha_*^-2.",
        source=f"{PAPER}, Theorem 1",
        reads="phase results of the ViT over alpha_*",
        test="the exponent g of N50 ~ alpha_*^-g is above 0 and at most 2. In a single pass N is iterations times "
        "batch, so N50 also measures how fast SGD is: N50 eta / batch stands with the numbers. g depends on the N of "
        "the grid: beside it stands the g of a success rate that need not reach 1",
        unit="exponent of 1 / alpha_*",
        support=(0.0, 2.0),
        find=against_alpha,
    ),
    Claim(
        id="theory-noise",
        experiment="T2",
        name="samples over token noise",
        statement="Sample complexity grows with token noise tau.",
        source=f"{PAPER}, Theorem 1, as (Theta(1) - tau)^-2 (full form as recalled)",
        reads="phase results of the ViT over tau",
        test="the slope of N50^-1/2 against tau is below 0; the form is not tested, its lack of fit stands beside",
        unit="N^-1/2 per unit of tau",
        support=(None, 0.0),
        find=against_noise,
    ),
    Claim(
        id="theory-start",
        experiment="T3",
        name="samples over the starting error",
        statement="Sample complexity grows with the starting error sigma.",
        source=f"{PAPER}, Theorem 1, as (Theta(1) - sigma)^-2 (full form as recalled)",
        reads="phase results of the ViT over sigma, with delta twice that",
        test="the slope of N50^-1/2 against sigma is below 0; the form is not tested, its lack of fit stands beside",
        unit="N^-1/2 per unit of sigma",
        support=(None, 0.0),
        find=against_start,
    ),
    Claim(
        id="theory-attention",
        experiment="T4",
        name="attention concentrates at 1/t",
        statement="Attention summed over label-relevant tokens grows in training, to a limit, no slower than 1/t.",
        source=f"{PAPER}, Proposition 2: to 1 - eta^C at a rate of O(1/t)",
        reads="attention results",
        test="last less first is above 0; variant rate: p in limit - a(t) ~ t^-p is above 1, where p is identified: a "
        "residual of at most 1 % of the rise, and an interval within 0.2 to 10",
        unit="share of attention",
        support=(0.0, None),
        find=concentration,
    ),
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
    Claim(
        id="theory-time",
        experiment="T7",
        name="iterations over alpha_* and eta",
        statement="Iterations to zero test error grow no faster than alpha_*^-1 eta^-1.",
        source=f"{PAPER}, Theorem 1: Theta(alpha_*^-1 eta^-1)",
        reads="time results of the ViT",
        test="the exponent h of T ~ alpha_*^-h is above 0 and at most 1; variant eta: of T ~ eta^-h. At least three "
        "alpha_* (three eta) and six trials",
        unit="exponent of 1 / alpha_*",
        support=(0.0, 1.0),
        find=convergence,
    ),
    Claim(
        id="theory-spatial-association",
        experiment="T8",
        name="patches are associated",
        statement="Trained on spatially structured data, positional attention comes to associate patches of one set.",
        source=f"{SPATIAL}: patch association is learnt by minimising the training loss",
        reads="spatial results",
        test="overlap of the C - 1 largest A_ij with i's own set, last less first, is above 0; variant exact",
        unit="share",
        support=(0.0, None),
        find=associates,
    ),
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
)
