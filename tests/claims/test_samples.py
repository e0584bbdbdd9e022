"""The claim about sample complexity (I1)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from trained import SIZES, judged, samples, train

from tokenprune.claims import read_runs, studies
from tokenprune.claims.samples import exponent, images_needed, over_samples, rising, samples_needed
from tokenprune.statistics import t_test


def needed(runs_dir: Path) -> dict[float, float]:
    """Images for the middle target, by alpha_*."""
    (group,) = over_samples(studies(read_runs(runs_dir)[0]))
    found = images_needed(group)
    assert found is not None
    return dict(zip(found.alphas, found.at_middle, strict=True))


@pytest.mark.parametrize(("power", "verdict"), [(2, "supported"), (-2, "refuted")])
def test_i1_finds_the_exponent_of_a_law(tmp_path: Path, power: int, verdict: str) -> None:
    """Accuracy is a function of N alpha^2 (or N alpha^-2): the target, at N = 1000, is reached at a measured N."""
    samples(tmp_path, lambda n, alpha: 0.1 + 0.05 * math.log2(n * alpha**power / 50), {1.0: 0.5, 0.5: 1.0})
    (found,) = judged(tmp_path, "fewer-samples")
    assert found.values == pytest.approx(dict.fromkeys(range(3), power), abs=1e-6)
    assert (found.verdict, found.unit, found.experiment, found.site) == (verdict, "exponent", "I1", "before:0")
    assert needed(tmp_path) == pytest.approx({0.5: 1000, 1.0: 250 if power > 0 else 4000})
    assert found.published == "N >= Omega(alpha_*^-2) (slides)"
    assert len(found.evidence) == 18


def test_i1_agrees_with_a_slow_reference(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    alphas = {1.0: 0.66, 0.8: 0.82, 0.6: 0.95}
    drawn = {
        (n, alpha): [round(0.3 + 0.1 * i + 0.2 * alpha + x, 3) for x in generator.normal(0, 0.06, 3)]
        for i, n in enumerate(SIZES)
        for alpha in alphas.values()
    }
    samples(tmp_path, lambda n, alpha: drawn[n, alpha], alphas)
    (found,) = judged(tmp_path, "fewer-samples")
    grid = np.linspace(math.log(SIZES[0]), math.log(SIZES[-1]), 400_001)
    for seed in range(3):
        curves = [_isotonic([drawn[n, alpha][seed] for n in SIZES]) for alpha in alphas.values()]
        powers = []
        for target in curves[0][1:-1]:
            on_grid = [np.interp(grid, np.log(SIZES), curve) for curve in curves]
            needed = [_middle(grid, values, target) for values in on_grid]
            powers.append(-np.polyfit(np.log(list(alphas.values())), needed, 1)[0])
        assert found.values[seed] == pytest.approx(np.mean(powers), abs=1e-3)


def _middle(grid: np.ndarray, values: np.ndarray, target: float) -> float:
    """Of where the values are the target, or pass it; an end where they never do."""
    below, above = grid[values <= target + 1e-12], grid[values >= target - 1e-12]
    return ((below[-1] if len(below) else grid[0]) + (above[0] if len(above) else grid[-1])) / 2


def _isotonic(y: Sequence[float]) -> list[float]:
    """By the min-max formula: max over starts up to i of min over ends from i of the mean between."""
    n = len(y)
    return [max(min(np.mean(y[j : k + 1]) for k in range(i, n)) for j in range(i + 1)) for i in range(n)]


def test_i1_takes_ratios_that_keep_the_same_alpha(tmp_path: Path) -> None:
    """Twice the same curve at alpha_* 1: the slope is that of one."""
    samples(tmp_path, lambda n, alpha: 0.1 + 0.05 * math.log2(n * alpha**2 / 50), {1.0: 0.5, 0.5: 1.0, 0.3: 1.0})
    (found,) = judged(tmp_path, "fewer-samples")
    assert found.effect == pytest.approx(2, abs=1e-6)


def test_samples_needed_are_clipped_and_straight_in_log_n() -> None:
    curve = rising([0.2, 0.5, 0.4])
    assert curve == pytest.approx([0.2, 0.45, 0.45])
    assert samples_needed(SIZES, curve, 0.1) == pytest.approx(250)
    assert samples_needed(SIZES, curve, 0.9) == pytest.approx(4000)
    assert samples_needed(SIZES, curve, 0.325) == pytest.approx(500)
    assert samples_needed(SIZES, curve, 0.45) == pytest.approx(2000)  # the middle of 1000 to 4000


def test_i1_with_two_seeds_names_every_run_that_a_third_needs(tmp_path: Path) -> None:
    samples(tmp_path, lambda n, alpha: [0.3 + alpha * n / 10_000] * 2, {1.0: 0.5, 0.5: 1.0})
    (found,) = judged(tmp_path, "fewer-samples")
    assert (found.verdict, found.n, found.p) == ("undecided", 2, None)
    assert found.why.endswith("a verdict needs 3 seeds, 1 more.")
    commands = (found.todo or "").splitlines()
    assert len(commands) == 6
    assert all(line.startswith("tokenprune train") and " --seed 2 " in line for line in commands)


def test_i1_asks_for_the_cells_that_are_missing(tmp_path: Path) -> None:
    for n in SIZES:
        train(tmp_path, 0.4, f"data.train_size={n}")
    train(tmp_path, 0.5, "data.train_size=250", method="oracle", keep=0.5, kept_relevance=1.0)
    (found,) = judged(tmp_path, "fewer-samples")
    assert (found.verdict, found.effect) == ("undecided", None)
    assert found.why == "no two alpha_* were trained on the same three numbers of images."
    changes = "--set pruner.name=oracle --set pruner.keep_ratio=0.5 --set pruner.site=before:0"
    assert (found.todo or "").count(changes) == 6


def test_i1_judges_nothing_on_two_train_sizes_and_asks_for_one_between(tmp_path: Path) -> None:
    for n in (250, 4000):
        train(tmp_path, 0.4, f"data.train_size={n}", f"train.epochs={24_000 // n}")
        changes = (f"data.train_size={n}", f"train.epochs={24_000 // n}")
        train(tmp_path, 0.5, *changes, method="oracle", keep=0.5, kept_relevance=1.0)
    (found,) = judged(tmp_path, "fewer-samples")
    assert (found.verdict, found.effect, found.why) == ("undecided", None, "needs three train sizes.")
    between = "--set data.train_size=1000 --set train.epochs=24 "  # as many images seen as at both ends
    assert (found.todo or "").count(between) == 6


def test_i1_finds_no_exponent_where_accuracy_does_not_rise_with_n(tmp_path: Path) -> None:
    samples(tmp_path, lambda n, alpha: 0.4, {1.0: 0.5, 0.5: 1.0})
    (found,) = judged(tmp_path, "fewer-samples")
    assert found.values == dict.fromkeys(range(3), 0.0)
    assert needed(tmp_path) == pytest.approx({0.5: 1000, 1.0: 1000})


@pytest.mark.parametrize("curve", [(0.25, 0.33, 0.41), (0.3, 0.3, 0.3)])
def test_i1_is_as_often_right_as_wrong_by_chance(curve: tuple[float, ...]) -> None:
    """Equal curves under seed noise: false support and false refutation at 2.5 % each, at any steepness."""
    generator = np.random.default_rng(0)
    sizes, alphas, draws = (256, 1024, 4000), (0.66, 0.8, 0.97), 400
    told = []
    for _ in range(draws):
        powers = []
        for _ in range(5):
            least, *others = (rising(np.add(curve, generator.normal(0, 0.01, 3))) for _ in alphas)
            powers.append(exponent([samples_needed(sizes, c, least[1]) for c in (least, *others)], alphas))
        p = t_test(powers)
        assert p is not None
        told.append(np.sign(np.mean(powers)) if p < 0.05 else 0)
    supported, refuted = told.count(1), told.count(-1)
    spread = math.sqrt(draws * 0.025)
    assert supported == pytest.approx(draws * 0.025, abs=2.5 * spread)
    assert refuted == pytest.approx(draws * 0.025, abs=2.5 * spread)
    assert abs(supported - refuted) <= 2.5 * math.sqrt(2) * spread
