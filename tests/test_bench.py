"""The benchmarks compare like with like, and say so in JSON."""

import json

import numpy as np
import pytest
import torch

from tokenprune.bench import BENCHMARKS, plain, pruning, run
from tokenprune.bench.timing import Ratio, interleaved
from tokenprune.cli.bench import Part
from tokenprune.data import load
from tokenprune.errors import UsageError
from tokenprune.evaluation import CurvePlan, prune_curves
from tokenprune.recipe import Schedule, parse_recipe


def test_thirty_evaluations_answer_what_one_pass_answers() -> None:
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    vit, images = pruning.vit_of(2, cpu), pruning._images(24, cpu)
    schedule = Schedule("before", (1,))
    methods = tuple((name, {}) for name in ("magnitude", "oracle"))
    for curve in prune_curves(
        vit, images, CurvePlan(methods, (0.6, 0.2), schedule, batch_size=24, examples=0), run="", seed=0, device=cpu
    ):
        for point, answers in zip(curve.result.points, curve.predictions["predictions"], strict=True):
            if curve.result.method == "magnitude":  # the oracle's ties fall by the seed
                alone = pruning.one_evaluation(vit, images, curve.result.method, point.keep_ratio, schedule)
                assert np.array_equal(alone.numpy(), answers)


def test_the_plain_loop_sees_every_image_once() -> None:
    recipe = parse_recipe("data: {patterns: {train_size: 60, test_size: 2}}\nmodel: {dim: 12}", "bench")
    dataset = load(recipe.data)
    batches = list(plain.batches(dataset, 20))
    labels = torch.cat([labels for _, labels in batches])
    assert torch.equal(labels.sort().values, dataset.train.labels.sort().values)


def test_medians_and_promises() -> None:
    seconds = interleaved({"a": lambda: None, "b": lambda: sum(range(200_000))}, rounds=5)
    assert seconds["a"] < seconds["b"]
    assert Ratio("x", "", 2.0, {}, target=1.5).met
    assert not Ratio("x", "", 2.0, {}, target=1.5, at_most=True).met
    assert Ratio("x", "", 2.0, {}).met is None


def test_json_names_the_machine_and_every_ratio(capsys) -> None:
    run(["sharing"], json=True, quick=True)
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["packages"]["torch"]
    (ratio,) = found["ratios"]
    assert ratio["ratio"] == pytest.approx(ratio["seconds"]["together"] / ratio["seconds"]["separate"])


def test_unknown_benchmark_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'forward'"):
        run(["foward"])
    assert {part.value for part in Part} == set(BENCHMARKS)


def test_what_a_sweep_costs_is_more_than_its_steps(capsys) -> None:
    (ratio,) = run(["sweep"], quick=True)
    assert ratio.ratio > 1
    assert ratio.seconds["steps"] > 0
