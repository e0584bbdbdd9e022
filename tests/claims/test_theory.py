"""Verdicts of the theory laboratory on tables whose truth is known, and on the published one."""

import math
import subprocess
import sys

import numpy as np
import pytest
import theory_factories as make
from theory_factories import judged, only

from tokenprune.claims import judge
from tokenprune.claims.judge import outcome
from tokenprune.claims.published import PHASE_VIT
from tokenprune.claims.theory.convergence import analyse
from tokenprune.claims.theory.removal import ratios
from tokenprune.claims.theory.scaling import fit, fit_table, published_fit
from tokenprune.experiments import CLAIMS
from tokenprune.statistics import holm
from tokenprune.theory.load import load_theory_recipe

SAMPLES = [40, 80, 120, 160, 200, 240, 280, 320, 360, 400]


def power(exponent, middle=150):
    """N50 by alpha_*^-2, `middle` at 9."""
    return lambda value: middle * (value / 9) ** (exponent / 2)


def test_the_claims_of_the_shallow_vit_come_first_in_order():
    assert [claim.experiment for claim in CLAIMS if claim.laboratory][:7] == [f"T{n}" for n in range(1, 8)]
    assert judge([], CLAIMS) == []


@pytest.mark.parametrize(
    ("exponent", "said"), [(1.4, "supported"), (3.0, "supported"), (0.0, "undecided"), (-1.5, "refuted")]
)
def test_alpha_needs_an_exponent_above_zero(exponent, said):
    verdict = only(make.phase(power(exponent)), number="T1")
    assert verdict.verdict == said
    assert verdict.effect == pytest.approx(exponent, abs=0.4)
    assert verdict.support == (0.0, None)
    assert (verdict.n, verdict.models, verdict.evidence) == (20, 2200, ("run-0",))
    assert f"{verdict.effect:.3g}".replace("-", "−") in verdict.why


def test_alpha_is_of_whole_tokens():
    """N50 by the fewest label-relevant tokens that a sample has: a power of the nominal alpha_* looks less steep."""
    study = make.study(make.phase(lambda value: 150 * (20 / math.floor(20 * value**-0.5) / 3) ** 1.5))
    found, first = fit(study), study.first
    assert found.law.low < 1.5 < found.law.high
    nominal = fit_table("alpha", first.values, first.samples, study.successes, 20)
    assert nominal.law.deviance > found.law.deviance


def test_the_published_diagram_supports_the_direction_with_an_exponent_above_two():
    """Judged as ours are."""
    result = make.phase(counts=PHASE_VIT.successes)
    verdict, found = only(result, number="T1"), fit(make.study(result))
    assert verdict.verdict == "supported"
    assert published_fit().law.estimate == pytest.approx(5.59, abs=0.02)
    assert 4 < verdict.effect < 5.59  # with whole tokens of L = 20
    assert found.columns.n50[0] is None
    assert found.columns.bound[0] == "< 40"


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
        for exponent, step in ((0.1, 0.3), (0.15, 0.6), (0.2, 1.2))
    ]
    found = [v for v in judged(*results) if v.experiment == "T1"]
    assert len({v.setting for v in found}) == 3
    assert [v.p_adjusted for v in found] == pytest.approx(holm([v.p for v in found]))
    assert any(v.p_adjusted > v.p for v in found)
    alone = [only(result, number="T1") for result in results]
    assert sorted(v.p for v in alone) == sorted(v.p for v in found)


def test_seeds_of_a_setting_are_pooled():
    first, second = make.phase(power(1.5), seed=0), make.phase(power(1.5), seed=1)
    pooled = only(first, second, number="T1")
    assert (pooled.n, pooled.models, pooled.evidence) == (40, 4400, ("run-0", "run-1"))
    study = make.study(first, second)
    assert np.array_equal(study.loss, np.concatenate([first.loss, second.loss], axis=2))
    assert np.array_equal(study.successes, make.study(first).successes + make.study(second).successes)
    assert fit(study).columns.n50 != fit(make.study(first)).columns.n50


def test_the_title_names_what_is_not_the_default():
    result = make.phase(power(1.5), data={"count": 40, "noise": 0.5}, train={"batch_size": 8}, grid={"success": 0.01})
    assert only(result, number="T1").title == "L = 40, m = 100, batch 8, step 1.2, tau = 0.5, grid.success 0.01"


