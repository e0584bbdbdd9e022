"""Accuracy against latency: the front by brute force, what is joined by hand, and files that are not believed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import make_latency, make_run, rewrite
from hypothesis import given
from hypothesis import strategies as st

from tokenprune.claims import read_runs, studies
from tokenprune.claims.front import Timed, front, timed
from tokenprune.claims.methods import comparisons
from tokenprune.runs import RunFolder

FEW = st.integers(0, 6)  # so that many are equal


@given(st.lists(st.tuples(FEW, FEW), max_size=12))
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    def beaten(i: int) -> bool:
        cost, value = points[i]
        return any(c <= cost and v >= value and (c < cost or v > value) for c, v in points)

    found = front([cost for cost, _ in points], [value for _, value in points])
    assert sorted(found) == [i for i in range(len(points)) if not beaten(i)]
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


METHODS = {
    "evit": {1.0: 0.6, 0.5: 0.58, 0.25: 0.4},
    "random": {1.0: 0.6, 0.5: (0.4, 0.5, 0.6)},
    "oracle": {1.0: 0.6, 0.5: 0.9},
}
TIMES = {"evit": {0.5: [4, 10], 0.25: [3, 6]}, "random": {0.5: [3.5, 12]}, "oracle": {0.5: [1, 1]}}


def run_at(place: Path, seed: int, accuracy: float = 0.6) -> RunFolder:
    return make_run(place, depth=2, seed=seed, accuracy=accuracy, methods=METHODS)


def joined(place: Path) -> list[Timed]:
    (study,) = studies(read_runs(place)[0])
    return [each for comparison in comparisons(study) for each in timed(comparison)]


def test_accuracy_and_latency_of_runs_that_differ_by_their_seed(tmp_path: Path) -> None:
    """Times of the second run are twice the first's; a third was not timed, and a method that was not pruned with."""
    for seed, accuracy in enumerate((0.6, 0.7, 0.65)):
        run = run_at(tmp_path, seed, accuracy)
        if seed < 2:
            scale = 1 + seed
            scaled = {name: {k: [scale * t for t in ms] for k, ms in of.items()} for name, of in TIMES.items()}
            scaled["tome"] = {0.5: [1, 1]}
            make_latency(run, scaled, unpruned=[5 * scale, 11 * scale])
    (found,) = joined(tmp_path)
    assert (found.batches, str(found.machine)) == ((1, 8), "Some CPU, 2 threads, fp32, torch 2.14")
    points = {(point.name, point.keep): point for point in found.points}
    assert next(iter(points)) == ("unpruned", 1.0)
    assert set(points) == {*((m, k) for m, of in TIMES.items() for k in of), ("unpruned", 1.0)}
    assert points["unpruned", 1.0].accuracy == pytest.approx(0.65)
    assert points["random", 0.5].accuracy == pytest.approx(0.5)  # the mean of its draws, in each run
    assert points["evit", 0.25].seeds == 3
    spread = points["evit", 0.5].timings[8]
    assert (spread.median, spread.least, spread.most, spread.n) == (15, 15, 15, 2)  # of one unpruned time
    assert spread.p90 == pytest.approx(16.5)
    assert spread.speedup == pytest.approx(1.1)  # 11 over 10, and 22 over 20
    # At batch 1 random is faster than evit at .5 (5.25 and 6 ms), and worse; at batch 8 it is slower and worse.
    names = {batch: [(point.name, point.keep) for point in on] for batch, on in found.fronts.items()}
    assert names[1] == [("evit", 0.25), ("random", 0.5), ("evit", 0.5), ("unpruned", 1.0)]
    assert names[8] == [("evit", 0.25), ("evit", 0.5), ("unpruned", 1.0)]


def test_methods_measured_apart_are_brought_to_one_time_of_the_unpruned_model(tmp_path: Path) -> None:
    """The second measurement was made in a slow moment, three times as slow, and has other methods."""
    run = run_at(tmp_path, 0)
    make_latency(run, {"evit": {0.5: [4]}}, unpruned=[6], batches=[1])
    make_latency(run, {"random": {0.5: [9]}}, unpruned=[18], batches=[1], name="latency-1")
    (found,) = joined(tmp_path)
    points = {point.name: point.timings[1] for point in found.points}
    assert (points["unpruned"].median, points["evit"].median, points["random"].median) == pytest.approx((12, 8, 6))
    assert {name: 12 / each.median for name, each in points.items()} == pytest.approx(
        {name: each.speedup for name, each in points.items()}
    )


