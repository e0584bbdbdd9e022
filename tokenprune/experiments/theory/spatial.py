"""T8 and T9: spatially structured data, positional attention, and its transfer to another task."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tokenprune.claims import Claim, LaboratoryStudy, Verdict
from tokenprune.claims.theory.spatial import PAPER as SPATIAL
from tokenprune.claims.theory.spatial import associates, transfers
from tokenprune.claims.theory.trials import SpatialStudy
from tokenprune.drawing import sheets
from tokenprune.drawing.numbers import Interval, over_trials
from tokenprune.drawing.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, Drawing
from tokenprune.drawing.table import Column, Table
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.columns import columns, interval
from tokenprune.experiments.theory.series import names
from tokenprune.experiments.theory.words import spread, trials

_ARMS = {"transfer": ("transferred attention", BLUE, "o"), "scratch": ("from scratch", ORANGE, "s")}
_BUILT = {
    "own": ("attention on own set", GREEN, "^"),
    "other": ("on another set", PURPLE, "D"),
    "start": ("as at the start", MUTED, "x"),
}


def _figures(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Figure]:
    found = series.default_first(studies, SpatialStudy)
    return [partial(_figure, found)] if found else []


def _association_tables(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Table]:
    return [_association(study) for study in series.of(studies, SpatialStudy)]


def _transfer_tables(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Table]:
    return [_transfer(study) for study in series.of(studies, SpatialStudy)]


def _figure(studies: Sequence[SpatialStudy]) -> Drawing:
    """Association and accuracy over training, networks that were built, accuracy on the target task against N."""
    figure, (left, middle, right), _ = sheets.sheet([1, 0.85, 1], height=2.7, top=0.85)
    for index, each in enumerate(studies):
        thin = index > 0
        for name, color, dash in (("overlap", BLUE, "-"), ("exact", BLUE, (0, (4, 1.5))), ("accuracy", ORANGE, "-")):
            sheets.draw_curve(left, each.first.iterations, each.curve(name), color, linestyle=dash, thin=thin)
        for arm, (_, color, marker) in _ARMS.items():
            sheets.draw_curve(right, each.first.samples, each.target(arm), color, marker=marker, thin=thin)
    study, first = studies[0], studies[0].first
    left.axhline(first.chance, color=MUTED, linestyle=":", linewidth=1)
    for built, (_, color, marker) in _BUILT.items():
        middle.plot(
            study.constructed("overlap", built), study.constructed("accuracy", built), color=color, marker=marker,
            linestyle="", markeredgecolor=color if marker == "x" else PAPER,
            markeredgewidth=1.1 if marker == "x" else 0.6,
        )  # fmt: skip
    left.set(xlabel="iterations, source task", ylabel="share")
    middle.set(title="not trained", xlabel="overlap with own set", ylabel="test accuracy", xlim=(-0.06, 1.06))
    right.set_xscale("log")
    sheets.log_ticks(right.xaxis, first.samples, most=8)
    right.axhline(first.success, color=INK, linestyle=":", linewidth=1)
    right.set(xlabel="target samples N", ylabel="test accuracy, target task")
    sheets.legend(
        figure,
        [
            (sheets.handle(BLUE), "overlap"),
            (sheets.handle(BLUE, "", (0, (4, 1.5))), "exact match"),
            (sheets.handle(ORANGE), "test accuracy"),
            *((sheets.handle(color, marker, ""), text) for text, color, marker in _BUILT.values()),
            *((sheets.handle(color, marker), text) for text, color, marker in _ARMS.values()),
        ],
    )
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
    return sheets.finish(figure, "spatial", "Patch association and transfer", caption, alt)


def _value(value: Interval | None) -> str:
    return "not known" if value is None else f"{value.value:.2f}"


def _association(study: SpatialStudy) -> Table:
    first, number = study.first, trials(study.trials)
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
    first, number = study.first, trials(study.trials)
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
            experiment="T8",
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
    _figures,
    _association_tables,
)

TRANSFER = Experiment(
    "T9",
    "Transfer of structure",
    None,
    (
        Claim(
            id="theory-spatial-transfer",
            experiment="T9",
            statement="With attention taken from a task of the same spatial structure, fewer samples are needed.",
            source=f"{SPATIAL}: fine-tuning v with A frozen needs far fewer samples",
            reads="spatial results",
            test="log2 of N50 from scratch over N50 with A frozen and v trained is above 0",
            unit="doublings of N50",
            support=(0.0, None),
            find=transfers,
        ),
    ),
    tables=_transfer_tables,
)
