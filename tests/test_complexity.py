"""N50 and its exponents against statsmodels, scipy, tables whose truth is known, and the published phase diagram."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize

from tokenprune.claims.published import PHASE_VIT
from tokenprune.complexity import bootstrap_p, columns, lack_of_fit, line, power_law
from tokenprune.lapse import lapsing

ALPHA = [value**0.5 for value in PHASE_VIT.values]  # 1 / alpha_*
PUBLISHED = (PHASE_VIT.samples, PHASE_VIT.successes, PHASE_VIT.trials)


def table(n50s, samples, *, slope=4.0, trials=20, rng):
    rates = [[1 / (1 + (n50 / n) ** slope) for n in samples] for n50 in n50s]
    return rng.binomial(trials, rates).tolist()


def glm(design, counts, trials):
    return sm.GLM(np.stack([counts, trials - counts], 1), design, family=sm.families.Binomial()).fit(tol=1e-12)


def cells(x, samples, successes):
    """x, N and successes of every cell, column by column."""
    return np.repeat(x, len(samples)), np.tile(samples, len(x)).astype(float), np.ravel(successes).astype(float)


def test_power_law_is_the_logistic_regression_of_statsmodels():
    x, n, counts = cells(ALPHA, *PUBLISHED[:2])
    fitted = glm(np.stack([np.ones_like(n), np.log(n), np.log(x)], 1), counts, 20)
    power = power_law(ALPHA, *PUBLISHED, draws=10)
    one, log_n, log_x = fitted.params
    assert power.slope == pytest.approx(log_n, rel=1e-5)
    assert power.exponent == pytest.approx(-log_x / log_n, rel=1e-5)
    assert power.intercept == pytest.approx(-one / log_n, rel=1e-5)
    assert power.n50(3.0) == pytest.approx(math.exp(-(one + log_x * math.log(3)) / log_n), rel=1e-4)


def test_bootstrap_spread_is_that_of_the_delta_method():
    rng = np.random.default_rng(3)
    samples, x = range(40, 401, 40), ALPHA
    counts = table([20 * v**1.7 for v in x], samples, slope=3, trials=40, rng=rng)
    one, n, seen = cells(x, samples, counts)
    fitted = glm(np.stack([np.ones_like(n), np.log(n), np.log(one)], 1), seen, 40)
    _, b, c = fitted.params
    gradient = np.array([0, c / b**2, -1 / b])
    expected = math.sqrt(gradient @ fitted.cov_params() @ gradient)
    power = power_law(x, samples, counts, 40)
    assert np.std(power.samples) == pytest.approx(expected, rel=0.1)
    assert power.high - power.low == pytest.approx(2 * 1.96 * expected, rel=0.1)


def test_columns_are_the_logistic_regression_of_statsmodels():
    mixed = [column for column in PHASE_VIT.successes if 0 < sum(column) < 200]
    _, n, counts = cells(range(len(mixed)), PHASE_VIT.samples, mixed)
    design = np.concatenate([np.log(n)[:, None], np.kron(np.eye(len(mixed)), np.ones((10, 1)))], 1)
    fitted = glm(design, counts, 20)
    fit = columns(PHASE_VIT.values, *PUBLISHED)
    assert fit.slope == pytest.approx(fitted.params[0], rel=1e-5)
    assert fit.n50[0] is None  # all of alpha_*^-2 = 4 succeeded
    assert fit.bound == ["< 40", *[None] * 10]
    assert fit.n50[1:] == pytest.approx(list(np.exp(-fitted.params[1:] / fitted.params[0])), rel=1e-4)
    assert fit.probability(4, 80) == pytest.approx(fitted.predict(design)[3 * 10 + 1], rel=1e-4)
    assert fit.probability(0, 80) is None


def test_published_diagram_has_an_exponent_far_above_two():
    """... as a pure power; N50 ~ (alpha_* - 0.2)^-2, the theorem's full form, describes it as well."""
    power = power_law(ALPHA, *PUBLISHED)
    assert power.exponent == pytest.approx(5.59, abs=0.02)
    assert power.low < 5.21 < 6.0 < power.high  # an outside analysis with binomial spread alone
    fit = columns(PHASE_VIT.values, *PUBLISHED)
    assert fit.n50[1:] == sorted(fit.n50[1:])
    assert 200 < fit.n50[9] < 240  # 5 and 10 of 20 succeed at N = 200 and 240
    assert 280 < fit.n50[10] < 320  # 4 and 14
    shifted = line([1 / x for x in ALPHA], *PUBLISHED)
    assert -shifted.intercept / shifted.estimate == pytest.approx(0.2, abs=0.01)
    assert shifted.n50(1 / ALPHA[10]) == pytest.approx(fit.n50[10], rel=0.1)


