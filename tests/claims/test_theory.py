"""Verdicts of the theory laboratory on tables whose truth is known, and on the published one."""

import math
import subprocess
import sys

import numpy as np
import pytest
import theory_factories as make

from tokenprune.claims import THEORY_CLAIMS, judge_theory
from tokenprune.claims.published import ATTENTION, PHASE_VIT
from tokenprune.claims.theory.attention import decays
from tokenprune.claims.theory.judge import outcome
from tokenprune.recipe import load_theory_recipe
from tokenprune.statistics import holm, mean_interval, t_test

SAMPLES = [40, 80, 120, 160, 200, 240, 280, 320, 360, 400]


def power(exponent, middle=150):
    """N50 by alpha_*^-2, `middle` at 9."""
    return lambda value: middle * (value / 9) ** (exponent / 2)


def judged(*results):
    return judge_theory([(f"run-{index}", result) for index, result in enumerate(results)])


def only(*results, number, variant=None):
    found = [v for v in judged(*results) if (v.number, v.variant) == (number, variant)]
    assert len(found) == 1
    return found[0]


def test_the_claims_of_the_shallow_vit_come_first_in_order():
    assert [claim.number for claim in THEORY_CLAIMS][:7] == [f"T{n}" for n in range(1, 8)]
    assert judge_theory([]) == []


@pytest.mark.parametrize(
    ("exponent", "said"), [(1.4, "supported"), (3.0, "refuted"), (2.0, "undecided"), (-1.5, "refuted")]
)
def test_alpha_needs_an_exponent_between_zero_and_two(exponent, said):
    verdict = only(make.phase(power(exponent)), number="T1")
    assert verdict.verdict == said
    assert verdict.low < exponent < verdict.high
    assert verdict.range == (0.0, 2.0)
    assert (verdict.trials, verdict.models, verdict.evidence) == (20, 2200, ("run-0",))
    assert f"{verdict.effect:.3g}" in verdict.why


def test_the_published_diagram_itself_exceeds_the_bound_of_alpha():
    """Judged as ours are. Its exponent is in the details of every verdict beside ours."""
    verdict = only(make.phase(counts=PHASE_VIT.successes), number="T1")
    assert verdict.verdict == "refuted"
    assert verdict.effect == pytest.approx(5.59, abs=0.02)
    assert verdict.details["published"]["exponent"] == verdict.effect
    assert verdict.details["offset"] == verdict.details["published"]["offset"] == pytest.approx(0.2, abs=0.01)
    assert verdict.details["n50"][0] is None
    assert verdict.details["bound"][0] == "< 40"


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (0.1, 2.0, 0.01, "supported"),  # at most 2
        (0.1, 2.1, 0.01, "undecided"),
        (0.0, 1.0, 0.01, "undecided"),  # above 0
        (-1.0, 0.0, 0.01, "refuted"),
        (2.0, 3.0, 0.01, "undecided"),
        (2.01, 3.0, 0.01, "refuted"),
        (0.1, 1.0, 0.05, "undecided"),  # p below 5 %
        (0.1, 1.0, 0.0499, "supported"),
        (0.1, 1.0, None, "undecided"),
        (None, None, 0.01, "undecided"),
    ],
)
def test_the_rule_at_its_borders(low, high, p, said):
    assert outcome(low, high, (0.0, 2.0), p) == said


def test_open_ranges_ask_for_one_side():
    assert outcome(-9.0, -0.1, (None, 0.0), 0.01) == "supported"
    assert outcome(0.1, 9.0, (None, 0.0), 0.01) == "refuted"
    assert outcome(0.1, 9.0, (0.0, None), 0.01) == "supported"
    assert outcome(-9.0, -0.1, (0.0, None), 0.01) == "refuted"