def test_undecided_says_how_many_more_trials_and_the_commands_make_this_setting():
    result = make.phase(power(0.15), train={"step_size": 0.6})
    verdict = only(result, number="T1")
    assert verdict.verdict == "undecided"
    assert "more trials at this spread" in verdict.todo
    command = verdict.todo.splitlines()[1].split()
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
    assert verdict.why == "no trial of any cell succeeded."
    assert verdict.todo.startswith("11 of 11 N50 lie above the N tried: add larger N:")
    assert "grid.samples=[40,80,120,160,200,240,280,320,360,400,800,1600]" in verdict.todo


def test_everything_succeeded_asks_for_smaller_n_down_to_the_batch():
    verdict = only(make.phase(counts=[[20] * 10] * 11, train={"batch_size": 16}), number="T1")
    assert verdict.effect is None
    assert "grid.samples=[20,40," in verdict.todo


def test_two_trials_decide_nothing():
    counts = [[0, 1, 1, 2, 2, 2, 2, 2, 2, 2]] * 5 + [[0, 0, 0, 1, 1, 1, 2, 2, 2, 2]] * 6
    verdict = only(make.phase(counts=counts, grid={"trials": 2}), number="T1")
    assert (verdict.verdict, verdict.p, verdict.n) == ("undecided", None, 2)
    assert "needs 3 trials" in verdict.why
    assert "--seed 1" in verdict.todo


@pytest.mark.parametrize(("axis", "number"), [("noise", "T2"), ("start", "T3")])
def test_noise_and_start_need_a_falling_line(axis, number):
    grid = {
        "axis": axis,
        "values": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        "samples": [50, 70, 100, 140, 200, 280, 400, 560],
    }
    result = make.phase(lambda tau: (0.12 - 0.1 * tau) ** -2, grid=grid)
    falling = only(result, number=number)
    assert falling.verdict == "supported"
    assert falling.low < -0.1 < falling.high
    result = make.phase(lambda tau: (0.06 + 0.1 * tau) ** -2, grid=grid)
    assert only(result, number=number).verdict == "refuted"
    flat = only(make.phase(lambda tau: 150, grid=grid), number=number)
    assert flat.verdict == "undecided"
    assert {v.experiment for v in judged(make.phase(lambda tau: 150, grid=grid))} == {number}


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
    found = {v.title.partition(",")[0]: v for v in judged(*results) if v.experiment == "T6"}
    assert [found["L = 20"].verdict, found["L = 40"].verdict] == ["supported", "undecided"]
    assert set(found["L = 20"].evidence) == {"run-0", "run-2"}
    assert found["L = 20"].models == 2200 + 11 * 7 * 20
    vit, other = (fit(make.study(results[index])).law.estimate for index in (0, 2))
    assert found["L = 20"].effect == pytest.approx(other - vit)


def test_networks_with_other_trials_or_axis_values_are_no_pair():
    for other in ({"trials": 30}, {"values": [4, 6, 8]}, {"success": 0.01}):
        verdict = only(make.phase(power(1.5)), cnn(3.5, grid=other), number="T6")
        assert (verdict.verdict, verdict.effect) == ("undecided", None)
        assert "no ViT" in verdict.why.replace("No", "no")
        assert "model.kind" not in verdict.todo  # vit is the default


def test_a_cnn_meets_the_vit_of_its_own_size_if_there_is_one():
    small = make.phase(power(1.5), model={"neurons": 50})
    alone = only(small, cnn(3.5), number="T6")
    assert "m = 100" in alone.title.partition(";")[2]
    assert set(only(small, make.phase(power(1.5)), cnn(3.5), number="T6").evidence) == {"run-1", "run-2"}


REMOVAL = (100, 140, 200, 280, 400, 560, 800, 1120, 1600, 2240, 3200)


def test_models_that_diverged_ask_for_smaller_steps_and_not_for_more():
    never = make.time(lambda eta, alpha: [None] * 20)
    lost = only(never.model_copy(update={"diverged": 480}), number="T7")
    assert "480 models diverged" in lost.todo
    assert "convergence.step_sizes=[0.15,0.3,0.6]" in lost.todo
    assert "convergence.iterations" not in lost.todo
    assert analyse(make.study(never)).given_up.sum() == 480
    both = only(never.model_copy(update={"diverged": 20}), number="T7")
    assert "convergence.step_sizes" in both.todo
    assert "convergence.iterations=6400" in both.todo

    nothing = (((None,) * 20,) * 10,) * 11
    phase = make.phase(counts=[[0] * 10] * 11).model_copy(update={"loss": nothing, "error": nothing})
    verdict = only(phase, number="T1")
    assert "2200 of 2200 models diverged: a smaller step size, not larger N" in verdict.todo
    assert "train.step_size=0.6" in verdict.todo
    assert "grid.samples" not in verdict.todo

    before = [0, 0, 0, 1, 4, 10, 16, 19, 20, 20, 20]  # what fails here has no loss at all
    result = make.sparsify({"none": before, "irrelevant": [0] * 11})
    removed = only(result, number="T5", variant="irrelevant")
    assert "220 of 220 models diverged" in removed.todo
    assert [ratio.diverged for ratio in ratios(make.study(result))] == [(110, 220)]
    assert removed.beside == "330 models diverged, counted as failures"


