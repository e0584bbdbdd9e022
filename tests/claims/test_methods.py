"""Methods compared: areas in closed form, ranks, floors, and what is left out."""

from pathlib import Path

import numpy as np
import pytest
from factories import make_prune, make_run, rewrite

from tokenprune.claims import read_runs, studies
from tokenprune.claims.methods import (
    CostCurve,
    against,
    comparisons,
    place_of_magnitude,
    recall_as_proxy,
)
from tokenprune.experiments.methods import comparison_groups, comparison_rows, comparison_table

FLAT = {1.0: 0.6, 0.5: 0.6, 0.25: 0.6}


def runs_with(tmp_path: Path, methods: dict, seeds: int = 3) -> list:
    """Curves of `methods` on `seeds` runs, FLOPs in proportion to tokens (see factories)."""
    for seed in range(seeds):
        own = {name: {k: a + 0.01 * seed for k, a in curve.items()} for name, curve in methods.items()}
        make_run(tmp_path, depth=2, seed=seed, accuracy=0.6 + 0.01 * seed, methods=own)
    return studies(read_runs(tmp_path)[0])


def line(flops: list[float], accuracy: list[float]) -> CostCurve:
    return CostCurve((), np.array(flops), np.array(accuracy), None, None, None)


def test_the_area_is_the_integral_of_a_broken_line() -> None:
    curve = line([0.25, 0.5, 1.0], [0.2, 0.4, 0.6])
    for low in (0.25, 0.3, 0.5, 0.7):
        grid = np.linspace(low, 1, 200_001)
        values = np.interp(grid, curve.flops, curve.accuracy)
        weights = curve.weights(low)
        assert weights is not None
        assert weights.sum() == pytest.approx(1)
        assert weights @ curve.accuracy == pytest.approx(np.trapezoid(values, grid) / (1 - low), abs=1e-9)
    assert curve.weights(0.2) is None  # it does not reach so far
    assert curve.at_flops(0.75, curve.accuracy) == pytest.approx(0.5)
    assert curve.at_flops(0.2, curve.accuracy) is None


def test_methods_are_ranked_and_held_against_the_floors(tmp_path: Path) -> None:
    methods = {
        "magnitude": {1.0: 0.6, 0.5: 0.58, 0.25: 0.5},
        "evit": {1.0: 0.6, 0.5: 0.59, 0.25: 0.55},
        "random": {1.0: 0.6, 0.5: 0.5, 0.25: 0.4},
        "downsample": {1.0: 0.6, 0.5: 0.55, 0.25: 0.52},
        "oracle": FLAT,
    }
    (study,) = runs_with(tmp_path, methods)
    (found,) = comparisons(study)
    rows = {row.method: row for row in found.rows}
    for name, curve in methods.items():  # the mean over FLOPs from a quarter to all, and over seeds .01 apart
        whole, half, quarter = curve.values()
        expected = ((quarter + half) / 2 * 0.25 + (half + whole) / 2 * 0.5) / 0.75 + 0.01
        assert rows[name].area.value == pytest.approx(expected)
    assert [row.method for row in found.rows] == ["oracle", "evit", "magnitude", "downsample", "random"]
    assert [row.rank for row in found.rows] == [None, 1, 2, 3, 4]
    area = rows["evit"].area
    random = rows["random"].area
    less = rows["evit"].less["random"]
    assert None not in (area, random, less)
    assert less.value == pytest.approx(area.value - random.value)
    assert set(less.values) == {0, 1, 2}
    assert "random" not in rows["random"].less
    assert rows["magnitude"].less["downsample"] is not None
    assert rows["evit"].flops[0.75] is not None
    assert rows["evit"].agree_flops[0.75] is None  # factories: as older results, without agreement


def test_at_equal_speed_a_faster_point_that_is_better_counts() -> None:
    speed, agreement = np.array([1.5, 2.0, 1.0]), np.array([0.5, 0.7, 1.0])
    curve = CostCurve((), np.array([0.5, 0.8, 1.0]), np.array([0.3, 0.5, 0.6]), agreement, speed, None)
    assert curve.at_speed(1.5, curve.accuracy) == 0.5
    assert curve.at_speed(1.25, curve.accuracy) == pytest.approx(0.5)
    assert curve.at_speed(2.5, curve.accuracy) is None
    assert curve.at_speed(2.0, curve.agreement) == 0.7
    assert curve.at_flops(0.65, curve.agreement) == pytest.approx(0.6)


def test_on_images_that_downsample_fails_a_method_may_be_right(tmp_path: Path) -> None:
    """factories: predictions are right on the first images, so that a better method is right where the floor is."""
    (study,) = runs_with(tmp_path, {"downsample": {1.0: 0.6, 0.5: 0.4}, "evit": {1.0: 0.6, 0.5: 0.5}}, seeds=1)
    (found,) = comparisons(study)
    row = next(row for row in found.rows if row.method == "evit")
    assert row.answered == pytest.approx(1)
    assert row.failed == pytest.approx(1 / 6)  # ten of the sixty in a hundred that are left


