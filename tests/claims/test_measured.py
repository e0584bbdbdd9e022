"""Measurements of runs, as claims read them: what is selected, and what is named and left out."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import make_latency, make_run, rewrite
from measurement_factories import (
    UNPRUNED,
    association,
    fourier,
    hessian,
    lesion,
    network,
    noise,
    pruned,
    variance,
)

from tokenprune.claims import Verdict, judge, read_runs, studies
from tokenprune.claims.measured import Missing, of, results
from tokenprune.experiments import CLAIMS
from tokenprune.pack import pack
from tokenprune.runs import RunFolder

HALF = pruned("magnitude", 0.5)
#: Convolutional networks of three blocks: without attention, and with two.
CNN, ALTERNET = network([1, 2]), network([1, 2], 2)
ONE = ("embedding", "attention", "MLP")


def test_arrays_are_selected_by_measurement_options_and_labels(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    variance(run, {UNPRUNED: (1, 2, 3), HALF: (4, 5, 6)}, ONE, options={"methods": "magnitude", "images": 50})
    variance(run, {UNPRUNED: (7, 8, 9)}, ONE, name="variance-1")
    make_latency(run, {}, unpruned=[5, 11])
    (found,) = read_runs(tmp_path)[0]
    assert [each.measurement for each in found.measured] == ["latency", "variance", "variance"]
    assert len(found.latencies) == 1
    whole = of(found, "variance", "variance", method="none")
    assert (whole.values.tolist(), whole.axes) == ([1, 2, 3], ("half-block",))
    assert of(found, "variance", "variance", under="{}", method="none").values.tolist() == [7, 8, 9]
    pruned = of(found, "variance", "variance", under='{"images": 50}', method="magnitude", keep=0.5)
    assert pruned.at("half-block", block=0.5).values.tolist() == 5
    assert pruned.named("half-block", "after") == ("embedding", "attention", "MLP")
    assert of(found, "latency", "median", method="none").at("batch", batch=8).values == pytest.approx(11)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run: of(run, "fourier", "log amplitude"), "fourier was not measured of "),
        (lambda run: of(run, "variance", "variance", under='{"images": 3}'), "variance was not measured of "),
        (lambda run: of(run, "variance", "residual", method="none"), "no array 'residual'"),
        (lambda run: of(run, "variance", "variance", method="tome"), "none of it at point method tome"),
        (lambda run: of(run, "variance", "variance", keep=0.5), "several of it at point keep 0.5"),
        (lambda run: of(run, "variance", "variance", depth=3), "does not say 'depth'"),
        (lambda run: of(run, "variance", "variance", method="none").at("batch", batch=1), "no axis 'batch'"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, ask: Callable[[Any], Any], said: str) -> None:
    run = make_run(tmp_path)
    variance(run, {UNPRUNED: (1, 2, 3), HALF: (4, 5, 6), ("random", *HALF[1:]): (4, 5, 6)}, ONE)
    (found,) = read_runs(tmp_path)[0]
    with pytest.raises(Missing, match=said):
        ask(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.update(run="another"), "not measured on this run's weights"),
        (lambda tree: tree.update(weights_sha256="0" * 64), "not measured on this run's weights"),
        (lambda tree: tree.update(measurement="rank"), "damaged: it is of rank"),
        (lambda tree: tree["arrays"]["variance"].update(axes=["point"]), "as many levels as axes"),
        (lambda tree: tree["arrays"]["variance"]["values"][0].pop(), "inhomogeneous"),
        (lambda tree: tree["arrays"]["variance"]["labels"]["point"].update(keep=[1]), "a label for each place"),
    ],
)
def test_a_damaged_result_is_named_and_the_others_are_used(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    run = make_run(tmp_path)
    path = variance(run, {UNPRUNED: (1, 2, 3), HALF: (4, 5, 6)}, ONE)
    other = variance(run, {UNPRUNED: (7, 8, 9)}, ONE, name="variance-1")
    rewrite(path, change)
    (run.measurements / "rank-0").mkdir()
    (found,), problems = read_runs(tmp_path)
    half, damaged = problems
    assert half == f"{run.measurements / 'rank-0'}: half written (no result.json): not used"
    assert damaged.startswith(f"{path}: ")
    assert said in damaged
    assert damaged.endswith("this measurement is not used")
    assert of(found, "variance", "variance", method="none").values.tolist() == [7, 8, 9]
    other.write_text(other.read_text().replace('"unit": "1"', '"unit": "2"'))  # its seal does not fit
    (found,), (_, _, changed) = read_runs(tmp_path)
    assert "its seal is broken" in changed
    assert found.measured == ()


def test_measurements_travel_in_packed_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    variance(run, {UNPRUNED: (1, 2, 3)}, ONE, options={"images": 7})
    pack(tmp_path / "runs", tmp_path / "runs.jsonl.gz")
    ((packed,), problems), ((plain,), _) = read_runs(tmp_path / "runs.jsonl.gz"), read_runs(tmp_path / "runs")
    assert problems == []
    assert packed.measured == plain.measured
    assert [each.options for each in results(packed, "variance")] == [{"images": 7}]


def seeds(runs_dir: Path, *changes: str, **facts: Any) -> list[RunFolder]:
    """Three runs of a setting."""
    return [make_run(runs_dir, seed=seed, overrides=changes, **facts) for seed in range(3)]


def judged(runs_dir: Path, claim: str) -> list[Verdict]:
    runs, problems = read_runs(runs_dir)
    assert problems == []
    verdicts = judge(studies(runs), CLAIMS)
    return [verdict for verdict in verdicts if verdict.claim == claim]


def test_neighbours_with_like_codes_are_above_chance(tmp_path: Path) -> None:
    for seed, run in enumerate(seeds(tmp_path)):
        association(run, 0.5 + 0.01 * seed, chance=0.1)
    for seed, run in enumerate(seeds(tmp_path, "data.shuffle=8")):
        association(run, 0.1 + 0.01 * (seed - 1), chance=0.1)
    alike, moved = sorted(judged(tmp_path, "neighbours-have-like-codes"), key=lambda each: -(each.effect or 0))
    assert alike.values == pytest.approx({0: 0.4, 1: 0.41, 2: 0.42})
    assert (alike.verdict, moved.verdict) == ("supported", "undecided")
    assert "the interval is over seeds alone" in alike.why
    assert judged(tmp_path, "attention-lowers-variance") == []  # nobody measured it


def test_units_are_told_apart_by_what_they_do_to_high_frequencies(tmp_path: Path) -> None:
    """Attention lowers by .5 and .7, MLPs raise by .1 and .1; with pruning other numbers, which are not read."""
    for seed, run in enumerate(seeds(tmp_path, depth=2)):
        shift = 0.01 * seed
        levels = (-1, -1.5 - shift, -1.4 - shift, -2.1 - shift, -2.0 - shift)
        fourier(run, {UNPRUNED: levels, HALF: (0, 9, 9, 9, 9)}, options={"keep": 0.5})
    (attention,) = judged(tmp_path, "attention-lowers-high-frequencies")
    assert attention.values == pytest.approx({0: -0.6, 1: -0.605, 2: -0.61})
    assert (attention.verdict, attention.variant, attention.images) == ("supported", "attention", 1000)
    (mlp,) = judged(tmp_path, "mlps-and-convolutions-raise-high-frequencies")
    assert mlp.values == pytest.approx(dict.fromkeys(range(3), 0.1))
    assert (mlp.verdict, mlp.variant) == ("supported", "MLP")


def test_what_was_not_measured_of_a_seed_is_asked_for_as_the_others_were(tmp_path: Path) -> None:
    first, second, third = seeds(tmp_path)
    variance(first, {UNPRUNED: (1, 0.5, 2)}, ONE, options={"images": 50})
    variance(second, {UNPRUNED: (1, 0.4, 2)}, ONE, options={"images": 50})
    variance(second, {UNPRUNED: (1, 0.9, 2)}, ONE, name="variance-1")
    variance(third, {UNPRUNED: (1, 0.9, 2)}, ("?", "?", "?"), options={"images": 50})
    (found,) = judged(tmp_path, "attention-lowers-variance")
    assert found.values == pytest.approx({0: math.log(0.5), 1: math.log(0.4)})
    assert (found.verdict, found.n) == ("undecided", 2)
    assert "measured with images 50" in (found.beside or "")
    lines = (found.todo or "").splitlines()
    assert (
        lines[0] == f"tokenprune measure variance --run {third.name} --option images=50 --force --runs-dir {tmp_path}"
    )
    assert found.evidence == (first.name, second.name)


def test_units_that_are_not_named_are_said_to_be_missing(tmp_path: Path) -> None:
    """Older results have half-blocks by number alone."""
    for run in seeds(tmp_path):
        rewrite(
            fourier(run, {UNPRUNED: (1, 2, 3)}, ONE),
            lambda tree: tree["arrays"]["log amplitude"]["labels"]["half-block"].pop("after"),
        )
    (found,) = judged(tmp_path, "attention-lowers-high-frequencies")
    assert "its axis 'half-block' does not say 'after'" in found.why
    assert (found.todo or "").count("tokenprune measure fourier --run") == 3
    assert (found.todo or "").count("--force") == 3
    assert judged(tmp_path, "mlps-and-convolutions-raise-high-frequencies") == []


def test_the_verdicts_do_not_come_from_a_damaged_result(tmp_path: Path) -> None:
    runs = seeds(tmp_path)
    paths = [variance(run, {UNPRUNED: (1, 0.5 + 0.01 * i, 2)}, ONE) for i, run in enumerate(runs)]
    paths[1].write_text("{")
    found, problems = read_runs(tmp_path)
    (problem,) = problems
    assert str(paths[1]) in problem
    (verdict,) = (each for each in judge(studies(found), CLAIMS) if each.claim == "attention-lowers-variance")
    assert sorted(verdict.values) == [0, 2]
    assert f"tokenprune measure variance --run {runs[1].name}" in (verdict.todo or "")


def test_the_attention_at_a_stage_end_is_compared_with_the_convolutions_of_that_stage(tmp_path: Path) -> None:
    """Stages of two and three blocks: .06 against .02 in the first, .01 against (.03 + .05) / 2 in the second."""
    units = {"convolution of block 0": 0.02, "attention of block 1": 0.06, "convolution of block 2": 0.03}
    units |= {"convolution of block 3": 0.05, "attention of block 4": 0.01}
    for seed, run in enumerate(seeds(tmp_path, *network([2, 3], 2), depth=5)):
        lesion(run, units | {"attention of block 4": 0.01 + 0.001 * seed})
    for run in seeds(tmp_path, *network([2, 3]), depth=5):
        lesion(run, {f"convolution of block {i}": 0.02 for i in range(5)})
    (found,) = judged(tmp_path, "attention-at-a-stage-end-matters-most")
    assert found.values == pytest.approx({0: 0.005, 1: 0.0055, 2: 0.006})
    assert (found.verdict, found.variant) == ("supported", "CNN with 2 attentions")
    for run in seeds(tmp_path / "one", *network([4, 1], 2), depth=5):
        lesion(run, {"attention of block 4": 0.01})
    (never,) = judged(tmp_path / "one", "attention-at-a-stage-end-matters-most")
    assert "no stage of it ends with attention and has a convolution" in never.why
    assert never.todo is None  # measuring it again would not help


@pytest.mark.parametrize("better", [True, False])
def test_low_and_high_frequencies_of_a_vit_are_held_against_those_of_a_cnn(tmp_path: Path, better: bool) -> None:
    """At other depths, too; a CNN that was trained longer is no match."""
    for seed in range(3):
        vit = make_run(tmp_path, depth=2, seed=seed)
        noise(vit, [0.2 + 0.01 * seed, 0.2, 0.2, 0, 0, 0, 0.1, 0.1, 0.1][:: 1 if better else -1])
        cnn = make_run(tmp_path, depth=3, seed=seed, overrides=CNN)
        noise(cnn, [0.1, 0.1, 0.1, 0, 0, 0, 0.1, 0.1, 0.1])
    noise(make_run(tmp_path, depth=3, overrides=[*CNN, "train.epochs=9"]), [0] * 9)
    (found,) = judged(tmp_path, "vits-fail-under-low-frequencies")
    sign = 1 if better else -1
    assert found.values == pytest.approx({seed: sign * (0.1 + 0.01 / 3 * seed) for seed in range(3)})
    assert (found.verdict, found.depth) == ("supported" if better else "refuted", 2)
    assert found.variant == "ViT against CNN of stages 1-2"
    assert found.models == 3
    assert len(found.evidence) == 6


def test_a_vit_that_no_cnn_was_trained_like_is_named_with_the_command(tmp_path: Path) -> None:
    for seed, run in enumerate(seeds(tmp_path)):
        noise(run, [0.1 * seed] * 9)
    assert judged(tmp_path, "vits-fail-under-low-frequencies") == []  # nobody trains CNNs here
    seeds(tmp_path, *CNN, "train.epochs=9", depth=3)
    (found,) = judged(tmp_path, "vits-fail-under-low-frequencies")
    assert found.why == "no CNN was trained in the same way."
    assert (found.todo or "").count("--set 'model.stages=[1, 2]'") == 3
    seeds(tmp_path, *CNN, depth=3)
    (found,) = judged(tmp_path, "vits-fail-under-low-frequencies")
    assert "frequency-noise was not measured of " in found.why
    assert (found.todo or "").count("tokenprune measure frequency-noise --run ") == 3


def test_the_most_attentions_are_compared_with_none(tmp_path: Path) -> None:
    for kind, accuracy in ((CNN, 0.6), (network([1, 2], 1), 0.3), (ALTERNET, 0.65)):
        for seed in range(3):
            make_run(tmp_path, depth=3, seed=seed, accuracy=accuracy + 0.01 * seed, overrides=kind)
    (found,) = judged(tmp_path, "attention-improves-a-cnn")
    assert found.values == pytest.approx(dict.fromkeys(range(3), 0.05))
    assert (found.verdict, found.variant) == ("supported", "CNN with 2 attentions, stages 1-2")
    assert found.image_error is not None  # answers by image are known
    seeds(tmp_path / "lone", *ALTERNET, depth=3)
    (lone,) = judged(tmp_path / "lone", "attention-improves-a-cnn")
    assert lone.why == "no run is of the CNN without attention."
    assert (lone.todo or "").count("--set model.attentions=0") == 3


def test_eigenvalues_with_attention_are_held_against_those_of_the_cnn(tmp_path: Path) -> None:
    for seed in range(3):
        hessian(make_run(tmp_path, depth=2, seed=seed), 10 + seed, 0.3 + 0.01 * seed)
        hessian(make_run(tmp_path, depth=3, seed=seed, overrides=CNN), 40, 0.1)
        hessian(make_run(tmp_path, depth=3, seed=seed, overrides=ALTERNET), 80 + seed, 0.1)
    vit, alternet = sorted(judged(tmp_path, "attention-flattens-the-loss"), key=lambda each: each.depth)
    assert vit.values == pytest.approx({seed: math.log((10 + seed) / 40) for seed in range(3)})
    assert (vit.verdict, vit.variant) == ("supported", "ViT against CNN of stages 1-2")
    assert (alternet.verdict, alternet.variant) == ("refuted", "CNN with 2 attentions against CNN of stages 1-2")
    vit, alternet = sorted(judged(tmp_path, "attention-makes-the-loss-less-convex"), key=lambda each: each.depth)
    assert vit.values == pytest.approx({0: 0.2, 1: 0.21, 2: 0.22})
    assert (vit.verdict, alternet.verdict) == ("supported", "undecided")
    assert "exactly 0 in every seed" in alternet.why


def test_an_effect_that_is_the_same_in_every_seed_has_no_known_error(tmp_path: Path) -> None:
    """Shares of a hundred eigenvalues are often alike; an interval without width would decide anything."""
    for seed in range(3):
        hessian(make_run(tmp_path, depth=2, seed=seed), 10 + seed, 0.3)
        hessian(make_run(tmp_path, depth=3, seed=seed, overrides=CNN), 40, 0.1)
    (found,) = judged(tmp_path, "attention-makes-the-loss-less-convex")
    assert (found.verdict, found.p) == ("undecided", None)
    assert found.effect == pytest.approx(0.2)
    assert "the same in every seed" in found.why


def test_mini_batches_of_other_sizes_are_not_compared(tmp_path: Path) -> None:
    """Memory had room for eight images of the CNN."""
    for seed in range(3):
        hessian(make_run(tmp_path, seed=seed), 10, 0.3)
        hessian(make_run(tmp_path, depth=3, seed=seed, overrides=CNN), 40, 0.1, size=8)
    (found,) = judged(tmp_path, "attention-flattens-the-loss")
    assert found.effect is None
    assert "--option batch=" in (found.todo or "")


def test_data_and_smoothing_are_compared_by_the_share_of_negative_eigenvalues(tmp_path: Path) -> None:
    few, some = ("data.train_size=1000", "train.epochs=9"), ("data.train_size=4000", "train.epochs=6")
    for size, below in ((few, 0.4), (some, 0.3), (("train.epochs=3",), 0.1)):
        for seed, run in enumerate(seeds(tmp_path, *size)):
            hessian(run, 10, below + 0.01 * seed * (size == few))
    for change, below in (("train.label_smoothing=0.2", 0.2), ("model.class_token=false", 0.04)):
        for seed, run in enumerate(seeds(tmp_path, "train.epochs=3", change)):
            hessian(run, 10, below + 0.01 * seed)
    (data,) = judged(tmp_path, "data-removes-negative-eigenvalues")
    assert data.values == pytest.approx({0: -0.3, 1: -0.31, 2: -0.32})
    assert (data.verdict, "trained on 50,000 images less on 1,000" in data.why) == ("supported", True)
    found = {each.variant: each for each in judged(tmp_path, "smoothing-removes-negative-eigenvalues")}
    assert {variant: each.verdict for variant, each in found.items()} == {
        "label smoothing 0.2": "refuted",
        "average pooling": "supported",
    }
    assert found["label smoothing 0.2"].values == pytest.approx({0: 0.1, 1: 0.11, 2: 0.12})


def test_pruning_by_magnitude_is_held_against_the_unpruned_model_with_random_beside(tmp_path: Path) -> None:
    """At the ratios that all seeds have; the third seed has one more."""
    for seed, run in enumerate(seeds(tmp_path)):
        levels = {UNPRUNED: (0, 0, -1), HALF: (0, 0, -1.4 - 0.01 * seed), pruned("magnitude", 0.7): (0, 0, -1.2)}
        levels |= {pruned("random", 0.5): (0, 0, -1.1), pruned("random", 0.7): (0, 0, -1.3)}
        levels |= {pruned("magnitude", 0.3): (0, 0, 99)} if seed == 2 else {}
        fourier(run, levels, ONE, options={"methods": ["magnitude", "random"]})
    (found,) = judged(tmp_path, "pruning-by-magnitude-is-a-low-pass")
    assert found.values == pytest.approx({0: -0.3, 1: -0.305, 2: -0.31})
    assert (found.verdict, found.site) == ("supported", "before:0")
    assert (found.beside or "").startswith("-0.200 pruned at random")
    assert "mean over 2 keep ratios" in found.why
    fourth = make_run(tmp_path, seed=3)
    (found,) = judged(tmp_path, "pruning-by-magnitude-is-a-low-pass")
    assert found.n == 3
    fourier(fourth, {UNPRUNED: (0, 0, -1), HALF: (0, 0, 5)}, ONE)
    (found,) = judged(tmp_path, "pruning-by-magnitude-is-a-low-pass")
    assert (found.n, "at keep ratio" in found.why or "keep ratio 0.5" in found.why) == (4, True)


def test_training_with_pruning_is_compared_by_the_loss_with_all_tokens(tmp_path: Path) -> None:
    for seed, run in enumerate(seeds(tmp_path)):
        hessian(run, 16, 0.1 * seed)
    for keep, positive in ((0.7, 8.0), (0.5, 4.0)):
        changes = ("pruner.name=magnitude", f"pruner.keep_ratio={keep}", "pruner.site=before:0")
        for seed, run in enumerate(seeds(tmp_path, *changes)):
            hessian(run, positive * math.exp(0.1 * seed), 0.1)
    (found,) = judged(tmp_path, "training-with-pruning-flattens-the-loss")
    assert found.values == pytest.approx({seed: -1.5 * math.log(2) + 0.1 * seed for seed in range(3)})
    assert (found.verdict, found.site) == ("supported", "before:0")
    assert judged(tmp_path, "data-removes-negative-eigenvalues") == []
