"""What a figure's caption must say (seeds, bands, conditions), and its numbers in words for whoever cannot see it."""

from collections.abc import Callable, Sequence

from tokenprune.report.arms import Arm, Compared, Experiment
from tokenprune.report.series import AttentionPanel, Curves, Line, Mark, Panel


def shows_alpha(curves: Curves) -> bool:
    return any(panel.relevant_share is not None for panel in curves.panels)


def seeds(panels: Sequence[Panel | AttentionPanel | Compared]) -> str:
    counts = {panel.seeds for panel in panels}
    if len(counts) == 1 and len(panels) > 1:
        return f"Seeds: {counts.pop()} at every depth."
    return f"Seeds: {', '.join(f'{panel.seeds} at depth {panel.depth}' for panel in panels)}."


def spread(curves: Curves, wilson: bool = True) -> str:
    """What the bands or bars are, and of how many seeds."""
    counts = [panel.seeds for panel in curves.panels]
    text = seeds(curves.panels)
    if max(counts) > 1:
        text += " Bands: 95 % t interval of the mean over seeds."
    if min(counts) == 1 and wilson:
        text += " Bars, where there is one seed: Wilson 95 % interval over test images."
    draws = max((mark.draws for panel in curves.panels for line in panel.lines for mark in line.marks), default=1)
    if draws > 1:
        text += f" Random choices are means of {draws} draws per seed."
    return text


def conditions(curves: Curves) -> str:
    images = sorted({mark.count for panel in curves.panels for line in panel.lines for mark in line.marks})
    count = " or ".join(f"{value:,}" for value in images)
    notes = "".join(f" {note.rstrip('.')}." for note in curves.notes)
    described = curves.group.describe()
    return f"{described[0].upper()}{described[1:]}; {count} test images.{notes}"


def _ends(line: Line) -> tuple[Mark, Mark]:
    return line.marks[0], line.marks[-1]


def say_accuracy(curves: Curves) -> str:
    return _say(
        curves,
        lambda first, last: (
            f"{100 * first.accuracy.value:.1f} % at keep {first.keep_ratio:g}, "
            f"{100 * last.accuracy.value:.1f} % at keep {last.keep_ratio:g}"
        ),
    )


def say_compute(curves: Curves) -> str:
    return _say(
        curves,
        lambda first, last: (
            f"{100 * first.accuracy.value:.1f} % at {first.flops / 1e6:.0f} MFLOPs, "
            f"{100 * last.accuracy.value:.1f} % at {last.flops / 1e6:.0f} MFLOPs"
        ),
    )


def say_relevance(curves: Curves) -> str:
    def ends(first: Mark, last: Mark) -> str:
        shares = [(mark, mark.kept_relevance) for mark in (first, last)]
        return ", ".join(f"{100 * share.value:.0f} % at keep {mark.keep_ratio:g}" for mark, share in shares if share)

    return _say(curves, ends)


def _say(curves: Curves, ends: Callable[[Mark, Mark], str]) -> str:
    """The figure's first and last numbers in words, for whoever cannot see it."""
    return " ".join(
        f"Depth {panel.depth}: " + "; ".join(f"{line.name} {ends(*_ends(line))}" for line in panel.lines) + "."
        for panel in curves.panels
    )


def say_attention(panels: Sequence[AttentionPanel]) -> str:
    return " ".join(
        f"Depth {panel.depth}, last block: {100 * panel.blocks[-1][0].value:.0f} % at epoch {panel.epochs[0]}, "
        f"{100 * panel.blocks[-1][-1].value:.0f} % at epoch {panel.epochs[-1]}."
        for panel in panels
    )


def experiment_conditions(experiment: Experiment) -> str:
    """Seeds, bars, images and notes of an experiment's figure."""
    bars = (
        " Bars: 95 % t interval of the mean over seeds." if max(panel.seeds for panel in experiment.panels) > 1 else ""
    )
    images = " or ".join(f"{count:,}" for count in experiment.images)
    notes = "".join(f" {note.rstrip('.')}." for note in experiment.notes)
    data = f"{experiment.data[:1].upper()}{experiment.data[1:]}"
    parts = [
        f"{data} images" + (f", {experiment.variant}" if experiment.variant else ""),
        f"{experiment.samples[0]:,} training images" if len(experiment.samples) == 1 else None,
        f"{images} test images" if images else None,
    ]
    return f"{seeds(experiment.panels)}{bars} {'; '.join(part for part in parts if part)}.{notes}"


def say_experiment(experiment: Experiment) -> str:
    return " ".join(
        f"Depth {panel.depth}: "
        + "; ".join(f"{_say_arm(arm, experiment)} {100 * arm.mean.value:.1f} %" for arm in panel.arms)
        + "".join(f"; N needed at α* {alpha:.2f}: {count:,.0f}" for alpha, count in sorted(panel.needed.items()))
        + "."
        for panel in experiment.panels
    )


def _say_arm(arm: Arm, experiment: Experiment) -> str:
    """What makes these models differ from the experiment's others."""
    arms = [other for panel in experiment.panels for other in panel.arms]
    parts = [
        "all tokens" if arm.method == "none" else f"{arm.method} at keep {arm.keep:g}",
        f"{arm.samples:,} images" if len({other.samples for other in arms}) > 1 else None,
        f"start {arm.start}" if len({other.start for other in arms}) > 1 else None,
    ]
    return ", ".join(part for part in parts if part)