def test_claims_need_more_than_the_three_of_i3(tmp_path: Path) -> None:
    plain = {"magnitude": FLAT, "random": FLAT, "oracle": FLAT}
    (study,) = runs_with(tmp_path / "plain", plain)
    assert against(study, "random") == place_of_magnitude(study) == recall_as_proxy(study) == []
    assert comparison_groups([study]) == []
    assert len(comparison_groups([study], least=2)) == 1


def test_each_method_has_its_own_finding(tmp_path: Path) -> None:
    worse = {1.0: 0.6, 0.5: 0.5, 0.25: 0.4}
    methods = {"magnitude": FLAT, "evit": FLAT, "tome": FLAT, "random": worse, "downsample": worse}
    (study,) = runs_with(tmp_path, methods)
    found = against(study, "random")
    assert sorted(finding.methods[0] for finding in found) == ["downsample", "evit", "magnitude", "tome"]
    assert len({finding.variant for finding in found}) == 4
    evit = next(finding for finding in found if finding.methods[0] == "evit")
    assert evit.estimate is not None
    assert evit.estimate.value == pytest.approx(0.15, abs=1e-3)
    (place,) = place_of_magnitude(study)
    assert place.estimate is not None
    assert place.estimate.value == pytest.approx(0.5)  # above both floors, level with two
    rows = comparison_rows(comparison_groups([study])[0])
    assert [row["method"] for row in rows][-1] in ("random", "downsample")
    brief = comparison_table(comparison_groups([study])[0]).brief
    assert brief is not None
    assert {len(row) for row in brief.rows} == {len(brief.columns)} == {6}


def test_a_method_that_costs_more_than_the_whole_model_has_no_area(tmp_path: Path) -> None:
    make_run(tmp_path, depth=2, seed=0, accuracy=0.6, methods={"random": FLAT, "evit": FLAT})
    path = next(tmp_path.glob("*/prune/evit-*"))

    def dear(tree: dict) -> None:
        for point in tree["points"]:
            point["flops"] *= 5

    rewrite(path / "result.json", dear)
    (study,) = studies(read_runs(tmp_path)[0])
    (found,) = comparisons(study)
    assert {row.method: row.area is not None for row in found.rows} == {"random": True, "evit": False}


def test_points_that_cost_more_than_the_whole_model_are_left_out(tmp_path: Path) -> None:
    """Scores of a full pass cost more than a few tokens save; the area stays a mean of accuracies."""
    make_run(tmp_path, depth=2, seed=0, accuracy=0.6, methods={"random": FLAT, "evit": FLAT})
    path = next(tmp_path.glob("*/prune/evit-*"))

    def dear(tree: dict) -> None:
        tree["points"][1]["flops"] *= 2.5  # keep 0.5

    rewrite(path / "result.json", dear)
    (study,) = studies(read_runs(tmp_path)[0])
    (found,) = comparisons(study)
    areas = {row.method: row.area.value for row in found.rows if row.area}
    assert areas == {"random": pytest.approx(0.6), "evit": pytest.approx(0.6)}


def test_where_all_seeds_agree_on_a_rank_there_is_no_test(tmp_path: Path) -> None:
    """Ranks are discrete: equal ones have no spread, and would be called certain."""
    worse = {1.0: 0.6, 0.5: 0.5, 0.25: 0.4}
    methods = {"magnitude": FLAT, "evit": worse, "tome": worse, "random": worse, "downsample": worse}
    (study,) = runs_with(tmp_path, methods)
    (place,) = place_of_magnitude(study)
    assert place.estimate is not None
    assert (place.estimate.value, place.estimate.low, place.estimate.p(0.5)) == (1, None, None)


def test_a_curve_ends_at_its_own_unpruned_model(tmp_path: Path) -> None:
    """Not at the run's test accuracy, which is another's where the run was trained with a pruner or fine-tuned."""
    make_run(tmp_path, depth=2, seed=0, accuracy=0.6, methods={"random": {1.0: 0.6, 0.5: 0.6}, "evit": {0.5: 0.6}})
    (study,) = studies(read_runs(tmp_path)[0])
    (found,) = comparisons(study)
    assert {row.method: row.area.value for row in found.rows if row.area} == {
        "random": pytest.approx(0.6),
        "evit": pytest.approx(0.6),
    }


def test_options_make_methods_of_their_own(tmp_path: Path) -> None:
    folder = make_run(tmp_path, depth=2, seed=0, accuracy=0.6, methods={"random": FLAT, "evit": FLAT})
    make_prune(folder, "evit", FLAT, options={"power": 2})
    (study,) = studies(read_runs(tmp_path)[0])
    (found,) = comparisons(study)
    assert sorted(row.name for row in found.rows) == ["evit", "evit (power=2)", "random"]
