"""Figures of the experiments: what is plotted are the compared models' means, and what was published says so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from tests.factories import make_run
from tokenprune.claims import TrainedStudy, read_runs, studies
from tokenprune.claims.published import SPURIOUS
from tokenprune.drawing.style import Drawing, style
from tokenprune.experiments import EXPERIMENTS, arms
from tokenprune.statistics import mean_interval

SEEDS = (0.40, 0.42, 0.47)
GROUPS = {"bird, plants": (0.5, 0.6, 0.7), "bird, scenery": (0.6, 0.5, 0.4)}


def train(
    folder: Path, accuracy: Sequence[float], *changes: str, method: str = "none", keep: float = 1.0, **facts: Any
):
    """A run per seed. groups: an accuracy by seed."""
    groups = facts.pop("groups", {})
    pruner = [f"pruner.name={method}", f"pruner.keep_ratio={keep}"] if method != "none" else []
    for seed, each in enumerate(accuracy):
        of_seed = {name: values[seed] for name, values in groups.items()} or None
        make_run(folder, seed=seed, accuracy=each, overrides=[*pruner, *changes], groups=of_seed, **facts)


def found(folder: Path) -> list[TrainedStudy]:
    runs, problems = read_runs(folder)
    assert problems == []
    return studies(runs)


def drawn(folder: Path, number: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Figure, Drawing]]:
    """The experiment's figures before they are rendered, and what is said of them."""
    seen: list[Figure] = []
    monkeypatch.setattr(arms, "render", lambda figure: (seen.append(figure), ("", b""))[1])
    (experiment,) = (each for each in EXPERIMENTS if each.number == number)
    with style():
        drawings = [draw() for draw in experiment.figures(found(folder), [])]
    return list(zip(seen, drawings, strict=True))


def lines(figure: Figure, panel: int = 0) -> dict[tuple[Any, ...], list[float]]:
    """y in percent by x, of every line of data."""
    known = {}
    for line in figure.axes[panel].lines:
        if len(line.get_xdata()) > 1 and line.get_transform() == figure.axes[panel].transData:
            known[tuple(round(float(x), 6) for x in line.get_xdata())] = [float(y) for y in line.get_ydata()]
    return known


def test_accuracy_over_samples_has_a_line_per_alpha_and_the_samples_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle's curve is that of all tokens at a fourth of N, so a fourth of the images is needed."""
    by_n = {250: 0.30, 1000: 0.40, 4000: 0.50, 16000: 0.60}
    for n in (250, 1000, 4000):
        few = (f"data.train_size={n}", f"train.epochs={24_000 // n}")
        train(tmp_path, [by_n[n]] * 3, *few, relevant_share=0.25)
        train(tmp_path, [by_n[4 * n]] * 3, *few, method="oracle", keep=0.5, relevant_share=0.25, kept_relevance=0.5)
        train(tmp_path, SEEDS, *few, method="random", keep=0.5, relevant_share=0.25, kept_relevance=0.25)
    ((figure, drawing),) = drawn(tmp_path, "I1", monkeypatch)
    ax = figure.axes[0]
    curves = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert [list(map(float, line.get_ydata())) for line in curves] == [
        pytest.approx([30, 40, 50]),
        pytest.approx([40, 50, 60]),
    ]
    assert all(list(line.get_xdata()) == [250, 1000, 4000] for line in curves)
    assert ax.get_xscale() == "log"
    needed = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
    assert needed == pytest.approx([1000, 250])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["α* 0.25 (all tokens)", "α* 0.50 (oracle, keep 0.5)"]
    assert "N needed at depth 1, α* 0.50: 250" in drawing.alt
    (table,) = EXPERIMENTS[0].tables(found(tmp_path), [])
    assert [row[1:] for row in table.rows] == [
        (0.25, pytest.approx(1000), 0.0, 3),
        (0.5, pytest.approx(250), 1.0, 3),  # the smallest N measured
    ]


