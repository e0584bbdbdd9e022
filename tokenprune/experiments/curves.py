"""Curves of pruned models as figures and tables: accuracy against tokens, FLOPs and images/s, and what is kept."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from tokenprune.drawing import plots
from tokenprune.drawing.numbers import Interval, bounds, p_value, percent, plain, signed, signed_bounds
from tokenprune.drawing.style import INK, PAPER, Drawing, looks, render, slug
from tokenprune.drawing.table import Column, Table
from tokenprune.experiments.arms import seeds
from tokenprune.experiments.experiment import Figure as Draw
from tokenprune.experiments.series import Curves, Mark, MethodCurve, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))  # a method's second and third set of options


#: (colour, marker, dashes) by name of curve: one such table for a whole report.
Styles = dict[str, tuple[str, str, Any]]


def styles_of(lines: Iterable[MethodCurve]) -> Styles:
    """A look for every curve; those of one method differ in their dashes only."""
    methods = {line.name: line.method for line in lines}
    look = looks(methods.values())
    seen: dict[str, int] = {}
    styles = {}
    for name, method in sorted(methods.items()):
        styles[name] = (*look[method], _DASHES[seen.get(method, 0) % len(_DASHES)])
        seen[method] = seen.get(method, 0) + 1
    return styles


def curve_figures(curves: Curves, styles: Styles) -> list[Draw]:
    """What draws the figures of one group of curves."""
    kinds = [_accuracy, _compute]
    if any(mark.kept_relevance for mark in _marks(curves)):
        kinds.append(_relevance)
    return [partial(kind, curves, styles) for kind in kinds]


def _accuracy(curves: Curves, styles: Styles) -> Drawing:
    figure, (axes,) = _panels(curves, styles)
    for ax, panel in zip(axes, curves.panels, strict=True):
        _lines(ax, panel, styles, lambda mark: 100 * mark.kept, lambda mark: mark.accuracy)
        plots.level(ax, panel.unpruned, spread=False)
        plots.mark_alpha(ax, panel.relevant_share)
    plots.label_outer(axes, "patch tokens kept, %", "test accuracy, %")
    plots.percent_kept(axes)
    known = any(panel.relevant_share is not None for panel in curves.panels)
    extra = " The thin vertical mark α* is the label-relevant share of the image." if known else ""
    return _drawing(
        slug("accuracy", curves.suffix),
        curves,
        figure,
        "Accuracy against kept tokens",
        f"Test accuracy against the share of patch tokens left after the last site. {_spread(curves)} "
        f"Dotted: the unpruned model.{extra}",
        lambda mark: f"{100 * mark.accuracy.value:.1f} % at keep {mark.keep}",
    )


def _compute(curves: Curves, styles: Styles) -> Drawing:
    """Accuracy against the FLOPs of an image and, where it was measured, against images/s."""
    measured = any(mark.images_per_second is not None for mark in _marks(curves))
    figure, (axes, *below) = _panels(curves, styles, stacked=2 if measured else 1)
    for ax, panel in zip(axes, curves.panels, strict=True):
        _lines(ax, panel, styles, lambda mark: mark.flops / 1e6, lambda mark: mark.accuracy)
        _star(ax, panel.unpruned_flops / 1e6, panel.unpruned.value)
        ax.set_xlabel("MFLOPs per image")
    for level in below:
        for ax, panel in zip(level, curves.panels, strict=True):
            _lines(ax, panel, styles, lambda mark: mark.images_per_second, lambda mark: mark.accuracy, bars=True)
            _star(ax, panel.unpruned_images_per_second, panel.unpruned.value)
            ax.set_xlabel("measured images/s")
    every = [*axes, *(ax for level in below for ax in level)]
    for i, ax in enumerate(every):
        ax.set_xlim(left=0)
        ax.margins(x=0.08)
        if i % len(axes) % plots.in_row(len(axes)) == 0:
            ax.set_ylabel("test accuracy, %")
    return _drawing(
        slug("compute", curves.suffix),
        curves,
        figure,
        "Accuracy against computation",
        "Test accuracy against FLOPs per image (2 per multiply-add, scores included)"
        + (" and against measured images/s" if measured else "; images/s were not measured")
        + f". The star is the unpruned model. {_spread(curves)}"
        + (" Against images/s the same intervals are bars; images/s are means over seeds." if measured else ""),
        lambda mark: f"{100 * mark.accuracy.value:.1f} % at {mark.flops / 1e6:.0f} MFLOPs",
    )


def _relevance(curves: Curves, styles: Styles) -> Drawing:
    figure, (axes,) = _panels(curves, styles)
    for ax, panel in zip(axes, curves.panels, strict=True):
        _lines(ax, panel, styles, lambda mark: 100 * mark.kept, lambda mark: mark.kept_relevance)
        if panel.relevant_share is not None:
            ax.axhline(100 * panel.relevant_share, color=INK, linestyle="--", linewidth=1)
    plots.label_outer(axes, "patch tokens kept, %", "label-relevant area of kept, %")
    plots.percent_kept(axes)
    axes[0].set_ylim(top=min(103, axes[0].get_ylim()[1]))
    return _drawing(
        slug("kept-relevance", curves.suffix),
        curves,
        figure,
        "What the kept tokens are",
        "Share of the kept patch tokens' area that is label-relevant. Dashed: the share among all tokens (α*), which "
        f"is what a blind choice keeps. {_spread(curves, wilson=False)}",
        lambda mark: f"{100 * mark.kept_relevance.value:.0f} % at keep {mark.keep}" if mark.kept_relevance else None,
    )


def _drawing(
    name: str, curves: Curves, figure: "Figure", title: str, caption: str, said: Callable[[Mark], str | None]
) -> Drawing:
    """said: a mark in words, for whoever cannot see the first and the last of each curve."""

    def ends(line: MethodCurve) -> str:
        return ", ".join(filter(None, (said(line.marks[0]), said(line.marks[-1]))))

    numbers = " ".join(
        f"Depth {panel.depth}: " + "; ".join(f"{line.name} {ends(line)}" for line in panel.lines) + "."
        for panel in curves.panels
    )
    svg, png = render(figure)
    site, family = curves.conditions.site, curves.conditions.family
    whole = f"{title}: {curves.title}, site {site}"
    return Drawing(name, whole, f"{caption} {_conditions(curves)}", f"{title}. {numbers}", svg, png, family, site)


def curve_table(curves: Curves) -> Table:
    """Accuracy at each ratio; below it, for each depth, all that was measured."""
    ratios = sorted({(mark.keep_ratio, mark.keep) for mark in _marks(curves)}, reverse=True)
    rows = []
    for panel in curves.panels:
        for line in panel.lines:
            marks = {(mark.keep_ratio, mark.keep): mark.accuracy for mark in line.marks}
            n = max(mark.seeds for mark in line.marks)
            rows.append((panel.depth, line.name, n, panel.unpruned.value, *(marks.get(ratio) for ratio in ratios)))
    conditions = curves.conditions
    untimed = [f"{why[0].upper()}{why[1:]} to tokenprune prune." for why in curves.untimed]
    return Table(
        f"{curves.title}, {conditions.describe()}",
        "Test accuracy in % at each keep ratio, means over n seeds; below it the 95 % interval.",
        (
            Column("depth"),
            Column("method", look="word"),
            Column("n"),
            Column("all", percent),
            *(Column(keep, lambda value: percent(value.value), bounds) for _, keep in ratios),
        ),
        tuple(rows),
        " ".join([_conditions(curves), *untimed]),
        tuple(_in_full(panel) for panel in curves.panels),
        parts=True,
        family=conditions.family,
        where=conditions.site,
        anchor=slug("numbers", curves.suffix),
    )


def _in_full(panel: Panel) -> Table:
    def share(value: Interval) -> str:
        return percent(value.value)

    columns = (
        Column("method", look="word"),
        Column("keep"),
        Column("kept, %", percent),
        Column("accuracy, %", lambda value: percent(value.value, 2), bounds),
        Column("difference", lambda value: signed(value.value, 2), signed_bounds),
        Column("McNemar p", lambda value: p_value(*value)),
        Column("relevant, %", share),
        Column("MFLOPs", lambda value: f"{value / 1e6:,.1f}"),
        Column("ideal", "{:.2f}".format),
        Column("measured", lambda value: plain(value, ".2f")),
        Column("images/s", lambda value: plain(value, ",.0f")),
    )
    rows = [
        (
            line.name,
            mark.keep,
            mark.kept,
            mark.accuracy,
            mark.difference,
            (mark.p_low, mark.p_high),
            mark.kept_relevance,
            mark.flops,
            mark.ideal_speedup,
            mark.speedup,
            mark.images_per_second,
        )
        for line in panel.lines
        for mark in line.marks
    ]
    return Table(
        f"Depth {panel.depth} in full: paired differences, relevance, computation",
        "Differences are in points of accuracy to the unpruned model on the same images, with 95 % interval and exact "
        "McNemar p (the range over seeds and draws where there are several). Relevant: label-relevant share of the "
        "kept tokens' area. Ideal and measured: speed-up over the unpruned model, by FLOPs and by the clock.",
        columns,
        tuple(rows),
        parts=True,
    )


def _marks(curves: Curves) -> list[Mark]:
    return [mark for panel in curves.panels for line in panel.lines for mark in line.marks]


def _spread(curves: Curves, wilson: bool = True) -> str:
    """What the bands or bars are, and of how many seeds."""
    counts = [(panel.depth, panel.seeds) for panel in curves.panels]
    text = seeds(counts)
    if max(count for _, count in counts) > 1:
        text += " Bands: 95 % t interval of the mean over seeds."
    if min(count for _, count in counts) == 1 and wilson:
        text += " Bars, where there is one seed: Wilson 95 % interval over test images."
    draws = max(mark.draws for mark in _marks(curves))
    if draws > 1:
        text += f" Random choices are means of {draws} draws per seed."
    return text


def _conditions(curves: Curves) -> str:
    count = " or ".join(f"{value:,}" for value in sorted({mark.count for mark in _marks(curves)}))
    notes = "".join(f" {note.rstrip('.')}." for note in curves.notes)
    described = curves.conditions.describe()
    return f"{described[0].upper()}{described[1:]}; {count} test images.{notes}"


def _panels(curves: Curves, styles: Styles, stacked: int = 1) -> "tuple[Figure, list[list[Axes]]]":
    titles = [f"depth {panel.depth}" for panel in curves.panels]
    entries = [(*styles[name], name) for name in curves.lines]
    return plots.panels(titles, entries, height=2.3 if stacked == 1 else 2.0, stacked=stacked)


def _lines(
    ax: "Axes",
    panel: Panel,
    styles: Styles,
    x: Callable[[Mark], float | None],
    y: Callable[[Mark], Interval | None],
    bars: bool = False,
) -> None:
    """The panel's curves with their bands (several seeds) or error bars (one).

    bars: never bands, which fold over where x, a measured speed, does not rise from mark to mark.
    """
    for line in panel.lines:
        drawn = [(at, y(mark), mark.seeds) for mark in line.marks if (at := x(mark)) is not None and y(mark)]
        band = not bars and min((seeds for _, _, seeds in drawn), default=1) > 1
        xs, values = [at for at, _, _ in drawn], [value for _, value, _ in drawn]
        plots.line(ax, xs, values, styles[line.name], spread="band" if band else "bars")


def _star(ax: "Axes", x: float | None, accuracy: float) -> None:
    if x is not None:
        ax.plot([x], [100 * accuracy], marker="*", markersize=10, color=INK, markeredgecolor=PAPER, zorder=4)
