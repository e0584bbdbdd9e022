"""The trend of an effect over depth."""

import math
from pathlib import Path

import numpy as np
import pytest
from factories import make_run
from scipy import stats

from tokenprune.claims import judge, read_runs, studies, trends
from tokenprune.claims.trend import _judged, _Mean
from tokenprune.experiments import CLAIMS
from tokenprune.statistics import holm, slope


def attention(runs_dir: Path, rises: dict[int, list[float]]) -> None:
    for depth, by_seed in rises.items():
        for seed, rise in enumerate(by_seed):
            make_run(runs_dir, depth=depth, seed=seed, attention=(0.4, 0.4 + rise))


def test_the_trend_is_a_line_through_single_seeds_over_the_logarithm_of_depth(tmp_path: Path) -> None:
    rises = {1: [0.1, 0.12, 0.11], 2: [0.14, 0.13, 0.15], 6: [0.2, 0.16, 0.21]}
    attention(tmp_path, rises)
    found = trends(judge(studies(read_runs(tmp_path)[0]), CLAIMS))
    (trend,) = (trend for trend in found if trend.claim == "attention-concentrates")
    x = np.concatenate([[math.log2(depth)] * len(by_seed) for depth, by_seed in rises.items()])
    y = np.concatenate(list(rises.values()))
    b, a = np.polyfit(x, y, 1)
    residual = ((y - a - b * x) ** 2).sum() / (len(x) - 2)
    half = stats.t.ppf(0.975, len(x) - 2) * math.sqrt(residual / ((x - x.mean()) ** 2).sum())
    assert (trend.slope, trend.low, trend.high) == pytest.approx((b, b - half, b + half))
    assert (trend.depths, trend.seeds, trend.site) == ((1, 2, 6), 3, None)
    assert trend.p == pytest.approx(2 * stats.t.sf(abs(b) / half * stats.t.ppf(0.975, len(x) - 2), len(x) - 2))


def test_trends_are_adjusted_over_all_of_their_claim(tmp_path: Path) -> None:
    for epochs, spread in ((3, 0.01), (4, 0.08)):
        for depth in (1, 2, 4):
            for seed, off in enumerate((-spread, 0, spread)):
                rise = 0.1 + 0.02 * math.log2(depth) + off
                make_run(tmp_path, depth=depth, seed=seed, epochs=epochs, attention=(0.4, 0.4 + rise))
    found = [
        each
        for each in trends(judge(studies(read_runs(tmp_path)[0]), CLAIMS))
        if each.claim == "attention-concentrates"
    ]
    assert len(found) == 2
    assert [each.p_adjusted for each in found] == pytest.approx(holm([each.p for each in found]))
    assert any(each.p_adjusted > each.p for each in found)


@pytest.mark.parametrize(
    "rises",
    [
        {1: [0.1, 0.2, 0.3]},
        {1: [0.1, 0.2, 0.3], 4: [0.2, 0.3, 0.5]},
        {1: [0.1, 0.2, 0.3], 2: [0.1, 0.2], 4: [0.2, 0.3, 0.5]},
    ],
)
def test_fewer_than_three_seeds_at_three_depths_have_no_trend(tmp_path: Path, rises: dict[int, list[float]]) -> None:
    attention(tmp_path, rises)
    (found,) = trends(judge(studies(read_runs(tmp_path)[0]), CLAIMS))
    assert (found.slope, found.low, found.high, found.p, found.depths) == (None, None, None, None, tuple(rises))


def test_effects_without_spread_have_no_trend_for_sure() -> None:
    assert slope([0, 1, 2], [0.3, 0.3, 0.3]) == (0, 0, 0, 1)


def test_where_depth_does_not_matter_the_interval_holds_zero_at_its_rate() -> None:
    generator = np.random.default_rng(0)
    x = np.repeat(np.log2([1, 2, 4, 6]), 3)
    held = [low <= 0 <= high for _ in range(1000) for _, low, high, _ in [slope(x, generator.normal(0.2, 0.03, 12))]]
    assert np.mean(held) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 1000))


def test_the_mean_over_depths_is_a_test_of_means_by_seed(tmp_path: Path) -> None:
    """Undecided at every depth, since a seed's chance hides it; not so their mean, in which it cancels."""
    rises = {1: [0.05, -0.02, 0.07], 2: [-0.01, 0.09, 0.0], 6: [0.05, 0.03, 0.04]}
    attention(tmp_path, rises)
    verdicts = [v for v in judge(studies(read_runs(tmp_path)[0]), CLAIMS) if v.claim == "attention-concentrates"]
    (row,) = trends(verdicts)
    means = [sum(by_depth) / 3 for by_depth in zip(*rises.values(), strict=True)]
    expected = stats.ttest_1samp(means, 0)
    assert (row.overall.effect, row.overall.p) == pytest.approx((np.mean(means), expected.pvalue))
    assert (row.overall.low, row.overall.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert (row.overall.verdict, row.overall.depths, row.overall.seeds) == ("supported", (1, 2, 6), 3)
    assert [v.verdict for v in verdicts if v.depth < 6] == ["undecided", "undecided"]


def test_one_depth_or_two_seeds_have_no_mean(tmp_path: Path) -> None:
    attention(tmp_path, {1: [0.1, 0.2, 0.3], 2: [0.1, 0.2]})
    assert all(row.overall is None for row in trends(judge(studies(read_runs(tmp_path)[0]), CLAIMS)))


def test_means_over_depths_have_a_twentieth_of_false_findings() -> None:
    """Rows of one claim without any effect, whose depths differ in spread and share the part that images have."""
    rng, false, repeats = np.random.default_rng(5), 0, 600
    spreads = np.array([0.5, 1.0, 2.0, 3.0])
    for _ in range(repeats):
        means = {}
        for row in range(5):
            images = rng.normal() * 0.5
            values = {seed: float((rng.normal(size=4) * spreads).mean() + images) for seed in range(3)}
            means[row] = _Mean(values, 0.25, (1, 2, 4, 6), (0.0, None))
        false += any(overall.verdict != "undecided" for overall in _judged(means).values())
    assert false / repeats <= 0.065