def test_holm_over_the_settings_of_a_claim():
    results = [
        make.phase(power(exponent), train={"step_size": step})
        for exponent, step in ((1.4, 0.3), (1.75, 0.6), (1.8, 1.2))
    ]
    found = [v for v in judged(*results) if v.number == "T1"]
    assert len({v.setting for v in found}) == 3
    assert [v.p_adjusted for v in found] == pytest.approx(holm([v.p for v in found]))
    assert any(v.p_adjusted > v.p for v in found)
    alone = [only(result, number="T1") for result in results]
    assert sorted(v.p for v in alone) == sorted(v.p for v in found)


def test_seeds_of_a_setting_are_pooled():
    first, second = make.phase(power(1.5), seed=0), make.phase(power(1.5), seed=1)
    pooled, one = only(first, second, number="T1"), only(first, number="T1")
    assert (pooled.trials, pooled.models, pooled.evidence) == (40, 4400, ("run-0", "run-1"))
    assert np.array_equal(pooled.details["successes"], np.add(first.successes(), second.successes()))
    assert pooled.high - pooled.low < 0.85 * (one.high - one.low)


def test_the_title_names_what_is_not_the_default():
    result = make.phase(power(1.5), data={"count": 40, "noise": 0.5}, train={"batch_size": 8}, grid={"success": 0.01})
    assert only(result, number="T1").title == "L = 40, m = 100, batch 8, step 1.2, tau = 0.5, grid.success 0.01"


def test_undecided_says_how_many_more_trials_and_the_commands_make_this_setting():
    result = make.phase(power(1.85), train={"step_size": 0.6})
    verdict = only(result, number="T1")
    assert verdict.verdict == "undecided"
    assert "more trials at this spread" in verdict.change
    command = verdict.change.splitlines()[1].split()
    assert command[:3] == ["tokenprune", "theory", "phase"]
    assert command[-2:] == ["--seed", "1"]
    source, overrides = (
        command[command.index("--recipe") + 1],
        [command[i + 1] for i, w in enumerate(command) if w == "--set"],
    )
    assert load_theory_recipe(source, "phase", overrides).recipe.setting() == result.setting


def test_nothing_succeeded_is_undecided_and_asks_for_larger_n():
    verdict = only(make.phase(counts=[[0] * 10] * 11), number="T1")
    assert (verdict.verdict, verdict.effect, verdict.p) == ("undecided", None, None)
    assert verdict.why == "No trial of any cell succeeded."
    assert verdict.change.startswith("No trial succeeded at alpha_*^-2 = 4, at alpha_*^-2 = 5, ")
    assert "and at 8 more: add larger N" in verdict.change
    assert "grid.samples=[40,80,120,160,200,240,280,320,360,400,800,1600]" in verdict.change


def test_everything_succeeded_asks_for_smaller_n_down_to_the_batch():
    verdict = only(make.phase(counts=[[20] * 10] * 11, train={"batch_size": 16}), number="T1")
    assert verdict.effect is None
    assert "grid.samples=[20,40," in verdict.change


def test_two_trials_decide_nothing():
    counts = [[0, 1, 1, 2, 2, 2, 2, 2, 2, 2]] * 5 + [[0, 0, 0, 1, 1, 1, 2, 2, 2, 2]] * 6
    verdict = only(make.phase(counts=counts, grid={"trials": 2}), number="T1")
    assert (verdict.verdict, verdict.p, verdict.trials) == ("undecided", None, 2)
    assert "needs 3 trials" in verdict.why
    assert "--seed 1" in verdict.change


@pytest.mark.parametrize(("axis", "number"), [("noise", "T2"), ("start", "T3")])
def test_noise_and_start_need_a_falling_line(axis, number):
    grid = {
        "axis": axis,
        "values": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        "samples": [50, 70, 100, 140, 200, 280, 400, 560],
    }
    falling = only(make.phase(lambda tau: (0.12 - 0.1 * tau) ** -2, grid=grid), number=number)
    assert falling.verdict == "supported"
    assert falling.low < -0.1 < falling.high
    assert falling.details["zero"] == pytest.approx(1.2, rel=0.15)
    rising = only(make.phase(lambda tau: (0.06 + 0.1 * tau) ** -2, grid=grid), number=number)
    assert (rising.verdict, rising.details["zero"]) == ("refuted", None)
    flat = only(make.phase(lambda tau: 150, grid=grid), number=number)
    assert flat.verdict == "undecided"
    assert {v.number for v in judged(make.phase(lambda tau: 150, grid=grid))} == {number}


