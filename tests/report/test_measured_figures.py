"""Figures of what was measured: what is plotted are means over seeds of the measured numbers."""

from pathlib import Path

import numpy as np
import pytest
from factories import make_run
from matplotlib.figure import Figure
from measurement_factories import (
    UNPRUNED,
    association,
    fourier,
    hessian,
    landscape,
    lesion,
    network,
    noise,
    pruned,
    variance,
)

from tokenprune.claims import read_runs, studies
from tokenprune.drawing.style import Drawing, style
from tokenprune.experiments import EXPERIMENTS, measured

#: Convolutional networks of three blocks: without attention, and with one.
NETWORKS = (network([1, 2]), network([1, 2], 1))


def drawn(
    folder: Path,
    number: str,
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[Figure, Drawing]]:
    """The experiment's figures as they are rendered, and what is said of them."""
    seen: list[Figure] = []
    render = measured.render
    monkeypatch.setattr(measured, "render", lambda figure: (seen.append(figure), render(figure))[1])
    (experiment,) = (each for each in EXPERIMENTS if each.number == number)
    runs, problems = read_runs(folder)
    assert problems == []
    with style():
        drawings = [draw() for draw in experiment.figures(studies(runs), [])]
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
        fourier(make_run(tmp_path, depth=3, seed=seed, overrides=NETWORKS[1]), {UNPRUNED: (0, 1, 2, 1)}, after)
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


def test_networks_are_drawn_by_lesion_noise_and_number_of_attentions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = {"convolution of block 0": 0.01, "convolution of block 1": 0.02, "attention of block 2": 0.09}
    for attentions, changes in enumerate(NETWORKS):
        for seed in range(3):
            accuracy = 0.5 + 0.1 * attentions + 0.01 * seed
            run = make_run(tmp_path, depth=3, seed=seed, accuracy=accuracy, overrides=changes)
            noise(run, [0.1 + 0.01 * seed, *[0.2] * 8])
            if attentions:
                lesion(run, units)
    (lesions, drawing), (noises, _), (attentions, _) = drawn(tmp_path, "I12", monkeypatch)
    found = [float(line.get_ydata()[0]) for line in lesions.axes[0].lines if len(line.get_xdata()) == 1]
    assert found == pytest.approx([1, 2, 9])
    assert "most without the attention of block 2, +9.0 points" in drawing.alt
    (stage,) = (line for line in lesions.axes[0].lines if line.get_linestyle() == ":")
    assert stage.get_xdata()[0] == 0.5  # the first stage has one block
    assert lines(noises, 0) == [pytest.approx([11, *[20] * 8])] * 2
    assert lines(noises, 1)[0] == pytest.approx([5, 8.8, 12.7, 10.7, 10.3, 10.1, 9.7, 13.6, 15.4])
    (accuracy,) = (line for line in attentions.axes[0].lines if len(line.get_xdata()) == 2)
    assert [list(accuracy.get_xdata()), list(accuracy.get_ydata())] == [[0, 1], pytest.approx([51, 61])]


def test_spectra_are_pooled_and_planes_are_of_cross_entropy_and_penalty_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        run = make_run(tmp_path, seed=seed)
        hessian(run, 10 + seed, 0.2)
        landscape(run, 2.0)
    (spectrum, drawing), (planes, _) = drawn(tmp_path, "I13", monkeypatch)
    bars = [(bar.get_x() + bar.get_width(), bar.get_height(), bar.get_facecolor()) for bar in spectrum.axes[0].patches]
    assert sum(height for end, height, _ in bars if end <= 1e-9) == pytest.approx(20)
    assert sum(height for _, height, _ in bars) == pytest.approx(100)
    assert len({color for end, _, color in bars if end <= 1e-9} & {color for end, _, color in bars if end > 1e-9}) == 0
    assert "20% below 0, mean above 0: 10.5" in drawing.alt
    assert "Of each seed: 10 mini-batches of 16 images." in drawing.caption
    assert [len(ax.collections) > 0 for ax in planes.axes] == [True, True]


def test_pruning_is_drawn_beside_the_unpruned_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(2):
        run = make_run(tmp_path, seed=seed)
        levels = {
            UNPRUNED: (0, 0, -1 - seed),
            pruned("magnitude", 0.5): (0, 0, -3),
            pruned("magnitude", 0.7): (0, 0, 9),
        }
        fourier(run, levels | {pruned("random", 0.5): (0, 0, -2)}, ("embedding", "attention", "MLP"))
        hessian(run, 10, 0.2)
        trained = ["pruner.name=magnitude", "pruner.keep_ratio=0.5"]
        hessian(make_run(tmp_path, seed=seed, overrides=trained), 5, 0.1)
    (frequencies, drawing), (spectra, _) = drawn(tmp_path, "I14", monkeypatch)
    assert [line[-1] for line in lines(frequencies, 0)] == pytest.approx([-1.5, -3, -2])
    assert frequencies.axes[0].get_title("left") == "ViT, depth 1, keep 0.5 at before:0"
    assert [ax.get_title("left") for ax in spectra.axes] == ["trained with all tokens", "at keep 0.5"]
    assert "compare magnitude with random" in drawing.caption


def test_what_cannot_be_read_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    variance(run, {UNPRUNED: (1, 0, 1)}, ("embedding", "attention", "MLP"))  # no logarithm
    lesion(run, {"the head": 0.1})
    assert drawn(tmp_path, "I11", monkeypatch) == drawn(tmp_path, "I12", monkeypatch) == []
