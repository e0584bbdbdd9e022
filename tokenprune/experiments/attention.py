"""I4: where attention goes during training."""

from collections.abc import Sequence
from functools import partial

from tokenprune.claims import Claim, Verdict
from tokenprune.claims.attention import concentration
from tokenprune.claims.published import PAPER
from tokenprune.claims.study import TrainedStudy, each, observed
from tokenprune.claims.training import spurious
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import Interval, over_seeds
from tokenprune.drawing.style import INK, Drawing, render, slug
from tokenprune.experiments.arms import seeds
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.series import recipe_names


def _figures(studies: Sequence[TrainedStudy], verdicts: Sequence[Verdict]) -> list[Figure]:
    families: dict[str, list[TrainedStudy]] = {}
    for depth in sorted({study.depth for study in studies}):
        for study in observed([study for study in studies if study.depth == depth]):
            if any(epoch.attention_on_relevant for run in study.runs for epoch in run.epochs):
                families.setdefault(study.family, []).append(study)
    return [partial(_attention, family, members) for family, members in sorted(families.items())]


def _shares(studies: Sequence[TrainedStudy]) -> tuple[list[int], list[list[Interval]]]:
    """Epochs, and the share of attention on relevant tokens by block and epoch, means over the runs."""
    shares: dict[int, list[tuple[float, ...]]] = {}
    for epoch in (epoch for study in studies for run in study.runs for epoch in run.epochs):
        if epoch.attention_on_relevant:
            shares.setdefault(epoch.epoch, []).append(epoch.attention_on_relevant)
    epochs = sorted(shares)
    width = min(len(share) for found in shares.values() for share in found)
    return epochs, [[over_seeds([share[i] for share in shares[epoch]]) for epoch in epochs] for i in range(width)]


def _attention(family: str, studies: Sequence[TrainedStudy]) -> Drawing:
    """Share of attention on relevant tokens over training, a line per block."""
    from matplotlib.ticker import MaxNLocator

    depths = sorted({study.depth for study in studies})
    panels = [_shares([study for study in studies if study.depth == depth]) for depth in depths]
    several = max(len(blocks) for _, blocks in panels) > 1
    places = ((0.0, "first block"), (0.5, "middle"), (1.0, "last"))
    entries = [(plots.sequence(place), "", "-", name) for place, name in places] if several else []
    figure, (axes,) = plots.panels([f"depth {depth}" for depth in depths], entries)
    for ax, (epochs, blocks) in zip(axes, panels, strict=True):
        for block, shares in enumerate(blocks):
            look = (plots.sequence(block / max(1, len(blocks) - 1)), "." if len(epochs) < 13 else "", "-")
            plots.line(ax, epochs, shares, look, spread="band")
        if (share := studies[0].runs[0].result.data.relevant_share) is not None:
            ax.axhline(100 * share, color=INK, linestyle="--", linewidth=1)
        ax.margins(x=0.02)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    plots.label_outer(axes, "epochs trained", "attention on relevant tokens, %")
    svg, png = render(figure)
    names = recipe_names(run.result for study in studies for run in study.runs)
    recorded = [run for study in studies for run in study.runs if any(e.attention_on_relevant for e in run.epochs)]
    counts = [(depth, sum(run.result.model.depth == depth for run in recorded)) for depth in depths]
    said = " ".join(
        f"Depth {depth}, last block: {100 * blocks[-1][0].value:.0f} % at epoch {epochs[0]}, "
        f"{100 * blocks[-1][-1].value:.0f} % at epoch {epochs[-1]}."
        for depth, (epochs, blocks) in zip(depths, panels, strict=True)
    )
    return Drawing(
        slug("attention", family),
        f"Attention on relevant tokens over training: {names}, {studies[0].title}",
        "Share of class (or received) attention that falls on label-relevant tokens, on test images, a line per block "
        "from the first (dark) to the last (light). Dashed: the share that uniform attention would have. "
        f"{seeds(counts)} Bands are 95 % t intervals of the mean where there are two or more.",
        f"Share of attention on label-relevant tokens by epoch. {said}",
        svg,
        png,
        family,
    )


EXPERIMENT = Experiment(
    "I4",
    "Does attention concentrate?",
    "magnitude",
    (
        Claim(
            id="attention-concentrates",
            statement="During training attention concentrates on label-relevant tokens.",
            source=f"{PAPER}, Proposition 2: attention summed over label-relevant tokens tends to 1 - eta^C",
            reads="attention_on_relevant of the epochs",
            test="attention on label-relevant tokens, mean over blocks, after training less before it is above 0",
            unit="share of attention",
            find=each(concentration, lambda found: [study for study in observed(found) if not spurious(study)]),
        ),
        Claim(
            id="attention-follows-spurious",
            statement="Where the background predicts the label in training, attention concentrates on the background.",
            source=f"{PAPER}, Proposition 2, for a spurious cue: what is discriminative in training draws attention",
            reads="attention_on_relevant of the epochs, spurious scenes",
            test="attention on label-relevant tokens, mean over blocks, after training less before it is below 0",
            unit="share of attention",
            support=(None, 0.0),
            find=each(concentration, lambda found: [study for study in observed(found) if spurious(study)]),
        ),
    ),
    _figures,
)