def test_line_is_the_maximum_of_the_likelihood():
    x = PHASE_VIT.values
    xs, n, counts = cells(x, *PUBLISHED[:2])

    def loss(theta):
        s, a, b = theta
        odds = s * (np.log(n) + 2 * np.log(np.maximum((a + b * xs) / 10, 1e-9)))
        return -(counts * odds - 20 * np.logaddexp(0, odds)).sum()

    fit = line(x, *PUBLISHED, draws=10)
    found = [fit.slope, 10 * fit.intercept, 10 * fit.estimate]
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 5000}
    best = minimize(loss, [2.0, 2.5, -0.1], method="Nelder-Mead", options=options)
    assert loss(found) <= best.fun + 1e-6
    assert found == pytest.approx(list(best.x), rel=1e-3)


def test_exponent_is_within_its_interval_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples, truth = range(40, 401, 40), 1.6
    inside = 0
    for _ in range(60):
        counts = table([150 * (v / 3) ** truth for v in ALPHA], samples, rng=rng)
        power = power_law(ALPHA, samples, counts, 20, draws=400)
        inside += power.low <= truth <= power.high
    assert inside >= 51


def test_an_interval_holds_the_exponent_where_cells_vary_more_than_binomially():
    """Beta-binomial cells of 2.5 times binomial variance: without the quasi-binomial factor .74 of the intervals do."""
    rng, x, samples, trials, held = np.random.default_rng(8), [2.0, 2.5, 3.0, 3.5], [40, 60, 90, 135, 200, 300], 20, 0
    for _ in range(150):
        rates = np.array([[1 / (1 + (40 * v**1.5 / n) ** 2) for n in samples] for v in x])
        spread = rng.beta(rates * 11.7, (1 - rates) * 11.7)  # 1 + 19 / 12.7 times binomial
        power = power_law(x, samples, rng.binomial(trials, spread).tolist(), trials, draws=200)
        held += power.low <= 1.5 <= power.high
    assert held >= 0.88 * 150


def test_an_interval_holds_the_exponent_where_columns_scatter_about_the_law():
    """N50 of each column off by .2 in log N: with binomial spread alone half of them do."""
    rng, samples, held = np.random.default_rng(9), range(40, 401, 40), 0
    for _ in range(60):
        n50 = [150 * (v / 3) ** 1.5 * math.exp(rng.normal(0, 0.2)) for v in ALPHA]
        power = power_law(ALPHA, samples, table(n50, samples, rng=rng), 20, draws=300)
        held += power.low <= 1.5 <= power.high
    assert held >= 52


def test_line_is_within_its_interval_as_often_as_it_says_and_finds_its_zero():
    rng = np.random.default_rng(1)
    tau, samples = np.linspace(0, 0.8, 9), [100, 140, 200, 280, 400, 560, 800, 1120, 1600]
    truth = -0.09
    inside = 0
    for _ in range(60):
        counts = table([(0.1 + truth * v) ** -2 for v in tau], samples, rng=rng)
        fit = line(tau, samples, counts, 20, draws=400)
        inside += fit.low <= truth <= fit.high
    assert inside >= 51
    assert -fit.intercept / fit.estimate == pytest.approx(0.1 / 0.09, rel=0.1)
    assert fit.n50(0.4) == pytest.approx((0.1 - 0.036) ** -2, rel=0.15)
    assert fit.n50(2.0) is None


def test_columns_beyond_the_grid_still_bear_on_the_exponent():
    """Most columns fail or succeed throughout; the truth is recovered, and those columns narrow the interval."""
    rng = np.random.default_rng(5)
    x, samples = [1, 1.3, 1.6, 2, 2.5, 3], [100, 140, 200, 280]
    counts = table([170 * (v / 1.8) ** 3 for v in x], samples, slope=6, trials=100, rng=rng)
    fit = columns(x, samples, counts, 100)
    sides = [bound and bound[0] for bound in fit.bound]
    assert sides[0] == "<"
    assert sides[-1] == ">"
    whole = power_law(x, samples, counts, 100)
    inner = [index for index, bound in enumerate(fit.bound) if bound is None]
    part = power_law([x[i] for i in inner], samples, [counts[i] for i in inner], 100)
    assert whole.low < 3 < whole.high
    assert whole.high - whole.low < part.high - part.low


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([[0, 0], [0, 0]], "no trial"),
        ([[5, 5], [5, 5]], "every trial"),
        ([[5, 5], [0, 3]], "fewer than two columns"),
        ([[0, 5], [0, 5]], "grid's spacing"),
        ([[4, 2], [3, 1]], "does not grow"),
    ],
)
def test_tables_that_cannot_tell_say_why(counts, said):
    for fit in (power_law((1, 2), (50, 100), counts, 5), line((1, 2), (50, 100), counts, 5)):
        assert said in fit.lacking
        assert (fit.estimate, fit.low, fit.high, fit.p(0.0), fit.n50(1.0)) == (None,) * 5


def test_one_column_or_one_row_has_no_exponent():
    assert "at least two values" in power_law((1, 1), (50, 100), [[1, 4], [1, 3]], 5).lacking
    assert "at least two" in power_law((1, 2), (50,), [[4], [1]], 5).lacking


