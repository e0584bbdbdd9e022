"""T8 and T9: spatially structured data, positional attention, and its transfer to another task."""

from collections.abc import Sequence

from tokenprune.claims import Claim
from tokenprune.claims.theory.spatial import PAPER as SPATIAL
from tokenprune.claims.theory.spatial import associates, transfers
from tokenprune.claims.theory.trials import SpatialStudy
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import Interval, over_trials
from tokenprune.drawing.style import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, Drawing
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.experiments.experiment import Experiment
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import columns, interval, spread

_ARMS = {"transfer": ("transferred attention", BLUE, "o"), "scratch": ("from scratch", ORANGE, "s")}
_SHARES = {
    "overlap": ("overlap", BLUE, "-"),
    "exact": ("exact match", BLUE, "--"),
    "accuracy": ("test accuracy", ORANGE, "-"),
}
_BUILT = {
    "own": ("attention on own set", GREEN, "^"),
    "other": ("on another set", PURPLE, "D"),
    "start": ("as at the start", MUTED, "v"),
}


def _figure(studies: Sequence[SpatialStudy]) -> Drawing:
    """Association and accuracy over training, networks that were built, accuracy on the target task against N."""
    study, first = studies[0], studies[0].first
    entries = [
        *((color, "", dash, text) for text, color, dash in _SHARES.values()),
        *((color, marker, "", text) for text, color, marker in _BUILT.values()),
        *((color, marker, "-", text) for text, color, marker in _ARMS.values()),
    ]
    titles = ["source task", "not trained", "target task"]
    figure, ((left, middle, right),) = plots.panels(titles, entries, height=2.7, share=False)
    for index, each in enumerate(studies):
        for name, (_, color, dash) in _SHARES.items():
            series.draw(left, each.first.iterations, each.curve(name), (color, "", dash), thin=index > 0)
        for arm, (_, color, marker) in _ARMS.items():
            series.draw(right, each.first.samples, each.target(arm), (color, marker, "-"), thin=index > 0)
    left.axhline(first.chance, color=MUTED, linestyle=":", linewidth=1)
    for built, (_, color, marker) in _BUILT.items():
        x, y = study.constructed("overlap", built), study.constructed("accuracy", built)
        middle.plot(x, y, color=color, marker=marker, linestyle="", **plots.EDGE)
    right.axhline(first.success, color=INK, linestyle=":", linewidth=1)
    left.set(xlabel="iterations", ylabel="share")
    middle.set(xlabel="overlap with own set", ylabel="test accuracy", xlim=(-0.06, 1.06))
    right.set(xlabel="samples N", ylabel="test accuracy", xscale="log")
    plots.log_ticks(right.xaxis, first.samples)
    caption = (
        "Left: share of each patch's strongest attention that is of its own set (overlap; dotted: chance), share of "
        "patches where all of it is (exact match), and test accuracy on the source task. Middle: networks that were "
        "built, not trained, a mark per trial. Right: test accuracy on a "
        f"target task of the same sets, from transferred attention and from scratch; dotted: success "
        f"at {first.success:g}. "
        f"Means and 95 % t intervals over "
        f"{spread({study.trials for study in studies})}; d = {first.patches}, C = {first.set_size}, N "
        f"{first.samples[0]:,} to {first.samples[-1]:,}; {names(studies)[0]}."
        + (" Thin: other settings." if len(studies) > 1 else "")
    )
    start, end = (over_trials(study.curve("overlap")[at]) for at in (0, -1))
    alt = f"Overlap {_value(start)} at the start, {_value(end)} at the end."
    return series.drawing(figure, "spatial", "Patch association and transfer", caption, alt)


def _value(value: Interval | None) -> str:
    return "not known" if value is None else f"{value.value:.2f}"


def _association(study: SpatialStudy) -> Table:
    first, number = study.first, counted(study.trials, "trial")
    shown = {"overlap": "overlap", "exact": "exact match", "loss": "test loss", "accuracy": "test accuracy"}
    curves = [map(over_trials, study.curve(name)) for name in shown]
    built = [
        (f"built: {text}", *(over_trials(study.constructed(name, attention)) for name in shown))
        for attention, (text, *_) in _BUILT.items()
    ]
    return Table(
        f"Patch association, {study.label}",
        f"Means over {number} (95 % t interval); below, networks that were built, not trained.",
        (*columns("iteration", ()), *map(interval, shown.values())),
        (*zip(map(str, first.iterations), *curves, strict=True), *built),
    )


def _transfer(study: SpatialStudy) -> Table:
    first, number = study.first, counted(study.trials, "trial")
    shown, cells = list(columns("N", ())), []
    for arm, (text, *_) in _ARMS.items():
        shown += [interval(text), Column("successes")]
        cells += [map(over_trials, study.target(arm)), study.successes(arm)]
    return Table(
        f"Transfer, {study.label}",
        f"Test accuracy on the target task, mean over {number} (95 % t interval), and successes at {first.success:g}.",
        tuple(shown),
        tuple(zip(first.samples, *cells, strict=True)),
    )


ASSOCIATION = Experiment(
    "T8",
    "Association of patches",
    None,
    (
        Claim(
            id="theory-spatial-association",
            statement="Trained on spatially structured data, positional attention comes to associate patches of one "
            "set.",
            source=f"{SPATIAL}: patch association is learnt by minimising the training loss",
            reads="spatial results",
            test="overlap of the C - 1 largest A_ij with i's own set, last less first, is above 0; variant exact",
            unit="share",
            support=(0.0, None),
            find=associates,
        ),
    ),
    series.figures(SpatialStudy, _figure),
    series.tables(SpatialStudy, _association),
)

TRANSFER = Experiment(
    "T9",
    "Transfer of structure",
    None,
    (
        Claim(
            id="theory-spatial-transfer",
            statement="With attention taken from a task of the same spatial structure, fewer samples are needed.",
            source=f"{SPATIAL}: fine-tuning v with A frozen needs far fewer samples",
            reads="spatial results",
            test="log2 of N50 from scratch over N50 with A frozen and v trained is above 0",
            unit="doublings of N50",
            support=(0.0, None),
            find=transfers,
        ),
    ),
    tables=series.tables(SpatialStudy, _transfer),
)
