import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from tokenprune.statistics import (
    Z,
    deviation,
    holm,
    image_variance,
    mcnemar,
    mean_interval,
    paired_interval,
    seeds_to_decide,
    spread,
    t_test,
    wilson,
)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [  # Newcombe, Stat. Med. 17:857 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_published_intervals(correct: int, count: int, low: float, high: float) -> None:
    assert wilson(correct, count) == pytest.approx((low, high), abs=5e-5)


def test_mcnemar_is_the_exact_binomial_sum() -> None:
    # 6 against 16: 2 sum_{i <= 6} C(22, i) / 2^22
    expected = 2 * sum(math.comb(22, i) for i in range(7)) / 2**22
    assert mcnemar(6, 16) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(16, 6) == mcnemar(6, 16)
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)  # Fagerland et al., Stat. Med. 33:2850 (2014), airway data
    assert mcnemar(0, 0) == 1


def test_paired_interval_gives_the_published_tango_interval() -> None:
    # Airway hyper-responsiveness, n = (1, 1; 7, 12): (-0.517, -0.026) in Fagerland, Lydersen, Laake,
    # Stat. Med. 33:2850 (2014), Tango asymptotic score
    assert paired_interval(lost=7, gained=1, count=21) == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(st.integers(1, 10_000))
def test_paired_interval_of_no_change_is_closed_form_and_not_a_point(count: int) -> None:
    half = Z**2 / (count + Z**2)
    assert paired_interval(0, 0, count) == pytest.approx((-half, half), abs=1e-9)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_paired_interval_is_antisymmetric_ordered_and_holds_the_estimate(lost: int, gained: int, same: int) -> None:
    count = max(1, lost + gained + same)
    low, high = paired_interval(lost, gained, count)
    assert -1 <= low <= (gained - lost) / count <= high <= 1
    assert paired_interval(gained, lost, count) == pytest.approx((-high, -low), abs=1e-9)


def test_paired_interval_approaches_walds_for_many_images() -> None:
    lost, gained, count = 50_000, 40_000, 1_000_000
    difference = (gained - lost) / count
    half = Z * math.sqrt((lost + gained) / count - difference**2) / math.sqrt(count)
    assert paired_interval(lost, gained, count) == pytest.approx((difference - half, difference + half), abs=1e-6)


def test_mean_interval_is_students() -> None:
    # two degrees of freedom have a closed-form quantile: t = 2 (p - 1/2) sqrt(2 / (4 p (1 - p)))
    t = 2 * 0.475 * math.sqrt(2 / (4 * 0.975 * 0.025))
    half = t / math.sqrt(3)  # the deviation of 1, 2, 3 is 1
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 2 - half, 2 + half), rel=1e-9)
    assert mean_interval([0.7]) == (0.7, None, None)
    assert mean_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_t_test_agrees_with_the_interval_and_with_the_cauchy_closed_form() -> None:
    # one degree of freedom is Cauchy: values 0 and 2 have t = 1, of which the two-sided p is 1/2
    assert t_test([0, 2]) == pytest.approx(0.5)
    assert t_test([0, 2], alternative="greater") == pytest.approx(0.25)
    assert t_test([0, 2], alternative="less") == pytest.approx(0.75)
    values = [0.02, 0.05, 0.01, 0.04]
    _, low, high = mean_interval(values)
    assert low is not None
    assert high is not None
    assert t_test(values, against=low) == pytest.approx(0.05)
    assert t_test(values, against=high) == pytest.approx(0.05)
    assert t_test([0.3]) is None


