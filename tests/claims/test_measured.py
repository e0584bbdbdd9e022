"""Measurements of runs, as claims read them: what is selected, and what is named and left out."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from factories import make_latency, make_run, rewrite
from measurement_factories import UNPRUNED, as_convolutional, association, fourier, pruned, variance

from tokenprune.claims import Verdict, judge, read_runs, studies
from tokenprune.claims.measured import Missing, of, results
from tokenprune.experiments import CLAIMS
from tokenprune.pack import pack
from tokenprune.runs import RunFolder

HALF = pruned("magnitude", 0.5)
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


def judged(runs_dir: Path, claim: str, networks: Mapping[float, tuple[list[int], int]] | None = None) -> list[Verdict]:
    """networks: as in `as_convolutional`."""
    runs, problems = read_runs(runs_dir)
    assert problems == []
    verdicts = judge(studies(as_convolutional(runs, networks) if networks else runs), CLAIMS)
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