def cnn(exponent, **sections):
    sections["model"] = {"kind": "cnn", **sections.get("model", {})}
    sections["grid"] = {"samples": [20, 40, 80, 160, 320, 640, 1280], **sections.get("grid", {})}
    return make.phase(power(exponent), name="cnn", **sections)


def test_the_cnn_is_compared_with_the_vit_on_the_same_data_and_training():
    results = [
        make.phase(power(1.5)),
        make.phase(power(1.5), data={"count": 40}),
        cnn(3.5),
        cnn(1.5, data={"count": 40}),
    ]
    found = {v.title.partition(",")[0]: v for v in judged(*results) if v.number == "T6"}
    assert [found["L = 20"].verdict, found["L = 40"].verdict] == ["supported", "undecided"]
    assert found["L = 20"].low < 2.0 < found["L = 20"].high
    assert set(found["L = 20"].evidence) == {"run-0", "run-2"}
    assert found["L = 20"].models == 2200 + 11 * 7 * 20
    details = found["L = 20"].details
    assert found["L = 20"].effect == pytest.approx(details["cnn"]["exponent"] - details["vit"]["exponent"])


def test_networks_with_other_trials_or_axis_values_are_no_pair():
    for other in ({"trials": 30}, {"values": [4, 6, 8]}, {"success": 0.01}):
        verdict = only(make.phase(power(1.5)), cnn(3.5, grid=other), number="T6")
        assert (verdict.verdict, verdict.effect) == ("undecided", None)
        assert "no ViT" in verdict.why.replace("No", "no")
        assert "model.kind" not in verdict.change  # vit is the default


def test_a_cnn_meets_the_vit_of_its_own_size_if_there_is_one():
    small = make.phase(power(1.5), model={"neurons": 50})
    alone = only(small, cnn(3.5), number="T6")
    assert "m = 100" in alone.title.partition(";")[2]
    assert set(only(small, make.phase(power(1.5)), cnn(3.5), number="T6").evidence) == {"run-1", "run-2"}


def test_attention_grows_by_trial_with_student_t():
    curves = [[0.5, 0.7, 0.8, 0.9 + wobble] for wobble in (-0.01, 0.0, 0.02)]
    verdict = only(make.attention([*curves, [0.5, None, None, None]], (0, 10, 20, 30)), number="T4")
    changes = [0.39, 0.40, 0.42]
    assert (verdict.effect, verdict.low, verdict.high) == pytest.approx(mean_interval(changes))
    assert verdict.p == pytest.approx(t_test(changes))
    assert (verdict.verdict, verdict.trials, verdict.details["diverged"]) == ("supported", 3, 1)
    assert verdict.details["norm_growth"]["query_norm"] == 4
    assert verdict.details["norm_growth"]["query_norm_other"] == 1
    falling = only(make.attention([[0.5, 0.4, 0.3, 0.2 + w] for w in (0, 0.01, 0.02)], (0, 10, 20, 30)), number="T4")
    assert falling.verdict == "refuted"


@pytest.mark.parametrize(("p", "said"), [(0.4, "refuted"), (2.0, "supported")])
def test_the_rate_of_a_power_is_found_with_its_limit(p, said):
    t, rng = np.arange(0, 401, 10), np.random.default_rng(0)
    curves = [(0.9 - 0.4 * (1 + t / 20) ** -p + rng.normal(0, 3e-4, len(t))).tolist() for _ in range(10)]
    verdict = only(make.attention(curves, t.tolist(), train={"step_size": 0.5}), number="T4", variant="rate")
    assert verdict.verdict == said
    assert verdict.effect == pytest.approx(p, rel=0.1)
    assert verdict.low < verdict.effect < verdict.high
    assert verdict.details["limit_of_this_fit"] == pytest.approx(0.9, abs=0.02)
    # 1 - eta^C = limit
    assert 1 - 0.5 ** verdict.details["C"] == pytest.approx(verdict.details["limit"])


