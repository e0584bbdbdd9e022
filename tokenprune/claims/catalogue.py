"""Every claim, I1 to I7 of trained models and T1 to T9 of the laboratory. Rules were fixed before the results."""

from tokenprune.claims.accuracy import RECALL, compare, irrelevant_removed, relevance_kept
from tokenprune.claims.attention import concentration
from tokenprune.claims.claim import Claim
from tokenprune.claims.published import PAPER, SPURIOUS, Published
from tokenprune.claims.samples import fewer_samples
from tokenprune.claims.starts import from_cifar100, least_against_most_noise
from tokenprune.claims.study import each, measured, observed
from tokenprune.claims.theory.catalogue import LABORATORY
from tokenprune.claims.training import (
    against_none,
    clean,
    grouped,
    magnitude_against_random,
    noisy,
    spurious,
    worst_group,
)

_COROLLARY = f"{PAPER}, corollary: dropping label-irrelevant or very noisy tokens raises alpha_* and helps"
_NEAREST = "at the trained keep ratio nearest alpha_* of all tokens, trained and tested, less accuracy without a pruner"
_CURVES = (SPURIOUS["cifar100"], SPURIOUS["cifar10"])

_OF_IMAGES: tuple[Claim, ...] = (
    Claim(
        id="fewer-samples",
        experiment="I1",
        name="fewer samples as alpha_* grows",
        statement="With fewer label-irrelevant tokens a test accuracy needs fewer samples.",
        source=f"{PAPER}, Theorem 1: N >= Omega(alpha_*^-2) samples suffice",
        reads="runs trained without a pruner and with oracle, on three or more train sizes",
        test=(
            "k in N ~ alpha_*^-k is above 0: minus the slope of log N needed over log alpha_*, mean over the "
            "accuracies of the curve of least alpha_* at its train sizes but the smallest and the largest"
        ),
        unit="exponent",
        find=fewer_samples,
        published=(Published("N >= Omega(alpha_*^-2)", "slides"),),
    ),
    Claim(
        id="sparsified-training-helps",
        experiment="I2",
        name="oracle in training helps",
        statement="Training and testing without label-irrelevant tokens raises accuracy.",
        source=_COROLLARY,
        reads="runs trained without a pruner and with oracle",
        test=f"accuracy(oracle) {_NEAREST}, is above 0",
        unit="accuracy",
        find=grouped(lambda group: against_none(group, "oracle"), clean),
    ),
    Claim(
        id="sparsified-by-magnitude-is-free",
        experiment="I2",
        name="magnitude in training is free",
        statement="Training and testing with the tokens of largest attention costs nothing or helps.",
        source=_COROLLARY,
        reads="runs trained without a pruner and with magnitude",
        test=f"accuracy(magnitude) {_NEAREST}, is above -0.01",
        unit="accuracy",
        find=grouped(lambda group: against_none(group, "magnitude"), clean),
        support=(-0.01, None),
    ),
    Claim(
        id="sparsified-magnitude-beats-random",
        experiment="I2",
        name="magnitude in training beats random",
        statement="Trained and tested with them, tokens of largest attention give more accuracy than random ones.",
        source=f"{PAPER}, corollary on sparsification: what matters is which tokens are dropped",
        reads="runs trained with magnitude and with random",
        test="mean over common keep ratios of accuracy(magnitude) - accuracy(random), trained and tested, is above 0",
        unit="accuracy",
        find=grouped(magnitude_against_random, clean),
    ),
    Claim(
        id="magnitude-beats-random",
        experiment="I3",
        name="magnitude beats random",
        statement="Keeping the tokens of largest attention loses less accuracy than keeping random ones.",
        source=f"{PAPER}, corollary on sparsification: what matters is which tokens are dropped",
        reads="prune results of magnitude and random",
        test="mean over common keep ratios below 1 of accuracy(magnitude) - accuracy(random, mean of draws) is above 0",
        unit="accuracy",
        find=each(lambda study: compare(study, "magnitude", "random"), measured),
    ),
    Claim(
        id="magnitude-keeps-relevant",
        experiment="I3",
        name="magnitude keeps relevant tokens",
        statement="The tokens of largest attention are label-relevant more often than chance has it.",
        source=f"{PAPER}, Proposition 2: attention concentrates on label-relevant tokens",
        reads="prune results of magnitude",
        test=(
            "mean over keep ratios below 1 of the share of label-relevant area that magnitude keeps less the share of "
            "tokens that it keeps is above 0"
        ),
        unit="share of relevant tokens",
        find=each(relevance_kept, measured),
    ),
    Claim(
        id="oracle-at-least-magnitude",
        experiment="I3",
        name="oracle at least magnitude",
        statement="Keeping label-relevant tokens is at least as good as keeping the tokens of largest attention.",
        source=f"{PAPER}, corollary: dropping label-irrelevant tokens raises alpha_*",
        reads="prune results of oracle and magnitude",
        test="mean over common keep ratios below 1 of accuracy(oracle) - accuracy(magnitude) is above -0.005",
        unit="accuracy",
        find=each(lambda study: compare(study, "oracle", "magnitude"), measured),
        support=(-0.005, None),
    ),
    Claim(
        id="removing-irrelevant-is-free",
        experiment="I3",
        name="removing irrelevant is free",
        statement="Dropping label-irrelevant tokens costs nothing or helps.",
        source=_COROLLARY,
        reads="prune results of oracle",
        test=(
            f"at the smallest keep ratio below 1 at which the oracle keeps {RECALL:.0%} of the relevant area, "
            "accuracy(oracle) - accuracy(unpruned) is above -0.01"
        ),
        unit="accuracy",
        find=each(irrelevant_removed, measured),
        support=(-0.01, None),
    ),
    Claim(
        id="attention-concentrates",
        experiment="I4",
        name="attention concentrates",
        statement="During training attention concentrates on label-relevant tokens.",
        source=f"{PAPER}, Proposition 2: attention summed over label-relevant tokens tends to 1 - eta^C",
        reads="attention_on_relevant of the epochs",
        test="attention on label-relevant tokens, mean over blocks, after training less before it is above 0",
        unit="share of attention",
        find=each(concentration, observed),
    ),
    Claim(
        id="sparsification-cures-spurious",
        experiment="I5",
        name="sparsification cures spurious",
        statement=(
            "Under a spurious correlation, removing label-irrelevant tokens raises the accuracy of the worst group."
        ),
        source=f"{PAPER}, corollary: sparsification can also drop spurious correlations",
        reads="runs of spurious scenes, trained without a pruner and with oracle",
        test="accuracy of the worst group of test images at the largest alpha_* less that at the smallest is above 0",
        unit="accuracy",
        find=grouped(worst_group, spurious),
        published=tuple(
            Published(
                f"accuracy {curve.y[0]:g} -> {curve.y[-1]:g}, {curve.name}, alpha_* {curve.x[0]:g} -> "
                f"{curve.x[-1]:g}; mean accuracy, not of the worst group",
                "slides, read off axes",
            )
            for curve in _CURVES
        ),
    ),
    Claim(
        id="start-from-cifar100-helps",
        experiment="I6",
        name="a CIFAR-100 start helps",
        statement="A model that starts from CIFAR-100 reaches more accuracy than one from scratch.",
        source=f"{PAPER}, Theorem 1: a smaller error sigma, delta of the start needs fewer samples",
        reads="runs from scratch and from a start on CIFAR-100",
        test="accuracy(start from CIFAR-100) - accuracy(from scratch) is above 0",
        unit="accuracy",
        find=from_cifar100,
        published=(
            Published(
                f"at alpha_* {_CURVES[0].x[1]:g}: {_CURVES[0].y[1]:g} from CIFAR-100, "
                f"{_CURVES[1].y[1]:g} from modified CIFAR-10",
                "slides, read off axes",
            ),
        ),
    ),
    Claim(
        id="noisier-start-is-worse",
        experiment="I6",
        name="a noisier start is worse",
        statement="The noisier the images that a model starts from, the less accuracy it reaches.",
        source=f"{PAPER}, Theorem 1: a smaller error sigma, delta of the start needs fewer samples",
        reads="runs from starts on CIFAR-10 under noise",
        test="accuracy(start under least noise) - accuracy(start under most noise) is above 0",
        unit="accuracy",
        find=least_against_most_noise,
        published=(Published("Theorem 1: larger sigma, delta need more samples", "recalled"),),
    ),
    Claim(
        id="dropping-noise-helps",
        experiment="I7",
        name="dropping noise helps",
        statement="Where noise stands in for tokens, training and testing without it raises accuracy.",
        source=_COROLLARY,
        reads="runs of images with noise tokens, trained without a pruner and with oracle",
        test=f"accuracy(oracle) {_NEAREST}, is above 0",
        unit="accuracy",
        find=grouped(lambda group: against_none(group, "oracle"), noisy),
    ),
    Claim(
        id="magnitude-drops-noise",
        experiment="I7",
        name="magnitude drops noise",
        statement="Where noise stands in for tokens, keeping those of largest attention raises accuracy.",
        source=_COROLLARY,
        reads="runs of images with noise tokens, trained without a pruner and with magnitude",
        test=f"accuracy(magnitude) {_NEAREST}, is above 0",
        unit="accuracy",
        find=grouped(lambda group: against_none(group, "magnitude"), noisy),
    ),
)

CLAIMS: tuple[Claim, ...] = (*_OF_IMAGES, *LABORATORY)
