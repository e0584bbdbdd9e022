"""Figures of the experiments: what is plotted are the compared models' means, and what was published says so."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from tests.report.judged import arm, verdict
from tokenprune.claims.published import SPURIOUS
from tokenprune.report import experiments
from tokenprune.report.arms import Arm, Experiment
from tokenprune.report.arms import experiments as found_in
from tokenprune.report.style import Drawing, style
from tokenprune.statistics import mean_interval

SEEDS = (0.40, 0.42, 0.47)
GROUPS = {"bird, plants": (0.5, 0.6, 0.7), "bird, scenery": (0.6, 0.5, 0.4)}


def drawn(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> tuple[Figure, Drawing]:
    """The figure before it is rendered, and what is said of it."""
    seen: list[Figure] = []
    monkeypatch.setattr(experiments, "render", lambda figure: (seen.append(figure), ("", b""))[1])
    draw = experiments.experiment_figure(experiment)
    assert draw is not None
    with style():
        drawing = draw()
    return seen[0], drawing


def of(claim: str, arms: list[dict[str, Any]], depth: int = 1, **details: Any) -> Experiment:
    (found,) = found_in([verdict(claim, depth, site="before:0", details={"arms": arms, **details})], [])
    return found


def lines(figure: Figure, panel: int = 0) -> dict[tuple[Any, ...], list[float]]:
    """y in percent by x, of every line of data."""
    found = {}
    for line in figure.axes[panel].lines:
        if len(line.get_xdata()) > 1 and line.get_transform() == figure.axes[panel].transData:
            found[tuple(round(float(x), 6) for x in line.get_xdata())] = [float(y) for y in line.get_ydata()]
    return found


def test_accuracy_over_samples_has_a_line_per_alpha_and_the_samples_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [
        arm(method, keep, alpha, [accuracy + samples / 1e5 for accuracy in SEEDS], samples=samples)
        for method, keep, alpha in (("oracle", 0.6, 0.95), ("none", 1.0, 0.66))
        for samples in (4000, 256)
    ]
    arms += [arm("oracle", 0.3, 1.0, SEEDS), arm("random", 0.6, 0.66, SEEDS)]  # of one N; of no alpha of its own
    figure, drawing = drawn(of("fewer-samples", arms, needed={0.66: 2000.0, 0.95: 1000.0}), monkeypatch)
    (ax,) = [ax for ax in figure.axes if ax.get_visible()]
    curves = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert [list(line.get_xdata()) for line in curves] == [[256, 4000], [256, 4000]]
    for line in curves:
        assert list(line.get_ydata()) == pytest.approx([43 + 0.256, 43 + 4.0])
    assert ax.get_xscale() == "log"
    assert [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1] == [2000, 1000]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["α* 0.66 (all tokens)", "α* 0.95 (oracle, keep 0.6)"]
    assert "N needed at α* 0.95: 1,000" in drawing.alt


@pytest.mark.parametrize("claim", ["sparsified-training-helps", "dropping-noise-helps"])
def test_trained_ratios_are_lines_and_all_tokens_a_level(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [arm("none", 1.0, 0.66, SEEDS)]
    arms += [arm("magnitude", keep, 0.7, [keep * accuracy for accuracy in SEEDS]) for keep in (0.9, 0.3)]
    figure, drawing = drawn(of(claim, arms), monkeypatch)
    found = lines(figure)
    assert found[30.0, 90.0] == pytest.approx([0.3 * 43, 0.9 * 43])
    (level,) = (line for line in figure.axes[0].lines if line.get_linestyle() == ":")
    assert list(level.get_ydata()) == pytest.approx([43, 43])
    bars = {tuple(y for _, y in bar) for each in figure.axes[0].collections[:1] for bar in each.get_segments()}
    _, low, high = mean_interval([30 * accuracy for accuracy in SEEDS])
    assert min(bars) == pytest.approx((low, high))
    assert "4,000 training images" in drawing.title


def test_groups_stand_over_alpha_beside_what_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [arm("none", 1.0, 0.66, SEEDS, groups=GROUPS), arm("oracle", 0.6, 0.95, SEEDS, groups=GROUPS)]
    figure, drawing = drawn(of("sparsification-cures-spurious", arms), monkeypatch)
    drawn_lines = [[float(y) for y in line.get_ydata()] for line in figure.axes[0].lines]
    worst = 100 * (0.5 + 0.5 + 0.4) / 3  # of each seed's worst group: not the worst group's mean, 50
    assert sorted(line[0] for line in drawn_lines) == pytest.approx(sorted([60, 50, worst, 43]))
    published = [list(line.get_ydata()) for line in figure.axes[1].lines]
    assert published == [pytest.approx([100 * y for y in curve.y]) for curve in SPURIOUS.values()]
    assert "slides, read off axes" in figure.axes[1].get_title("left")
    assert drawing.caption.count("slides, read off axes") == len(SPURIOUS)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {name for name in names if "start from" in name} == {f"paper, {curve.name}" for curve in SPURIOUS.values()}


def test_starts_stand_below_one_another_with_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [
        arm("none", 1.0, 0.66, [accuracy + 0.01 * place for accuracy in SEEDS], start=start)
        for place, start in enumerate(("noisy 0.4", "cifar100", "scratch", "noisy 0.1"))
    ]
    figure, _ = drawn(of("start-from-cifar100-helps", arms), monkeypatch)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["scratch", "cifar100", "noisy 0.1", "noisy 0.4"]
    means = {float(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1}
    assert means == pytest.approx({0: 45, 1: 44, 2: 46, 3: 43})
    seeds = [sorted(map(float, line.get_xdata())) for line in ax.lines if len(line.get_xdata()) == len(SEEDS)]
    assert [40, 42, 47] in [pytest.approx(each) for each in seeds]


def test_claims_of_one_experiment_share_their_figure_and_depths_are_its_panels() -> None:
    arms = [arm("none", 1.0, 0.66, SEEDS), arm("magnitude", 0.6, 0.7, SEEDS)]
    verdicts = [
        verdict(claim, depth, site="before:0", details={"arms": arms})
        for claim in ("sparsified-training-helps", "sparsified-magnitude-beats-random")
        for depth in (1, 4)
    ]
    other = verdict("sparsified-training-helps", site="before:1", details={"arms": arms})
    first, second = found_in([*verdicts, other, verdict("attention-concentrates")], [])
    assert [panel.depth for panel in first.panels] == [1, 4]
    assert [len(panel.arms) for panel in first.panels] == [2, 2]
    assert experiments.figure_name(first) != experiments.figure_name(second)


def test_the_worst_group_is_each_seeds_own() -> None:
    found = Arm(**arm("none", 1.0, 0.66, SEEDS, groups=GROUPS))
    assert found.worst is not None
    assert found.worst.value == pytest.approx((0.5 + 0.5 + 0.4) / 3)
    assert found.worst.low == pytest.approx(mean_interval([0.5, 0.5, 0.4])[1])
