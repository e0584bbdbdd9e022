"""I15: convex heads on a frozen backbone."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.heads import (
    GATED,
    HEADS,
    attention_against_simple,
    certified,
    clusters_agree,
    clusters_agree_more_than_random,
    gated_against_linear,
    low_rank_in_tokens,
)
from tokenprune.claims.measured import Missing, select
from tokenprune.claims.published import SAHINER, Published
from tokenprune.claims.readings import by_seed
from tokenprune.claims.study import TrainedStudy
from tokenprune.drawing import picture as pictures
from tokenprune.drawing import plots
from tokenprune.drawing.style import BLUE, GREEN, ORANGE, Drawing, slug
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.measured import names, over, picture, shown
from tokenprune.runs import MeasureResult

_KINDS = {
    "linear": (BLUE, "o", "without gates"),
    GATED: (ORANGE, "s", "gated"),
    "two-layer": (GREEN, "^", "two layers"),
}


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    groups = shown(studies, HEADS, _accuracies)
    figures: list[Figure] = [partial(_accuracy, group) for group in groups]
    return figures + [partial(_clusters, group[0]) for group in groups if by_seed(group[0], HEADS, _examples)]


def _accuracies(result: MeasureResult) -> dict[tuple[str, str], float]:
    """Test accuracy at the penalty chosen, by head and kind. Raises Missing."""
    found = select(result, "chosen accuracy")
    columns = (map(str, found.named("head", name)) for name in ("head", "kind"))
    return dict(zip(zip(*columns, strict=True), found.along("head").tolist(), strict=True))


def _accuracy(studies: Sequence[TrainedStudy]) -> Drawing:
    """Accuracy of every head, a panel for each setting."""
    entries = [(color, marker, "", name) for color, marker, name in _KINDS.values()]
    figure, (axes,) = plots.panels(names(studies), entries, height=2.6)
    said = []
    for ax, study, name in zip(axes, studies, names(studies), strict=True):
        found = list(by_seed(study, HEADS, _accuracies).values())
        pairs = [pair for pair in found[0] if all(pair in each for each in found)]
        means = over(100 * np.array([each[pair] for pair in pairs]) for each in found)
        of_pairs = list(zip(pairs, means, strict=True))
        plots.forest(ax, [(head, _KINDS[kind][:2], mean) for (head, kind), mean in of_pairs])
        said.append(f"{name}: " + ", ".join(f"{head} {kind} {mean.value:.1f}" for (head, kind), mean in of_pairs))
    for ax in axes:
        ax.set_xlabel("test accuracy, %")
    return picture(
        "heads",
        "Heads on a frozen backbone",
        "Test accuracy of convex heads without and with gates for ReLU, and of ordinary two-layer heads, each at the "
        "penalty that held-out training images choose.",
        ". ".join(said),
        figure,
        studies,
        HEADS,
        _accuracies,
    )


def _examples(result: MeasureResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [example, y, x, 3], clusters and groups [example, patch]. Raises Missing."""
    pixels = select(result, "pixels").along("example", "y", "x", "colour")
    both = [select(result, name).along("example", "patch") for name in ("clusters", "groups")]
    if len({len(pixels), *map(len, both)}) != 1 or len({each.shape for each in both}) != 1:
        raise Missing("its examples do not belong together")
    side = round(both[0].shape[1] ** 0.5)
    if side * side != both[0].shape[1] or pixels.shape[1] % side or pixels.shape[1:] != (*2 * pixels.shape[1:2], 3):
        raise Missing("the patches of its examples do not tile them")
    return pixels.clip(0, 255).astype(np.uint8), both[0].astype(int), both[1].astype(int)


def _clusters(study: TrainedStudy) -> Drawing:
    """Tokens that the attention head takes together, and those that merging makes one, on test images of one seed."""
    seed, (pixels, clusters, groups) = next(iter(by_seed(study, HEADS, _examples).items()))
    svg, png = pictures.groupings(pixels, [("attention's clusters", clusters), ("merging", groups)])
    return Drawing(
        slug("head-clusters", study.family),
        f"What an attention head clusters: {study.title}",
        f"{len(pixels)} test images; below, patches that the convex attention head of seed {seed} takes together, and "
        "those that merging makes one token, in their mean colour.",
        f"{len(pixels)} test images with the clusters of an attention head and the groups of merging.",
        svg,
        png,
        study.family,
    )


EXPERIMENT = Experiment(
    "I15",
    "Convex heads",
    None,
    (
        Claim(
            id="attention-heads-beat-simple-heads",
            statement="A convex attention head classifies better than MLP and linear heads.",
            source=f"{SAHINER}, section 5",
            reads="measurement heads of runs without a pruner",
            test="accuracy of the attention head less the better of linear and, with gates, MLP head is above 0",
            unit="accuracy",
            find=attention_against_simple,
            measurement=HEADS,
            published=(Published("attention above MLP and linear heads (figure, no numbers)", "recalled"),),
        ),
        Claim(
            id="gated-heads-beat-linear-heads",
            statement="Convex heads with gates for ReLU classify better than those without.",
            source=f"{SAHINER}, section 5",
            reads="measurement heads of runs without a pruner",
            test="accuracy of a head with gates less that without is above 0; of each head",
            unit="accuracy",
            find=gated_against_linear,
            measurement=HEADS,
        ),
        Claim(
            id="heads-are-certified",
            statement="Where the rank of factors suffices, they are proved to be within a hundredth of the optimum.",
            source=f"{SAHINER}, section 3.4",
            reads="measurement heads of runs without a pruner",
            test="the largest bound of the relative gap, of heads and penalties where the rank suffices, is up to .01",
            unit="relative gap",
            support=(None, 0.01),
            find=certified,
            measurement=HEADS,
        ),
        Claim(
            id="attention-heads-are-low-rank-in-tokens",
            statement="A convex attention head mixes tokens by a map of low rank: it clusters them.",
            source=f"{SAHINER}, section 3.2",
            reads="measurement heads of runs without a pruner",
            test="log(effective rank of the head's token map / that of random maps) is below 0",
            unit="log ratio",
            support=(None, 0.0),
            find=low_rank_in_tokens,
            measurement=HEADS,
        ),
        Claim(
            id="attention-clusters-as-merging-does",
            statement="Tokens that an attention head clusters are those that merging joins, more than by chance.",
            source="ours",
            reads="measurement heads of runs without a pruner",
            test="adjusted Rand index of the head's clusters and the groups of tome, less that of the groups shuffled, "
            "is above 0",
            unit="ARI",
            find=clusters_agree,
            measurement=HEADS,
        ),
        Claim(
            id="attention-clusters-more-than-random-maps",
            statement="An attention head's clusters are nearer to merging's groups than a random token map's are.",
            source="ours: a random map of tokens clusters like ones, too",
            reads="measurement heads of runs without a pruner",
            test="adjusted Rand index of the head's clusters and the groups of tome, less that of a random map's "
            "clusters, is above 0",
            unit="ARI",
            find=clusters_agree_more_than_random,
            measurement=HEADS,
        ),
    ),
    _figures,
)
