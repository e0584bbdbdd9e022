"""I2 and I7: models trained and tested with fewer tokens, of clean images and of images with noise tokens."""

from functools import partial

from tokenprune.claims import Claim
from tokenprune.claims.published import PAPER
from tokenprune.claims.training import against_none, clean, grouped, groups_of, magnitude_against_random, noisy
from tokenprune.drawing import plots
from tokenprune.drawing.style import INK, Drawing, looks
from tokenprune.experiments.arms import Compared, by_keep, drawing, drawn, mean
from tokenprune.experiments.experiment import Experiment

_COROLLARY = f"{PAPER}, corollary: dropping label-irrelevant or very noisy tokens raises alpha_* and helps"
_NEAREST = "at the trained keep ratio nearest alpha_* of all tokens, trained and tested, less accuracy without a pruner"


def _ratios(name: str, found: Compared) -> Drawing:
    """Accuracy of models trained and tested at each ratio, a line per method."""
    methods = [method for method in found.methods if method != "none"]
    look = {method: (*look, "-") for method, look in looks(methods).items()}
    entries = [*((*look[method], method) for method in methods), (INK, "", ":", "all tokens")]
    figure, (axes,) = plots.panels(found.titles, entries)
    for ax, group in zip(axes, found.groups, strict=True):
        for place, method in enumerate(methods):
            arms, aside = by_keep(group, method), 1.2 * (place - (len(methods) - 1) / 2)  # bars beside one another
            plots.line(ax, [100 * arm.keep + aside for arm in arms], [mean(arm) for arm in arms], look[method])
        for arm in group.of("none"):
            plots.level(ax, mean(arm))
            plots.mark_alpha(ax, arm.alpha)
    plots.label_outer(axes, "patch tokens kept in training and test, %", "test accuracy, %")
    plots.percent_kept(axes)
    return drawing(
        name,
        found,
        figure,
        "Accuracy of models trained and tested with fewer tokens",
        "Test accuracy of models that are trained and tested at each share of patch tokens, a line per method. Dotted, "
        "with its interval in grey: all tokens. The thin vertical mark α* is the label-relevant share of all tokens.",
    )


EXPERIMENT = Experiment(
    "I2",
    "Training with fewer tokens",
    "sparsify",
    (
        Claim(
            id="sparsified-training-helps",
            statement="Training and testing without label-irrelevant tokens raises accuracy.",
            source=_COROLLARY,
            reads="runs trained without a pruner and with oracle",
            test=f"accuracy(oracle) {_NEAREST}, is above 0",
            unit="accuracy",
            find=grouped(lambda group: against_none(group, "oracle"), clean),
        ),
        Claim(
            id="sparsified-by-magnitude-costs-little",
            statement="Training and testing with the tokens of largest attention costs less than a twentieth of the "
            "accuracy above chance.",
            source=_COROLLARY,
            reads="runs trained without a pruner and with magnitude",
            test=f"accuracy(magnitude) {_NEAREST}, is above -0.05 (accuracy without a pruner - 1 / classes)",
            unit="accuracy",
            find=grouped(lambda group: against_none(group, "magnitude", little=True), clean),
        ),
        Claim(
            id="sparsified-magnitude-beats-random",
            statement="Trained and tested with them, tokens of largest attention give more accuracy than random ones.",
            source=f"{PAPER}, corollary on sparsification: what matters is which tokens are dropped",
            reads="runs trained with magnitude and with random",
            test="mean over common keep ratios of accuracy(magnitude) - accuracy(random), trained and tested, is above "
            "0",
            unit="accuracy",
            find=grouped(magnitude_against_random, clean),
        ),
    ),
    drawn(groups_of(clean), partial(_ratios, "sparsified")),
)

NOISE = Experiment(
    "I7",
    "Noise tokens",
    "noise",
    (
        Claim(
            id="dropping-noise-helps",
            statement="Where noise stands in for tokens, training and testing without it raises accuracy.",
            source=_COROLLARY,
            reads="runs of images with noise tokens, trained without a pruner and with oracle",
            test=f"accuracy(oracle) {_NEAREST}, is above 0",
            unit="accuracy",
            find=grouped(lambda group: against_none(group, "oracle"), noisy),
        ),
        Claim(
            id="magnitude-drops-noise",
            statement="Where noise stands in for tokens, keeping those of largest attention raises accuracy.",
            source=_COROLLARY,
            reads="runs of images with noise tokens, trained without a pruner and with magnitude",
            test=f"accuracy(magnitude) {_NEAREST}, is above 0",
            unit="accuracy",
            find=grouped(lambda group: against_none(group, "magnitude"), noisy),
        ),
        Claim(
            id="magnitude-drops-noise-first",
            statement="Where noise stands in for tokens, those of largest attention are better kept than random ones.",
            source=f"{PAPER}, corollary on sparsification: what matters is which tokens are dropped",
            reads="runs of images with noise tokens, trained with magnitude and with random",
            test="mean over common keep ratios of accuracy(magnitude) - accuracy(random), trained and tested, is above "
            "0",
            unit="accuracy",
            find=grouped(magnitude_against_random, noisy),
        ),
    ),
    drawn(groups_of(noisy), partial(_ratios, "noise")),
)