def test_an_exponential_approach_is_no_power_that_can_be_told():
    t, rng = np.arange(0, 101, 10), np.random.default_rng(0)
    curves = [(0.9 - 0.4 * np.exp(-t / 15) + rng.normal(0, 3e-4, len(t))).tolist() for _ in range(10)]
    verdict = only(make.attention(curves, t.tolist()), number="T4", variant="rate")
    assert (verdict.verdict, verdict.effect, verdict.p) == ("undecided", None, None)
    assert "not identified" in verdict.why
    assert "curve.iterations=1600" in verdict.change
    assert verdict.details["limit_of_this_fit"] == pytest.approx(0.9, abs=0.005)
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
    verdict = only(make.attention(curves, t.tolist(), train={"step_size": 0.6}), number="T4", variant="rate")
    assert (verdict.verdict, verdict.effect) == ("undecided", None)
    assert "not identified" in verdict.why
    assert verdict.details["residual_share"] > 0.01
    assert verdict.details["limit"] == pytest.approx(0.56 + 0.21 + 0.012, abs=1e-4)
    low, high = verdict.details["limit_interval"]
    assert low <= verdict.details["limit"] <= high


def test_the_published_attention_approaches_its_limit_faster_than_the_theorem_asks():
    ((power, limit, _),) = decays([int(t) for t in ATTENTION.x], [ATTENTION.y])
    assert power > 1
    assert limit == pytest.approx(0.908, abs=0.02)


def test_no_constant_follows_from_a_step_size_of_one_or_more_and_the_reason_is_said():
    curves = [(0.9 - 0.4 * (1 + np.arange(40)) ** -1.0).tolist()] * 3
    verdict = only(make.attention(curves, range(40), train={"step_size": 1.2}), number="T4", variant="rate")
    assert verdict.details["limit"] == pytest.approx(0.9, abs=2e-3)
    assert verdict.details["C"] is None
    assert "1.2" in verdict.details["C_lacking"]


def test_a_trial_whose_loss_is_not_finite_is_no_measured_attention():
    curves = [[0.5, 0.7, 0.8, 0.9 + wobble] for wobble in (-0.01, 0.0, 0.02, 0.5)]
    whole = make.attention(curves, (0, 10, 20, 30))
    loss = [*whole.loss[:3], (1.0, 1.0, 1.0, None)]
    verdict = only(whole.model_copy(update={"loss": tuple(loss)}), number="T4")
    assert (verdict.effect, verdict.low, verdict.high) == pytest.approx(mean_interval([0.39, 0.40, 0.42]))
    assert (verdict.trials, verdict.details["diverged"]) == (3, 1)
    assert verdict.beside == "1 diverged, left out"


REMOVAL = (100, 140, 200, 280, 400, 560, 800, 1120, 1600, 2240, 3200)


def test_sparsification_is_the_log_ratio_of_n50_against_before_and_against_random():
    before = [0, 0, 0, 1, 4, 10, 16, 19, 20, 20, 20]
    earlier = [*before[2:], 20, 20]  # two grid steps, a factor of two
    result = make.sparsify(
        {"none": before, "irrelevant": earlier, "noisy": before, "random": earlier, "magnitude": before}
    )
    found = {v.variant: v for v in judged(result) if v.number == "T5"}
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
    assert "removal.samples=[25,50,100," in verdict.change


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
    verdict = only(make.time(lost), number="T7")
    assert verdict.details["left_out"] == 1
    assert verdict.details["median"][0][0] is None
    assert verdict.effect == pytest.approx(0.8, abs=0.05)
    never = only(make.time(lambda eta, alpha: [None] * 20), number="T7")
    assert (never.verdict, never.effect) == ("undecided", None)
    assert "convergence.iterations=6400" in never.change


