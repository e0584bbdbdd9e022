"""What figures show of the intervals: nothing cut off, and bars where x is a measured speed."""

import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from tests.factories import make_run
from tokenprune.claims import read_runs
from tokenprune.drawing.numbers import Interval
from tokenprune.drawing.style import style
from tokenprune.experiments import curves as figures
from tokenprune.experiments.series import Curves, measured
from tokenprune.experiments.series import curves as curves_of


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """Three seeds at depth 1 that disagree by 20 points below ratio 1, one at depth 2."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    for depth, seed, lost in ((1, 0, 0.0), (1, 1, 0.1), (1, 2, 0.2), (2, 0, 0.1)):
        curve = {1.0: 0.6, 0.5: 0.5 - lost, 0.2: 0.45 - lost}
        make_run(folder, depth=depth, seed=seed, accuracy=0.6, methods={"magnitude": curve}, examples=False)
    (found,) = curves_of(measured(read_runs(folder)[0]))
    return found


def drawn(curves: Curves, kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Figure, str]:
    """The figure of that kind before it is rendered, and its caption."""
    seen: list[Figure] = []
    monkeypatch.setattr(figures, "render", lambda figure: (seen.append(figure), ("", b""))[1])
    styles = figures.styles_of(line for panel in curves.panels for line in panel.lines)
    with style():
        drawings = [draw() for draw in figures.curve_figures(curves, styles)]
    names = [drawing.name.removesuffix(f"-{curves.suffix}") for drawing in drawings]
    return seen[names.index(kind)], drawings[names.index(kind)].caption


def intervals(curves: Curves) -> list[list[Interval]]:
    return [[mark.accuracy for mark in panel.lines[0].marks] for panel in curves.panels]


@pytest.mark.parametrize("kind", ["accuracy", "compute"])
def test_no_interval_is_cut_off(curves: Curves, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, _ = drawn(curves, kind, monkeypatch)
    bounds = [100 * bound for line in intervals(curves) for each in line for bound in (each.low, each.high)]
    assert max(bounds) - min(bounds) > 50  # the means span 30
    for ax in figure.axes:
        low, high = ax.get_ylim()
        assert low < min(bounds)
        assert max(bounds) < high


def test_accuracy_against_measured_speed_has_the_intervals_as_bars(
    curves: Curves, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, caption = drawn(curves, "compute", monkeypatch)
    found: dict[str, list[list[tuple[float, ...]]]] = {}
    for ax in figure.axes:
        for collection in ax.collections:
            if isinstance(collection, LineCollection):
                found.setdefault(ax.get_xlabel(), []).append(
                    [tuple(sorted(y for _, y in segment)) for segment in collection.get_segments()]
                )
    expected = [
        [pytest.approx((100 * each.low, 100 * each.high)) for each in line if each.low != each.high]
        for line in intervals(curves)
    ]
    bars = [[pair for pair in line if pair[0] != pair[1]] for line in found["measured images/s"]]
    assert bars == expected
    assert len(found["MFLOPs per image"]) == 1  # the single seed's; three seeds have a band
    assert "Against images/s the same intervals are bars" in caption