def test_an_interval_that_is_clear_alone_but_not_after_holm_is_said_to_be():
    results = [make.phase(power(0.385), train={"step_size": step}) for step in (0.3, 0.6, 1.2)]
    for verdict in (v for v in judged(*results) if v.experiment == "T1"):
        assert (verdict.verdict, verdict.low > 0) == ("undecided", True)
        assert verdict.p < 0.05 <= verdict.p_adjusted
        assert "the interval is wholly above 0, but Holm's correction leaves that undecided" in verdict.why
        assert "too uncertain" not in verdict.why


def test_samples_are_counted_in_training_time_too():
    """In one pass N / batch steps of size eta are made: the same speed of SGD, whatever the batch."""
    for batch, step, epochs, factor in ((4, 1.2, 1, 0.3), (8, 1.2, 1, 0.15), (4, 0.6, 1, 0.15), (4, 1.2, 3, 0.9)):
        train = {"batch_size": batch, "step_size": step, "epochs": epochs}
        assert make.study(make.phase(power(1.5), train=train)).time_per_sample == pytest.approx(factor)


def test_the_exponent_stands_beside_that_with_a_lapse_and_those_of_smaller_grids():
    rng = np.random.default_rng(3)
    samples = [40, 80, 160, 320, 640, 1280, 2560]
    rates = [[0.85 / (1 + (power(1.5)(value) / n) ** 4) for n in samples] for value in range(4, 15)]
    result = make.phase(counts=rng.binomial(20, rates).tolist(), grid={"samples": samples})
    verdict, found = only(result, number="T1"), fit(make.study(result))
    lapse = found.lapse
    assert lapse.low < 1.5 < lapse.high
    assert lapse.lapse == pytest.approx(0.15, abs=0.03)
    assert lapse.deviance < found.law.deviance - 50
    assert verdict.beside == f"{lapse.exponent:.3g} allowing for {lapse.lapse:.1%} that fail at any N"
    assert list(found.up_to) == [2560, 1280, 640, 320]
    assert found.up_to[2560] == pytest.approx(verdict.effect)
    assert found.up_to[320] != pytest.approx(verdict.effect)


def test_the_forms_that_are_not_tested_stand_beside_with_their_lack_of_fit():
    grid = {"axis": "noise", "values": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "samples": [50, 70, 100, 140, 200, 280, 400]}
    straight = make.phase(lambda tau: (0.12 - 0.1 * tau) ** -2, grid=grid)
    result = make.phase(lambda tau: 80 if tau < 0.45 else 240, grid=grid)
    fits, kinks = (fit(make.study(each)).lack_of_fit.p for each in (straight, result))
    assert fits > 0.01 > kinks
    kinked = only(result, number="T2")
    assert kinked.verdict == "supported"
    assert "form (Theta(1) - tau)^-2: lack of fit p" in kinked.beside
    for claim in CLAIMS:
        assert claim.experiment not in ("T2", "T3", "T6") or "^-" not in claim.statement


def test_both_exponents_stand_beside_their_difference():
    results = make.phase(power(1.5)), cnn(3.5)
    verdict = only(*results, number="T6")
    vit, other = (fit(make.study(result)).law for result in results)
    assert f"ViT {vit.estimate:.3g} ({vit.low:.3g} to {vit.high:.3g})" in verdict.beside
    assert f"CNN {other.estimate:.3g}" in verdict.why


def test_judging_imports_no_torch():
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import theory_factories as make\n"
        "from tokenprune.claims import judge, laboratory_studies\n"
        "from tokenprune.experiments import CLAIMS\n"
        "result = make.phase(lambda value: 20 * value)\n"
        "assert judge(laboratory_studies([('run', result)]), CLAIMS)\n"
        "assert not {'torch', 'timm'} & set(sys.modules), 'torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
