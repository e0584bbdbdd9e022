"""Verdicts on what happens in training: attention, removal of tokens, iterations."""

import math

import numpy as np
import pytest
import theory_factories as make
from theory_factories import judged, only

from tokenprune.claims.published import ATTENTION
from tokenprune.claims.theory.attention import approach
from tokenprune.claims.theory.convergence import analyse
from tokenprune.claims.theory.decay import decays
from tokenprune.statistics import holm, mean_interval, t_test

SAMPLES = [40, 80, 120, 160, 200, 240, 280, 320, 360, 400]


def test_attention_grows_by_trial_with_student_t():
    curves = [[0.5, 0.7, 0.8, 0.9 + wobble] for wobble in (-0.01, 0.0, 0.02)]
    result = make.attention([*curves, [0.5, None, None, None]], (0, 10, 20, 30))
    verdict, study = only(result, number="T4"), make.study(result)
    changes = [0.39, 0.40, 0.42]
    assert (verdict.effect, verdict.low, verdict.high) == pytest.approx(mean_interval(changes))
    assert verdict.p == pytest.approx(t_test(changes))
    assert (verdict.verdict, verdict.n, study.diverged) == ("supported", 3, 1)
    assert study.curve("query_norm").T.tolist() == [[1, 2, 3, 4]] * 3
    falling = only(make.attention([[0.5, 0.4, 0.3, 0.2 + w] for w in (0, 0.01, 0.02)], (0, 10, 20, 30)), number="T4")
    assert falling.verdict == "refuted"


@pytest.mark.parametrize(("p", "said"), [(0.4, "refuted"), (2.0, "supported")])
def test_the_rate_of_a_power_is_found_with_its_limit(p, said):
    t, rng = np.arange(0, 401, 10), np.random.default_rng(0)
    curves = [(0.9 - 0.4 * (1 + t / 20) ** -p + rng.normal(0, 3e-4, len(t))).tolist() for _ in range(10)]
    result = make.attention(curves, t.tolist(), train={"step_size": 0.5})
    verdict, found = only(result, number="T4", variant="rate"), approach(make.study(result))
    assert verdict.verdict == said
    assert verdict.effect == pytest.approx(p, rel=0.1)
    assert verdict.low < verdict.effect < verdict.high
    assert found.best.limit == pytest.approx(0.9, abs=0.02)


def test_an_exponential_approach_is_no_power_that_can_be_identified():
    t, rng = np.arange(0, 201, 20), np.random.default_rng(0)
    curves = [(0.9 - 0.4 * np.exp(-t / 15) + rng.normal(0, 3e-4, len(t))).tolist() for _ in range(10)]
    result = make.attention(curves, t.tolist())
    verdict = only(result, number="T4", variant="rate")
    assert (verdict.verdict, verdict.effect, verdict.p) == ("undecided", None, None)
    assert "not identified" in verdict.why
    assert "curve.iterations=800" in verdict.todo
    assert approach(make.study(result)).best.limit == pytest.approx(0.9, abs=0.005)
    falling = [(0.5 + 0.4 * np.exp(-t / 15)).tolist(), [0.5] * 11]
    assert decays(t.tolist(), falling) == []


def test_an_s_shaped_curve_that_then_creeps_has_no_rate():
    """As measured: a fit from the start called this a power of 20, and its limit lay above all of the curve."""
    t = np.arange(0, 401, 10)
    rng = np.random.default_rng(0)
    curves = []
    for _ in range(20):
        middle = 65 + rng.normal(0, 8)
        creep = 0.012 * (1 - 40 / np.maximum(t, 40))
        curves.append((0.56 + 0.21 / (1 + np.exp(-(t - middle) / 9)) + creep).tolist())
    result = make.attention(curves, t.tolist(), train={"step_size": 0.6})
    verdict, found = only(result, number="T4", variant="rate"), approach(make.study(result))
    assert (verdict.verdict, verdict.effect) == ("undecided", None)
    assert "not identified" in verdict.why
    assert "1.4% of the rise" in verdict.why
    assert found.limit.value == pytest.approx(0.56 + 0.21 + 0.012, abs=1e-4)
    assert found.limit.low <= found.limit.value <= found.limit.high


def test_the_published_attention_approaches_its_limit_faster_than_the_theorem_asks():
    ((power, limit, _),) = decays([int(t) for t in ATTENTION.x], [ATTENTION.y])
    assert power > 1
    assert limit == pytest.approx(0.908, abs=0.02)


def test_a_trial_whose_loss_is_not_finite_is_no_measured_attention():
    curves = [[0.5, 0.7, 0.8, 0.9 + wobble] for wobble in (-0.01, 0.0, 0.02, 0.05)]
    whole = make.attention(curves, (0, 10, 20, 30))
    loss = [*whole.loss[:3], (1.0, 1.0, 1.0, None)]
    result = whole.model_copy(update={"loss": tuple(loss)})
    verdict = only(result, number="T4")
    assert (verdict.effect, verdict.low, verdict.high) == pytest.approx(mean_interval([0.39, 0.40, 0.42]))
    assert (verdict.n, make.study(result).diverged) == (3, 1)
    assert verdict.beside == "1 diverged, left out"