@pytest.mark.parametrize(("number", "changes"), [("I2", []), ("I7", ["data.noise_tokens=0.5"])])
def test_trained_ratios_are_lines_and_all_tokens_a_level(
    number: str, changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = [*changes, "data.train_size=4000"]
    train(tmp_path, SEEDS, *size)
    for keep in (0.9, 0.3):
        train(tmp_path, [keep * each for each in SEEDS], *size, method="magnitude", keep=keep, kept_relevance=0.7)
    ((figure, drawing),) = drawn(tmp_path, number, monkeypatch)
    assert lines(figure)[30.0, 90.0] == pytest.approx([0.3 * 43, 0.9 * 43])
    (level,) = (line for line in figure.axes[0].lines if line.get_linestyle() == ":")
    assert list(level.get_ydata()) == pytest.approx([43, 43])
    bars = {tuple(y for _, y in bar) for each in figure.axes[0].collections[:1] for bar in each.get_segments()}
    _, low, high = mean_interval([30 * accuracy for accuracy in SEEDS])
    assert min(bars) == pytest.approx((low, high))
    assert "4,000 training images" in drawing.title


def test_groups_stand_over_alpha_beside_what_was_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spurious = "data.scene=spurious"
    train(tmp_path, SEEDS, spurious, groups=GROUPS)
    train(tmp_path, SEEDS, spurious, method="oracle", keep=0.6, kept_relevance=0.95, groups=GROUPS)
    train(tmp_path, SEEDS, spurious, method="magnitude", keep=0.6, kept_relevance=0.7, groups=GROUPS)
    ((figure, drawing),) = drawn(tmp_path, "I5", monkeypatch)
    worst = 100 * (0.5 + 0.5 + 0.4) / 3  # of each seed's worst group: not the worst group's mean, 50
    of_oracle = [[float(y) for y in line.get_ydata()] for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert sorted(line[0] for line in of_oracle) == pytest.approx(sorted([60, 50, worst, 43]))
    (alone,) = (line for line in figure.axes[0].lines if len(line.get_xdata()) == 1)
    assert (float(alone.get_xdata()[0]), float(alone.get_ydata()[0])) == pytest.approx((0.7, worst))  # magnitude's
    published = [list(line.get_ydata()) for line in figure.axes[1].lines]
    assert published == [pytest.approx([100 * y for y in curve.y]) for curve in SPURIOUS.values()]
    assert "slides, read off axes" in figure.axes[1].get_title("left")
    assert drawing.caption.count("slides, read off axes") == len(SPURIOUS)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {name for name in names if "start from" in name} == {f"paper, {curve.name}" for curve in SPURIOUS.values()}
    (table,) = next(each for each in EXPERIMENTS if each.number == "I5").tables(found(tmp_path), [])
    assert [(row[1], row[5].value) for row in table.rows] == [
        (name, pytest.approx(worst / 100)) for name in ("all tokens", "oracle", "magnitude")
    ]


def test_starts_stand_below_one_another_with_every_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = (["start.source=cifar10", "start.noise=0.4"], ["start.source=cifar100"], [])
    starts += (["start.source=cifar10", "start.noise=0.1"],)
    for place, start in enumerate(starts):
        train(tmp_path, [accuracy + 0.01 * place for accuracy in SEEDS], *start)
    ((figure, _),) = drawn(tmp_path, "I6", monkeypatch)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["scratch", "cifar100", "noisy 0.1", "noisy 0.4"]
    means = {float(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1}
    assert means == pytest.approx({0: 45, 1: 44, 2: 46, 3: 43})
    seeds = [sorted(map(float, line.get_xdata())) for line in ax.lines if len(line.get_xdata()) == len(SEEDS)]
    assert [40, 42, 47] in [pytest.approx(each) for each in seeds]


def test_depths_are_the_panels_of_one_figure_and_sites_have_figures_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for depth in (2, 4):
        train(tmp_path, SEEDS, depth=depth)
        train(tmp_path, SEEDS, method="magnitude", keep=0.6, kept_relevance=0.7, depth=depth)
    train(tmp_path, SEEDS, "pruner.site=before:1", method="magnitude", keep=0.6, kept_relevance=0.7, depth=2)
    (first, drawing), (second, other) = drawn(tmp_path, "I2", monkeypatch)
    assert [ax.get_title("left") for ax in first.axes] == ["depth 2", "depth 4"]
    assert [ax.get_title("left") for ax in second.axes] == ["depth 2"]
    assert (drawing.family, drawing.where) == (other.family, "site before:0")
    assert drawing.name != other.name


def test_content_and_positions_are_two_lines_over_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, kind in enumerate(([], ["model.attention=positional"])):
        train(tmp_path, [accuracy + 0.02 * place for accuracy in SEEDS], *kind)
        train(tmp_path, [accuracy - 0.1 for accuracy in SEEDS], *kind, "data.shuffle=8")
    ((figure, drawing),) = drawn(tmp_path, "I10", monkeypatch)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["as they are", "8 x 8"]
    lines = [list(map(float, line.get_ydata())) for line in ax.lines if len(line.get_xdata()) == 2]
    mean = 100 * sum(SEEDS) / len(SEEDS)
    assert lines == [pytest.approx([mean, mean - 10]), pytest.approx([mean + 2, mean - 10])]
    assert "positional" in drawing.caption