def test_an_exponent_on_the_bound_is_undecided_and_agrees_with_it():
    """Medians of exactly 100 / alpha_* / eta: every draw gives 1, but for rounding, which once decided it."""
    values, sizes = [0.25, 0.5, 1.0], [0.25, 0.5, 1.0]
    spec = {"values": values, "step_sizes": sizes, "trials": 8}
    result = make.time(lambda eta, alpha: [round(100 / eta / alpha)] * 8, convergence=spec, data={"confusion": 0.0})
    for variant in (None, "eta"):
        verdict = only(result, number="T7", variant=variant)
        assert verdict.effect == pytest.approx(1.0)
        assert (verdict.verdict, verdict.p) == ("undecided", 1.0)
        assert "too close to the bound" in verdict.change
        assert "more trials" not in verdict.change
    wide = only(make.time(times(1.0, 1.0, spread=0.3)), number="T7")
    assert wide.low < 1 < wide.high
    assert "agrees with the bound 1" in wide.why


def test_time_needs_three_places_and_six_trials():
    two = {"values": [0.25, 0.5], "step_sizes": [0.3, 0.6, 1.2], "trials": 8}
    result = make.time(lambda eta, alpha: [round(100 / eta / alpha)] * 8, convergence=two)
    by_alpha, by_eta = only(result, number="T7"), only(result, number="T7", variant="eta")
    assert by_alpha.effect is None
    assert by_alpha.why == "Fewer than 3 alpha_* have cells in which most trials reached zero loss."
    assert by_eta.effect == pytest.approx(1.0, abs=0.01)
    few = only(make.time(times(0.8, 0.9, trials=3), convergence={"trials": 3}), number="T7")
    assert few.effect == pytest.approx(0.8, abs=0.05)
    assert (few.low, few.high, few.p, few.verdict) == (None, None, None, "undecided")
    assert "the median of 3 trials has no bootstrap interval" in few.why
    assert "convergence.trials=6" in few.change


def test_cells_along_which_both_axes_vary_as_one_say_nothing_of_either():
    spec = {"values": [0.25, 0.5, 0.75], "step_sizes": [0.25, 0.5, 0.75], "trials": 8}
    diagonal = lambda eta, alpha: [round(100 / eta / alpha) if eta == alpha else None] * 8  # noqa: E731
    assert {v.effect for v in judged(make.time(diagonal, convergence=spec))} == {None}


def test_models_that_diverged_ask_for_smaller_steps_and_not_for_more():
    never = make.time(lambda eta, alpha: [None] * 20)
    lost = only(never.model_copy(update={"diverged": 480}), number="T7")
    assert "480 models diverged" in lost.change
    assert "convergence.step_sizes=[0.15,0.3,0.6]" in lost.change
    assert "convergence.iterations" not in lost.change
    assert (lost.details["given_up"], lost.details["diverged"]) == (480, 480)
    both = only(never.model_copy(update={"diverged": 20}), number="T7")
    assert "convergence.step_sizes" in both.change
    assert "convergence.iterations=6400" in both.change

    nothing = (((None,) * 20,) * 10,) * 11
    phase = make.phase(counts=[[0] * 10] * 11).model_copy(update={"loss": nothing, "error": nothing})
    verdict = only(phase, number="T1")
    assert "2200 of 2200 models diverged: a smaller step size, not larger N" in verdict.change
    assert "train.step_size=0.6" in verdict.change
    assert "grid.samples" not in verdict.change

    before = [0, 0, 0, 1, 4, 10, 16, 19, 20, 20, 20]  # what fails here has no loss at all
    removed = only(make.sparsify({"none": before, "irrelevant": [0] * 11}), number="T5", variant="irrelevant")
    assert "220 of 220 models diverged" in removed.change
    assert removed.details["diverged"] == {"before": 110, "irrelevant": 220}
    assert removed.beside == "330 models diverged, counted as failures"


