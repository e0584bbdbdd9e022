"""I3: trained models that are pruned; whether tokens of largest attention are the ones to keep."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tokenprune.claims import Claim, RunData, Verdict
from tokenprune.claims.accuracy import RECALL, compare, irrelevant_removed, oracle_against_random, relevance_kept
from tokenprune.claims.published import PAPER
from tokenprune.claims.study import TrainedStudy, each
from tokenprune.claims.study import measured as with_curves
from tokenprune.drawing.table import Table
from tokenprune.experiments.curves import curve_figures, curve_table, styles_of
from tokenprune.experiments.examples import EXAMPLES
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.mosaic import mosaic
from tokenprune.experiments.series import Conditions, Curves, curves, measured

#: Curves that a figure has room for, and those that it shows of more.
_MOST, _FIRST = 8, ("magnitude", "random", "oracle")
_COROLLARY = f"{PAPER}, corollary: dropping label-irrelevant or very noisy tokens raises alpha_* and helps"


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    """Accuracy, computation and relevance of each group of curves; then images, of one run of each group and depth."""
    found = [_few(group) for group in _curves(studies)]
    styles = styles_of(line for group in found for panel in group.panels for line in panel.lines)
    figures = [figure for group in found for figure in curve_figures(group, styles)]
    for group in found:
        by_depth: dict[int, list[RunData]] = {}
        for run in (run for study in studies for run in study.runs):
            if any(
                Conditions.of(run.result, prune) == group.conditions and (path / EXAMPLES).is_file()
                for path, prune in run.prunes
            ):
                by_depth.setdefault(run.result.model.depth, []).append(run)
        figures += [partial(mosaic, group, runs) for _, runs in sorted(by_depth.items())]
    return figures


def _few(group: Curves) -> Curves:
    """At most the curves that can be told apart; of more, magnitude, random and the oracle, and a note."""
    if max(len(panel.lines) for panel in group.panels) <= _MOST:
        return group
    panels = (
        replace(panel, lines=tuple(line for line in panel.lines if line.name in _FIRST) or panel.lines[:_MOST])
        for panel in group.panels
    )
    left_out = (
        f"Of {len(group.lines)} curves {', '.join(_FIRST)} are drawn; all are in the table and in the figures of I9"
    )
    return replace(group, panels=tuple(panels), notes=(*group.notes, left_out))


def _tables(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Table]:
    return [curve_table(group) for group in _curves(studies)]


def _curves(studies: Sequence[TrainedStudy]) -> list[Curves]:
    return curves(measured(run for study in studies for run in study.runs))


EXPERIMENT = Experiment(
    "I3",
    "Is magnitude justified?",
    "magnitude",
    (
        Claim(
            id="magnitude-beats-random",
            statement="Keeping the tokens of largest attention loses less accuracy than keeping random ones.",
            source=f"{PAPER}, corollary on sparsification: what matters is which tokens are dropped",
            reads="prune results of magnitude and random",
            test="mean over common keep ratios below 1 of accuracy(magnitude) - accuracy(random, mean of draws) is "
            "above 0",
            unit="accuracy",
            find=each(lambda study: compare(study, "magnitude", "random"), with_curves),
        ),
        Claim(
            id="magnitude-keeps-relevant",
            statement="The tokens of largest attention are label-relevant more often than chance has it.",
            source=f"{PAPER}, Proposition 2: attention concentrates on label-relevant tokens",
            reads="prune results of magnitude",
            test=(
                "mean over keep ratios below 1 of the share of label-relevant area that magnitude keeps less the "
                "share of tokens that it keeps is above 0"
            ),
            unit="share of relevant tokens",
            find=each(relevance_kept, with_curves),
        ),
        Claim(
            id="oracle-at-least-magnitude",
            statement="Keeping label-relevant tokens is at least as good as keeping the tokens of largest attention.",
            source=f"{PAPER}, corollary: dropping label-irrelevant tokens raises alpha_*",
            reads="prune results of oracle and magnitude",
            test="mean over common keep ratios below 1 of accuracy(oracle) - accuracy(magnitude) is above -0.005",
            unit="accuracy",
            find=each(lambda study: compare(study, "oracle", "magnitude"), with_curves),
            support=(-0.005, None),
        ),
        Claim(
            id="removing-irrelevant-costs-little",
            statement="Dropping label-irrelevant tokens costs less than a twentieth of the accuracy above chance.",
            source=_COROLLARY,
            reads="prune results of oracle",
            test=(
                f"at the smallest keep ratio below 1 at which the oracle keeps {RECALL:.0%} of the relevant area, "
                "accuracy(oracle) - accuracy(unpruned) is above -0.05 (accuracy(unpruned) - 1 / classes)"
            ),
            unit="accuracy",
            find=each(irrelevant_removed, with_curves),
        ),
        Claim(
            id="oracle-beats-random",
            statement="Dropping label-irrelevant tokens loses less accuracy than dropping as many random ones.",
            source=_COROLLARY,
            reads="prune results of oracle and random",
            test=(
                f"at the smallest keep ratio below 1 at which the oracle keeps {RECALL:.0%} of the relevant area, "
                "accuracy(oracle) - accuracy(random, mean of draws) is above 0"
            ),
            unit="accuracy",
            find=each(oracle_against_random, with_curves),
        ),
    ),
    _figures,
    _tables,
)
