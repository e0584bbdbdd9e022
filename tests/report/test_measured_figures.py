"""Figures of what was measured: what is plotted are means over seeds of the measured numbers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from factories import make_run
from matplotlib.figure import Figure
from measurement_factories import UNPRUNED, as_convolutional, association, fourier, variance

from tokenprune.claims import read_runs, studies
from tokenprune.drawing.style import Drawing, style
from tokenprune.experiments import EXPERIMENTS, measured

#: Stages and attentions by the model.mlp_ratio that stands for them.
NETWORKS = {2.0: ([1, 2], 0), 3.0: ([1, 2], 1)}


def drawn(
    folder: Path,
    number: str,
    monkeypatch: pytest.MonkeyPatch,
    networks: Mapping[float, tuple[list[int], int]] = NETWORKS,
) -> list[tuple[Figure, Drawing]]:
    """The experiment's figures as they are rendered, and what is said of them."""
    seen: list[Figure] = []
    render = measured.render
    monkeypatch.setattr(measured, "render", lambda figure: (seen.append(figure), render(figure))[1])
    (experiment,) = (each for each in EXPERIMENTS if each.number == number)
    runs, problems = read_runs(folder)
    assert problems == []
    with style():
        drawings = [draw() for draw in experiment.figures(studies(as_convolutional(runs, networks)), [])]
    assert all(each.svg.startswith("<?xml") and each.png.startswith(b"\x89PNG") for each in drawings)
    assert len({each.name for each in drawings}) == len(drawings)
    return list(zip(seen, drawings, strict=True))


def lines(figure: Figure, panel: int) -> list[list[float]]:
    """y of each line of data in a panel."""
    return [list(map(float, line.get_ydata())) for line in figure.axes[panel].lines if len(line.get_xdata()) > 2]


def test_features_are_drawn_unit_by_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = ("stem", "convolution", "convolution", "attention")
    for seed in range(3):
        run = make_run(tmp_path, depth=2, seed=seed)
        fourier(run, {UNPRUNED: (-1, -2 - seed, -3, -2, -2)})
        variance(run, {UNPRUNED: np.exp([0, 1 + seed, 1, 1, 1]).tolist()})
        fourier(
            make_run(tmp_path, depth=3, seed=seed, overrides=["model.mlp_ratio=3"]), {UNPRUNED: (0, 1, 2, 1)}, after
        )
    (frequencies, drawing), (variances, _) = drawn(tmp_path, "I11", monkeypatch)
    assert [ax.get_title("left") for ax in frequencies.axes[:2]] == ["ViT, depth 2", "CNN with 1 attention, depth 3"]
    assert lines(frequencies, 0) == [pytest.approx([-1, -3, -3, -2, -2])]
    assert sorted(lines(frequencies, 2))[0] == pytest.approx([0, -1.5, -3])  # over frequency, after the first unit
    assert lines(variances, 0) == [pytest.approx([0, 2, 1, 1, 1])]
    assert "Seeds: 3. Test images: 1,000." in drawing.caption
    assert "ViT, depth 2, at pi: -1 at first, -2 at last." in drawing.alt


def test_position_codes_are_drawn_as_grids_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    association(make_run(tmp_path), 0.5, side=5)
    ((figure, drawing),) = drawn(tmp_path, "I10", monkeypatch)
    (picture,) = figure.axes[0].images
    found = np.ma.filled(picture.get_array(), np.nan)
    assert found.shape == (17, 17)  # three grids of five, with gaps
    assert np.isnan(found[1, 1])  # the patch itself
    assert found[1, 2] == found[2, 1] == pytest.approx(np.exp(-0.5))
    assert "overlap +0.400 above chance" in drawing.alt
