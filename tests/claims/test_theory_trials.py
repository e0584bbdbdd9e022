"""Trials of all seeds as arrays, against the nested results that they come from."""

import math

import numpy as np
import pytest
import theory_factories as make

ROUND = (0, 10, 20)


def test_a_curve_is_by_iteration_and_trial_without_those_that_diverged_in_anything():
    first = make.attention([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], ROUND)
    second = make.attention([[0.7, 0.8, 0.9], [0.2, 0.3, 0.4]], ROUND, seed=1)
    second = second.model_copy(update={"key_norm": ((1.0, 1.0, 1.0), (1.0, 1.0, None))})
    study = make.study(first, second)
    assert study.curve("attention").tolist() == [[0.1, 0.4, 0.7], [0.2, 0.5, 0.8], [0.3, 0.6, 0.9]]
    assert (study.trials, study.diverged) == (3, 1)


def test_a_trial_that_was_given_up_takes_for_ever_and_one_that_needs_no_step_takes_one():
    spec = {"values": [0.25, 0.5], "step_sizes": [0.3], "trials": 2}
    results = [
        make.time(lambda _, alpha, shift=seed: [shift, None if alpha == 0.5 else 7], seed=seed, convergence=spec)
        for seed in (0, 1)
    ]
    study = make.study(*results)
    assert study.iterations().tolist() == [[[1, 7, 1, 7], [1, math.inf, 1, math.inf]]]
    assert study.trials == 4


@pytest.mark.parametrize("method", ["none", "random"])
def test_successes_after_removal_are_counted_over_seeds_and_a_lost_model_is_a_failure(method):
    counts = [{"none": [0, 2], "random": [1, 4]}, {"none": [3, 3], "random": [0, 1]}]
    study = make.study(
        *(make.sparsify(each, trials=4, seed=seed, samples=[100, 200]) for seed, each in enumerate(counts))
    )
    wanted = np.add(*(each[method] for each in counts))
    assert study.successes(method).tolist() == wanted.tolist()
    assert study.diverged("complexity", method).tolist() == (8 - wanted).tolist()


def test_studies_of_two_settings_share_nothing():
    alike = [make.phase(counts=[[1] * 10] * 11, seed=seed) for seed in (0, 1)]
    other = make.phase(counts=[[2] * 10] * 11, train={"batch_size": 8})
    assert sorted(study.successes.sum() for study in make.studies(*alike, other)) == [220, 220]
    assert sorted(study.trials for study in make.studies(*alike, other)) == [20, 40]
