"""T4: attention over training."""

from collections.abc import Sequence

from tokenprune.claims import Claim
from tokenprune.claims.published import ATTENTION, PAPER
from tokenprune.claims.theory.attention import approach, concentration
from tokenprune.claims.theory.trials import AttentionStudy
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import over_trials, plain
from tokenprune.drawing.style import BLUE, GREEN, INK, MUTED, ORANGE, Drawing
from tokenprune.drawing.table import Column, Table, thinned
from tokenprune.experiments.experiment import Experiment
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import columns, interval, lost, spread

_ROWS = 25
_NORMS = (("query", "W_Q", ORANGE), ("key", "W_K", GREEN))


def _figure(studies: Sequence[AttentionStudy]) -> Drawing:
    """Attention on label-relevant tokens beside the published curve, and norms along patterns."""
    study, first, limit = studies[0], studies[0].first, approach(studies[0]).limit
    entries = [
        (BLUE, "", "-", names(studies)[0]),
        *([(MUTED, "", "-", "other settings")] if len(studies) > 1 else []),
        (INK, "o", "--", "published, read off slides"),
        *([(BLUE, "", ":", "limit by 1/t")] if limit is not None else []),
        *((color, "", "-", f"|{name} μ_j| discriminative") for _, name, color in _NORMS),
        (MUTED, "", "--", "other patterns"),
    ]
    titles = ["attention on label-relevant tokens", "norm along a pattern"]
    figure, ((ax, side),) = plots.panels(titles, entries, height=3.0, share=False)
    for index, each in enumerate(studies):
        thin, x = index > 0, each.first.iterations
        series.draw(ax, x, each.curve("attention"), (MUTED if thin else BLUE, "", "-"), thin=thin)
        for name, _, color in _NORMS:
            series.draw(side, x, each.curve(f"{name}_norm"), (color, "", "-"), thin=thin)
            series.draw(side, x, each.curve(f"{name}_norm_other"), (color, "", "--"), thin=thin)
    ax.plot(ATTENTION.x, ATTENTION.y, color=INK, linestyle="--", marker="o", markersize=3.5, linewidth=1.2)
    if limit is not None:
        ax.axhline(limit.value, color=BLUE, linestyle=":", linewidth=1, zorder=1)
    plots.label_outer([ax, side], "iterations", "")
    caption = (
        "Left: attention summed over label-relevant tokens, mean over queries and test samples; the published curve "
        "was read off the authors' slides. Right: norms of W_Q μ_j and W_K μ_j, mean over the two discriminative "
        f"patterns (solid) and over the others (dashed). Means and 95 % t intervals over "
        f"{spread({study.trials for study in studies})}, a fresh batch each step, "
        f"α* = {first.recipe['data']['relevant']:g}, step size {first.step_size:g}."
        + lost(sum(study.diverged for study in studies), "left out")
        + _approach(study)
        + (" Thin: other settings." if len(studies) > 1 else "")
    )
    alt = "Attention on label-relevant tokens " + series.ends(first.iterations, study.curve("attention"), "iteration")
    return series.drawing(figure, "attention", "Attention over training", caption, alt)


def _approach(study: AttentionStudy) -> str:
    """The limit, and whether the power that leads to it is identified."""
    found, said = approach(study), ""
    limit = found.limit
    if limit is not None:
        between = "" if limit.low is None else f" ({limit.low:.3f} to {limit.high:.3f})"
        said = f" Dotted: the limit that 1/t leads to on the second half, {limit.value:.3f}{between}."
    return said + (" The power of t is not identified." if found.power is None else "")


def _missed(study: AttentionStudy) -> str:
    """A sentence on the last published point, if the mean here is not within two hundredths of it."""
    x, shown = ATTENTION.x[-1], ATTENTION.y[-1]
    here = dict(zip(study.first.iterations, map(over_trials, study.curve("attention")), strict=True)).get(int(x))
    if here is None or abs(here.value - shown) <= 0.02:
        return ""
    return f" Not reproduced: {shown:g} at iteration {x:g} was published, {here.value:.2g} is found here."


def _table(study: AttentionStudy) -> Table:
    shown = {"attention": "attention", "loss": "test loss"}
    shown |= {f"{name}_norm": f"|{matrix} μ_j|" for name, matrix, _ in _NORMS}
    shown |= {f"{name}_norm_other": f"|{matrix} μ_j|, others" for name, matrix, _ in _NORMS}
    published = dict(zip(ATTENTION.x, ATTENTION.y, strict=True))
    means = zip(*(map(over_trials, study.curve(name)) for name in shown), strict=True)
    rows = [(str(x), *row, published.get(x)) for x, row in zip(study.first.iterations, means, strict=True)]
    return Table(
        f"Attention on label-relevant tokens, loss and norms over training, {study.label}",
        "Means over trials (95 % t interval), at most 25 of the iterations; theory.csv has all. Norms along the two "
        "discriminative patterns and along the others." + lost(study.diverged, "left out") + _missed(study),
        (
            *columns("iteration", ()),
            *map(interval, shown.values()),
            Column(f"published attention ({ATTENTION.mark})", plain, look="published"),
        ),
        tuple(thinned(rows, _ROWS)),
    )


EXPERIMENT = Experiment(
    "T4",
    "Attention over training",
    None,
    (
        Claim(
            id="theory-attention",
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
    series.figures(AttentionStudy, _figure),
    series.tables(AttentionStudy, _table),
)