def test_sparsification_is_the_log_ratio_of_n50_against_before_and_against_random():
    before = [0, 0, 0, 1, 4, 10, 16, 19, 20, 20, 20]
    earlier = [*before[2:], 20, 20]  # two grid steps, a factor of two
    result = make.sparsify(
        {"none": before, "irrelevant": earlier, "noisy": before, "random": earlier, "magnitude": before}
    )
    found = {v.variant: v for v in judged(result) if v.experiment == "T5"}
    assert set(found) == {
        "irrelevant",
        "noisy",
        "irrelevant against random",
        "noisy against random",
        "magnitude against random",
    }
    assert found["irrelevant"].effect == pytest.approx(math.log2(200 / 400), abs=0.02)
    assert found["irrelevant"].verdict == "supported"
    assert found["noisy"].effect == pytest.approx(0, abs=1e-6)
    assert found["noisy"].verdict == "undecided"
    assert found["irrelevant against random"].effect == pytest.approx(0, abs=1e-6)
    assert found["magnitude against random"].verdict == "refuted"
    adjusted = holm([v.p for v in found.values()])
    assert [v.p_adjusted for v in found.values()] == pytest.approx(adjusted)


def test_sparsification_beyond_the_grid_says_so():
    before = [0, 0, 0, 1, 4, 10, 16, 19, 20, 20, 20]
    verdict = only(make.sparsify({"none": before, "irrelevant": [20] * 11}), number="T5", variant="irrelevant")
    assert (verdict.verdict, verdict.effect) == ("undecided", None)
    assert "N50 with irrelevant tokens removed is < 100" in verdict.why
    assert "removal.samples=[25,50,100," in verdict.todo


def times(h, k, spread=0.05, trials=20):
    rng = np.random.default_rng(0)
    return lambda eta, alpha: (
        np.round(100 * alpha**-h * eta**-k * np.exp(rng.normal(0, spread, trials))).astype(int).tolist()
    )


@pytest.mark.parametrize(("h", "k", "said"), [(0.8, 0.9, ("supported",) * 2), (1.5, -0.5, ("refuted",) * 2)])
def test_time_is_judged_by_both_exponents(h, k, said):
    result = make.time(times(h, k))
    by_alpha, by_eta = only(result, number="T7"), only(result, number="T7", variant="eta")
    assert (by_alpha.verdict, by_eta.verdict) == said
    assert by_alpha.low < h < by_alpha.high
    assert by_eta.low < k < by_eta.high
    assert "alpha_*" in by_alpha.unit
    assert "eta" in by_eta.unit


def test_time_leaves_out_cells_that_were_mostly_given_up():
    known = times(0.8, 0.9)
    lost = lambda eta, alpha: [None] * 11 + known(eta, alpha)[:9] if (eta, alpha) == (0.3, 0.25) else known(eta, alpha)  # noqa: E731
    result = make.time(lost)
    verdict = only(result, number="T7")
    assert np.argwhere(np.isnan(analyse(make.study(result)).median)).tolist() == [[0, 0]]
    assert verdict.effect == pytest.approx(0.8, abs=0.05)
    never = only(make.time(lambda eta, alpha: [None] * 20), number="T7")
    assert (never.verdict, never.effect) == ("undecided", None)
    assert "convergence.iterations=6400" in never.todo


def test_an_exponent_on_the_bound_is_undecided_and_agrees_with_it():
    """Medians of exactly 100 / alpha_* / eta: every draw gives 1, but for rounding, which once decided it."""
    values, sizes = [0.25, 0.5, 1.0], [0.25, 0.5, 1.0]
    spec = {"values": values, "step_sizes": sizes, "trials": 8}
    result = make.time(lambda eta, alpha: [round(100 / eta / alpha)] * 8, convergence=spec, data={"confusion": 0.0})
    for variant in (None, "eta"):
        verdict = only(result, number="T7", variant=variant)
        assert verdict.effect == pytest.approx(1.0)
        assert (verdict.verdict, verdict.p) == ("undecided", 1.0)
        assert "agrees with the bound 1" in verdict.why or "too close to the bound" in verdict.why
        assert "more trials" not in verdict.why
        assert verdict.todo is None
    wide = only(make.time(times(1.0, 1.0, spread=0.3), convergence={"iterations": 3200}), number="T7")
    assert wide.low < 1 < wide.high
    assert "agrees with the bound 1" in wide.why


def test_time_needs_three_places_and_six_trials():
    two = {"values": [0.25, 0.5], "step_sizes": [0.3, 0.6, 1.2], "trials": 8}
    result = make.time(lambda eta, alpha: [round(100 / eta / alpha)] * 8, convergence=two)
    by_alpha, by_eta = only(result, number="T7"), only(result, number="T7", variant="eta")
    assert by_alpha.effect is None
    assert by_alpha.why == "fewer than 3 alpha_* have cells in which most trials reached zero loss."
    assert by_eta.effect == pytest.approx(1.0, abs=0.01)
    few = only(make.time(times(0.8, 0.9, trials=3), convergence={"trials": 3}), number="T7")
    assert few.effect == pytest.approx(0.8, abs=0.05)
    assert (few.low, few.high, few.p, few.verdict) == (None, None, None, "undecided")
    assert "the median of 3 trials has no bootstrap interval" in few.why
    assert "convergence.trials=6" in few.todo


def test_cells_along_which_both_axes_vary_as_one_say_nothing_of_either():
    spec = {"values": [0.25, 0.5, 0.75], "step_sizes": [0.25, 0.5, 0.75], "trials": 8}
    diagonal = lambda eta, alpha: [round(100 / eta / alpha) if eta == alpha else None] * 8  # noqa: E731
    assert {v.effect for v in judged(make.time(diagonal, convergence=spec))} == {None}
