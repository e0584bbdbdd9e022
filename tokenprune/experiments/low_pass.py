"""I14: what pruning does to frequencies of feature maps, and training with it to the loss."""

from collections.abc import Sequence
from functools import partial

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.features import FOURIER, at_pi, low_pass, prunings
from tokenprune.claims.flatness import HESSIAN, flatter_by_pruning, pruned_and_not
from tokenprune.claims.measured import Selected
from tokenprune.claims.readings import by_seed
from tokenprune.claims.study import TrainedStudy
from tokenprune.drawing import plots
from tokenprune.drawing.style import INK, Drawing, looks
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.flatness import spectra, spectrum
from tokenprune.experiments.measured import MOST, names, over, picture, shown
from tokenprune.runs import MeasureResult

_OURS = "this program: whether pruning filters as attention does"
_METHODS = ("magnitude", "random")


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    measured = [study for study in studies if prunings(study)]
    figures: list[Figure] = [partial(_frequencies, group) for group in shown(measured, FOURIER, _unpruned)]
    for base, arms, variant in pruned_and_not(studies):
        found = [study for study in (base, *arms) if by_seed(study, HESSIAN, spectrum)][:MOST]
        if len(found) > 1:
            titles = [
                "trained with all tokens" if each.method == "none" else f"at keep {each.keep:g}" for each in found
            ]
            figures.append(partial(spectra, found, titles, f"pruned-{variant}-{base.setting}"))
    return figures


def _unpruned(result: MeasureResult) -> Selected:
    return at_pi(result, method="none")


def _frequencies(studies: Sequence[TrainedStudy]) -> Drawing:
    """Log amplitude at pi by half-block, unpruned and at the smallest keep ratio measured."""
    colors = looks(_METHODS)
    entries = [(INK, "", "-", "unpruned"), *((*colors[method], "-", method) for method in _METHODS)]
    titles = []
    for study, name in zip(studies, names(studies), strict=True):
        at = prunings(study)[0]
        titles.append(f"{name}, keep {at.keeps[-1]} at {at.site}")
    figure, (axes,) = plots.panels(titles, entries, height=2.2)
    said = []
    for ax, study, title in zip(axes, studies, titles, strict=True):
        at = prunings(study)[0]
        for method in ("none", *_METHODS):
            point = (
                {"method": method} if method == "none" else {"method": method, "site": at.site, "keep": at.keeps[-1]}
            )
            found = list(by_seed(study, FOURIER, partial(at_pi, **point)).values())
            if found:
                means = over(each.values for each in found)
                look = (INK, "", "-") if method == "none" else (*colors[method], "-")
                plots.line(ax, range(len(means)), means, look, width=1.1, scale=1)
                said.append(f"{title}, {method}: {means[-1].value:.3g} at last.")
    plots.label_outer(axes, "unit", "log amplitude at π")
    return picture(
        "filter",
        "High frequencies before and after pruning",
        "Log amplitude of feature maps at the highest frequency relative to frequency 0, unit by unit. A token that "
        "is gone has the mean of those left, which lowers high frequencies whoever chose it: compare magnitude with "
        "random.",
        " ".join(said),
        figure,
        studies,
        FOURIER,
        _unpruned,
    )


EXPERIMENT = Experiment(
    "I14",
    "Pruning as a filter",
    "how",
    (
        Claim(
            id="pruning-by-magnitude-is-a-low-pass",
            statement="Pruning by magnitude lowers the high frequencies of the last feature maps.",
            source=_OURS,
            reads="measurement fourier with methods=[magnitude,random] of runs without a pruner",
            test="log amplitude at the highest frequency in the last half-block, relative to frequency 0, pruned by "
            "magnitude less unpruned, mean over the keep ratios that all seeds have, is below 0; the same of random "
            "beside",
            unit="log amplitude",
            support=(None, 0.0),
            find=low_pass,
            measurement=FOURIER,
        ),
        Claim(
            id="training-with-pruning-flattens-the-loss",
            statement="Training with pruning by magnitude flattens the loss.",
            source=_OURS,
            reads="measurement hessian of runs trained with magnitude and without a pruner",
            test="log(mean positive eigenvalue trained with magnitude / trained without), mean over keep ratios, "
            "is below 0; both of the model with all tokens",
            unit="log ratio",
            support=(None, 0.0),
            find=flatter_by_pruning,
            measurement=HESSIAN,
        ),
    ),
    _figures,
)