def test_an_interval_that_is_clear_alone_but_not_after_holm_is_said_to_be():
    results = [make.phase(power(1.74), train={"step_size": step}) for step in (0.3, 0.6, 1.2)]
    for verdict in (v for v in judged(*results) if v.number == "T1"):
        assert (verdict.verdict, verdict.high <= 2) == ("undecided", True)
        assert verdict.p < 0.05 <= verdict.p_adjusted
        assert "the interval alone is wholly within (0, 2]; not after Holm over 3 findings" in verdict.why
        assert "too uncertain" not in verdict.why


def test_n50_is_told_in_training_time_too():
    """In one pass N / batch steps of size eta are made: the same speed of SGD, whatever the batch."""
    for batch, step, epochs, factor in ((4, 1.2, 1, 0.3), (8, 1.2, 1, 0.15), (4, 0.6, 1, 0.15), (4, 1.2, 3, 0.9)):
        train = {"batch_size": batch, "step_size": step, "epochs": epochs}
        result = make.phase(power(1.5), train=train)
        details = only(result, number="T1").details
        assert details["n50_in_training_time"] == pytest.approx([n * factor for n in details["n50"]])


def test_the_exponent_stands_beside_that_with_a_lapse_and_those_of_smaller_grids():
    rng = np.random.default_rng(3)
    samples = [40, 80, 160, 320, 640, 1280, 2560]
    rates = [[0.85 / (1 + (power(1.5)(value) / n) ** 4) for n in samples] for value in range(4, 15)]
    result = make.phase(counts=rng.binomial(20, rates).tolist(), grid={"samples": samples})
    verdict = only(result, number="T1")
    lapsing = verdict.details["with_lapse"]
    assert lapsing["low"] < 1.5 < lapsing["high"]
    assert lapsing["lapse"] == pytest.approx(0.15, abs=0.03)
    assert lapsing["deviance"] < verdict.details["deviance"] - 50
    assert verdict.beside == f"{lapsing['exponent']:.3g} with a lapse of {lapsing['lapse']:.1%}"
    assert list(verdict.details["exponent_up_to"]) == ["2560", "1280", "640", "320"]
    assert verdict.details["exponent_up_to"]["2560"] == pytest.approx(verdict.effect)
    assert verdict.details["exponent_up_to"]["320"] != pytest.approx(verdict.effect)


def test_the_forms_that_are_not_tested_stand_beside_with_their_lack_of_fit():
    grid = {"axis": "noise", "values": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "samples": [50, 70, 100, 140, 200, 280, 400]}
    fits = only(make.phase(lambda tau: (0.12 - 0.1 * tau) ** -2, grid=grid), number="T2")
    kinked = only(make.phase(lambda tau: 80 if tau < 0.45 else 240, grid=grid), number="T2")
    assert fits.details["lack_of_fit"]["p"] > 0.01 > kinked.details["lack_of_fit"]["p"]
    assert kinked.verdict == "supported"
    assert "form (Theta(1) - tau)^-2: lack of fit p" in kinked.beside
    for claim in THEORY_CLAIMS:
        assert claim.number not in ("T2", "T3", "T6") or "^-" not in claim.statement


def test_both_exponents_stand_beside_their_difference():
    verdict = only(make.phase(power(1.5)), cnn(3.5), number="T6")
    vit, other = verdict.details["vit"], verdict.details["cnn"]
    assert f"ViT {vit['exponent']:.3g} ({vit['low']:.3g} to {vit['high']:.3g})" in verdict.beside
    assert f"CNN {other['exponent']:.3g}" in verdict.why


def test_judging_imports_no_torch():
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import theory_factories as make\n"
        "from tokenprune.claims import judge_theory\n"
        "result = make.phase(lambda value: 20 * value)\n"
        "assert judge_theory([('run', result)])\n"
        "assert not {'torch', 'timm'} & set(sys.modules), 'torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