def test_other_machines_are_never_mixed(tmp_path: Path) -> None:
    run = run_at(tmp_path, 0)
    for i, other in enumerate(({}, {"threads": 4}, {"device": "H200"}, {"torch": "2.15"}, {"processor": "Other CPU"})):
        make_latency(run, TIMES, unpruned=[5 + i, 11], name=f"latency-{i}", **other)
    found = joined(tmp_path)
    assert len(found) == 5
    assert {each.points[0].timings[1].median for each in found} == {5, 6, 7, 8, 9}
    assert {each.points[0].timings[1].n for each in found} == {1}
    assert len({each.place for each in found}) == 5


def test_other_sites_batches_and_fine_tuned_models_have_no_place(tmp_path: Path) -> None:
    run = run_at(tmp_path, 0)
    make_latency(run, TIMES, unpruned=[5, 11], site="before:1")
    assert joined(tmp_path) == []  # accuracy at before:0 alone
    make_latency(run, {"evit": {0.5: [4]}}, unpruned=[5], batches=[64], name="latency-1")
    (found,) = joined(tmp_path)
    assert found.batches == (1, 8, 64)
    assert {point.name: set(point.timings) for point in found.points} == {"unpruned": {1, 8, 64}, "evit": {64}}
    tuned = found.comparison.condition._replace(finetune_epochs=1)
    assert timed(replace(found.comparison, condition=tuned)) == []


def values(tree: dict[str, Any], array: str, value: Any) -> None:
    tree["arrays"][array]["values"][1][0] = value


def labelled(tree: dict[str, Any], axis: str, column: str, place: int, label: Any) -> None:
    for array in tree["arrays"].values():
        array["labels"][axis][column][place] = label


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: values(tree, "median", float("nan")), "not valid JSON"),
        (lambda tree: values(tree, "median", -4), "a time or speed-up that cannot be"),
        (lambda tree: values(tree, "speed-up", 0), "a time or speed-up that cannot be"),
        (lambda tree: values(tree, "p90", 1e300), "a time or speed-up that cannot be"),
        (lambda tree: values(tree, "p90", 3.9), "a 90th percentile below its median"),
        (lambda tree: values(tree, "median", "4"), "no finite number"),
        (lambda tree: tree["arrays"].pop("p90"), "no 'p90'"),
        (lambda tree: tree["arrays"]["median"].update(labels={}), "axes are not those"),
        (lambda tree: [array.update(labels={}) for array in tree["arrays"].values()], "no 'point'"),
        (lambda tree: [array["labels"]["point"].pop("keep") for array in tree["arrays"].values()], "no 'keep'"),
        (lambda tree: tree["arrays"]["p90"].update(axes=["point", "size"]), "size|batch"),
        (lambda tree: labelled(tree, "batch", "batch", 0, 8), "batch sizes are not different whole numbers"),
        (lambda tree: labelled(tree, "batch", "batch", 0, 1.5), "batch sizes are not different whole numbers"),
        (lambda tree: labelled(tree, "batch", "batch", 0, -1), "batch sizes are not different whole numbers"),
        (lambda tree: labelled(tree, "point", "method", 0, "evit"), "the unpruned model among them"),
        (lambda tree: labelled(tree, "point", "keep", 1, 0.25), "points are not different ones"),
        (lambda tree: labelled(tree, "point", "keep", 1, [0.25]), "not a MeasureResult record"),
        (lambda tree: tree.update(threads=None), "does not say what it was measured on"),
        (lambda tree: tree.update(measurement="attention"), "damaged: it is of attention"),
        (lambda tree: tree.update(run="another"), "not measured on this run's weights"),
        (lambda tree: tree.update(weights_sha256="0" * 64), "not measured on this run's weights"),
    ],
)
def test_what_cannot_be_is_named_and_left_out(tmp_path: Path, change: Callable[[dict], None], said: str) -> None:
    run = run_at(tmp_path, 0)
    path = make_latency(run, TIMES, unpruned=[5, 11])
    rewrite(path, change)
    runs, problems = read_runs(tmp_path)
    (problem,) = problems
    assert str(path) in problem
    assert problem.endswith("this measurement is not used")
    assert "\n" not in problem
    assert re.search(said, problem)
    assert runs[0].latencies == []
    assert joined(tmp_path) == []


def test_what_was_changed_is_not_believed(tmp_path: Path) -> None:
    path = make_latency(run_at(tmp_path, 0), TIMES, unpruned=[5, 11])
    path.write_text(path.read_text().replace("10.0", "1.0"))
    ((run,), (problem,)) = read_runs(tmp_path)
    assert "its seal is broken" in problem
    assert run.latencies == []
