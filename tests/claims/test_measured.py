"""Measurements of runs, as claims read them: what is selected, and what is named and left out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from factories import make_latency, make_measurement, make_run, rewrite

from tokenprune.claims import read_runs
from tokenprune.claims.measured import Missing, of, results
from tokenprune.pack import pack
from tokenprune.runs import RunFolder, Values

UNPRUNED = ("none", "{}", "", 1.0)
HALF = ("magnitude", "{}", "before:0", 0.5)


def by_point(*points: tuple[str, str, str, float]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(("method", "options", "site", "keep"), zip(*points, strict=True), strict=True))


def variances(run: RunFolder, values: Mapping[tuple[str, str, str, float], Sequence[float]], **facts: Any) -> Path:
    """A measurement of the variance at the half-blocks of one block, for each point."""
    labels = {
        "point": by_point(*values),
        "half-block": {"block": (0.0, 0.5, 1.0), "after": ("embedding", "attention", "MLP")},
    }
    found = Values(
        unit="1", axes=("point", "half-block"), values=[list(each) for each in values.values()], labels=labels
    )
    return make_measurement(run, "variance", {"variance": found}, **facts)


def test_arrays_are_selected_by_measurement_options_and_labels(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    variances(run, {UNPRUNED: (1, 2, 3), HALF: (4, 5, 6)}, options={"methods": "magnitude", "images": 50})
    variances(run, {UNPRUNED: (7, 8, 9)}, name="variance-1")
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
    variances(run, {UNPRUNED: (1, 2, 3), HALF: (4, 5, 6), ("random", *HALF[1:]): (4, 5, 6)})
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
    path = variances(run, {UNPRUNED: (1, 2, 3), HALF: (4, 5, 6)})
    other = variances(run, {UNPRUNED: (7, 8, 9)}, name="variance-1")
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
    variances(run, {UNPRUNED: (1, 2, 3)}, options={"images": 7})
    pack(tmp_path / "runs", tmp_path / "runs.jsonl.gz")
    ((packed,), problems), ((plain,), _) = read_runs(tmp_path / "runs.jsonl.gz"), read_runs(tmp_path / "runs")
    assert problems == []
    assert packed.measured == plain.measured
    assert [each.options for each in results(packed, "variance")] == [{"images": 7}]