@pytest.mark.parametrize(("alternative", "p"), [("two-sided", 0.0), ("greater", 0.0), ("less", 1.0)])
def test_t_test_of_equal_values_decides_fully(alternative: str, p: float) -> None:
    assert t_test([0.1, 0.1, 0.1], alternative=alternative) == p  # type: ignore[arg-type]
    assert t_test([0.1, 0.1, 0.1], against=0.1, alternative=alternative) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(("effect", "count"), [(0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_to_decide_are_the_sample_sizes_of_power_tables(effect: float, count: int) -> None:
    # one-sample two-sided t test, 5 %, power .8: n = 34, 15, 10 at effect sizes .5, .8, 1 (Cohen; G*Power)
    assert seeds_to_decide([effect - 1, effect, effect + 1]) == count
    assert seeds_to_decide([-effect + 1, -effect, -effect - 1]) == count
    assert seeds_to_decide([effect - 2, effect - 1, effect], against=-1) == count


@pytest.mark.parametrize(("effect", "level"), [(0.5, 0.025), (0.8, 0.01)])
def test_a_stricter_level_needs_as_many_seeds_as_exact_power_has_it(effect: float, level: float) -> None:
    exact = TTestPower().solve_power(effect_size=effect, alpha=level, power=0.8)
    assert seeds_to_decide([effect - 1, effect, effect + 1], level=level) == math.ceil(exact)


def test_seeds_to_decide_knows_what_it_cannot_know() -> None:
    assert seeds_to_decide([0.1]) is None
    assert seeds_to_decide([-1, 0, 1]) is None


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_deviation_is_of_the_sample() -> None:
    assert deviation([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(math.sqrt(32 / 7))


def test_image_variance_is_the_mixed_models_component() -> None:
    """Against the method of moments written out, and for a table without any interaction its closed form."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(4, 1)) + rng.normal(size=(1, 50))
    assert image_variance(table) == pytest.approx(table[0].var(ddof=1) / 50)
    table = table + rng.normal(size=(4, 50))
    cells = [(seed, image) for seed in range(4) for image in range(50)]
    rest = sum((table[s, i] - table[s].mean() - table[:, i].mean() + table.mean()) ** 2 for s, i in cells) / (3 * 49)
    images = 4 * sum((table[:, i].mean() - table.mean()) ** 2 for i in range(50)) / 49
    assert image_variance(table) == pytest.approx((images - rest) / (4 * 50))
    assert image_variance(np.ones((3, 20))) == 0
    assert image_variance(table[:1]) == pytest.approx(table[0].var(ddof=1) / 50)


def test_error_over_seeds_and_images_is_that_of_a_two_way_bootstrap() -> None:
    """Its variance in closed form (McCullagh, Bernoulli 6:285, 2000): seeds, images, thrice their interaction."""
    rng = np.random.default_rng(1)
    seeds, images = 8, 400
    table = 0.3 * rng.normal(size=(seeds, 1)) + rng.normal(size=(1, images)) + 2 * rng.normal(size=(seeds, images))
    draws = []
    for _ in range(4000):
        rows, columns = rng.integers(seeds, size=seeds), rng.integers(images, size=images)
        draws.append(table[rows][:, columns].mean())
    by_seed = list(table.mean(1))
    found = spread(by_seed, images=image_variance(table))
    assert found is not None
    residual = table - table.mean(0) - (table.mean(1) - table.mean())[:, None]
    interaction = float((residual**2).sum() / ((seeds - 1) * (images - 1))) / (seeds * images)
    drawn = np.var(draws) - 2 * interaction + np.var(by_seed, ddof=1) / seeds / seeds  # of n, not n - 1, seeds
    assert found.error**2 == pytest.approx(drawn, rel=0.08)


@pytest.mark.parametrize("replicates", [3, 5, 10])
def test_an_interval_over_seeds_and_images_holds_the_effect(replicates: int) -> None:
    """What leaves out the images, whose part here is as large as that of the seeds, holds it too rarely."""
    rng, images, held, narrow = np.random.default_rng(2), 300, 0, 0
    for _ in range(400):
        of_images = math.sqrt(images / replicates) * 0.1 * rng.normal(size=(1, images))
        table = 0.1 * rng.normal(size=(replicates, 1)) + of_images + rng.normal(size=(replicates, images))
        both, seeds = spread(list(table.mean(1)), images=image_variance(table)), spread(list(table.mean(1)))
        assert both is not None
        assert seeds is not None
        held += abs(table.mean()) <= both.error * scipy.stats.t.ppf(0.975, both.freedom)
        narrow += abs(table.mean()) <= seeds.error * scipy.stats.t.ppf(0.975, seeds.freedom)
    assert 0.93 <= held / 400 <= 0.99
    assert narrow < held


@pytest.mark.parametrize("replicates", [3, 5, 10])
@pytest.mark.parametrize("findings", [1, 4, 14])
@pytest.mark.parametrize("kind", ["equal", "three-fold", "one outlier"])
def test_a_family_without_effects_has_at_most_a_twentieth_of_false_findings(replicates, findings, kind) -> None:
    """Shared variances from four findings on, as `judge` has it, then Holm; the noisiest is false no more often."""
    rng, false, first, repeats = np.random.default_rng(3), 0, 0, 1500
    for _ in range(repeats):
        scale = {
            "equal": np.ones(findings),
            "three-fold": rng.choice([1.0, 3.0], findings),
            "one outlier": np.r_[4.0, np.ones(findings - 1)],
        }[kind]
        values = rng.normal(size=(findings, replicates)) * scale[:, None]
        shared = float(values.var(axis=1, ddof=1).mean()) if findings >= 4 else None
        found = [spread(row.tolist(), shared) for row in values]
        errors, freedom = np.transpose([each for each in found if each])
        p = 2 * scipy.stats.t.sf(abs(values.mean(axis=1)) / errors, freedom)
        false += min(holm(p.tolist())) < 0.05
        first += p[0] < 0.05
    assert false / repeats <= 0.065
    assert first / repeats <= 0.075