def test_separated_columns_have_their_n50_between_the_rows():
    fit = columns((1, 2), (50, 100, 200, 400), [[0, 0, 5, 5], [0, 5, 5, 5]], 5)
    assert fit.n50 == pytest.approx([math.sqrt(100 * 200), math.sqrt(50 * 100)], rel=0.02)


def test_two_columns_measure_the_ratio_of_their_n50():
    counts = [[1, 4, 10, 16, 19], [4, 10, 16, 19, 20]]
    samples = (50, 100, 200, 400, 800)
    fit = columns((1, 2), samples, counts, 20)
    ratio = power_law((1, 2), samples, counts, 20)
    assert ratio.exponent == pytest.approx(math.log2(fit.n50[1] / fit.n50[0]), rel=1e-5)


def test_p_is_twice_the_smaller_tail_and_never_less_than_one_draw():
    draws = np.arange(1, 101) / 100
    assert bootstrap_p(draws, 0.105) == pytest.approx(0.2)
    assert bootstrap_p(draws, 0.505) == 1.0
    assert bootstrap_p(draws, -1.0) == 0.01
    assert bootstrap_p(np.empty(0), 0.0) is None


def test_draws_on_the_bound_but_for_rounding_decide_nothing():
    assert bootstrap_p(np.full(2000, 1 - 2e-14), 1.0) == 1.0
    assert bootstrap_p(np.full(2000, 1 - 2e-6), 1.0) == 1 / 2000


def test_deviance_is_that_of_statsmodels():
    x, n, counts = cells(ALPHA, *PUBLISHED[:2])
    fitted = glm(np.stack([np.ones_like(n), np.log(n), np.log(x)], 1), counts, 20)
    power = power_law(ALPHA, *PUBLISHED, draws=1)
    assert power.deviance == pytest.approx(fitted.deviance, rel=1e-5)
    assert power.freedom == fitted.df_resid
    mixed = [column for column in PHASE_VIT.successes if 0 < sum(column) < 200]
    _, n, counts = cells(range(len(mixed)), PHASE_VIT.samples, mixed)
    design = np.concatenate([np.log(n)[:, None], np.kron(np.eye(len(mixed)), np.ones((10, 1)))], 1)
    assert columns(PHASE_VIT.values, *PUBLISHED).deviance == pytest.approx(glm(design, counts, 20).deviance, rel=1e-5)


def test_lack_of_fit_is_uniform_where_the_law_holds_and_small_where_it_does_not():
    rng, samples = np.random.default_rng(4), range(40, 401, 40)

    def p(n50s):
        counts = table(n50s, samples, rng=rng)
        return lack_of_fit(power_law(ALPHA, samples, counts, 20, draws=1), columns(ALPHA, samples, counts, 20)).p

    held = [p([150 * (v / 3) ** 1.5 for v in ALPHA]) for _ in range(60)]
    assert 0.3 < np.mean(held) < 0.7
    assert sum(each < 0.05 for each in held) <= 9
    assert max(p([100 if v < 3 else 250 for v in ALPHA]) for _ in range(5)) < 0.01


def test_a_lapse_is_told_from_a_shallow_slope():
    """Success tends to 0.85. A logistic that runs to 1 misses the exponent; with a lapse it is within its interval."""
    rng, truth = np.random.default_rng(6), 1.7
    samples = [40, 80, 160, 320, 640, 1280, 2560, 5120]
    rates = [[0.85 / (1 + (80 * (v / 3) ** truth / n) ** 4) for n in samples] for v in ALPHA]
    inside, plain, lapses = 0, [], []
    for _ in range(40):
        counts = rng.binomial(20, rates).tolist()
        found = lapsing(ALPHA, samples, counts, 20)
        inside += found.low <= truth <= found.high
        lapses.append(found.lapse)
        plain.append(power_law(ALPHA, samples, counts, 20, draws=1))
        assert found.deviance < plain[-1].deviance
    assert inside >= 34
    assert np.mean(lapses) == pytest.approx(0.15, abs=0.01)
    assert found.freedom == len(ALPHA) * len(samples) - 4


def test_without_lapses_the_exponent_stays_what_it_is():
    rng, samples = np.random.default_rng(7), range(40, 401, 40)
    counts = table([100 * (v / 3) ** 1.5 for v in ALPHA], samples, slope=6, rng=rng)
    found, plain = lapsing(ALPHA, samples, counts, 20), power_law(ALPHA, samples, counts, 20)
    assert found.lapse < 0.02
    assert found.exponent == pytest.approx(plain.exponent, abs=0.05)
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=0.25)
    assert lapsing((1, 2), (50, 100), [[0, 0], [0, 0]], 5) is None


def test_same_seed_same_interval():
    first, again, other = (power_law(ALPHA, *PUBLISHED, draws=50, seed=seed) for seed in (0, 0, 1))
    assert (first.low, first.high) == (again.low, again.high)
    assert (first.low, first.high) != (other.low, other.high)
