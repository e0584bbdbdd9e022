"""What stays at the sites: one ratio, a ratio for each, or a number that leaves at each; from recipe to result."""

import shlex

import pytest

from tests.cli.run_command import run
from tests.sweep_factories import write_sweep
from tests.test_learned_pruner import tiny
from tokenprune import pipeline
from tokenprune.claims import commands, read_runs
from tokenprune.claims.accuracy import curves_of
from tokenprune.errors import UsageError
from tokenprune.identity import curve_id
from tokenprune.pipeline.prune import _finetuning
from tokenprune.recipe import Evaluate, Recipe, RemovedPerSite, counts, eased, written
from tokenprune.recipe.sweep import load_sweep
from tokenprune.runs import RunFolder
from tokenprune.training import keep_ratio

SITES = {"site": "before:0,1", "batch_size": 20, "examples": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return pipeline.train_run(tiny("pruner.name=none"), runs_dir=tmp_path_factory.mktemp("runs"))


def test_counts_in_closed_form() -> None:
    assert counts(0.7, 64, 3) == (45, 32, 23)
    assert counts((0.9, 0.7, 0.5), 64, 3) == (58, 41, 21)
    assert counts(RemovedPerSite(8), 64, 3) == (56, 48, 40)
    with pytest.raises(UsageError, match=r"^r=40: only 24 patch tokens enter site 2 of 3, and one must stay$"):
        counts(RemovedPerSite(40), 64, 3)
    assert counts(1.0, 64, 2) == (64, 64)
    with pytest.raises(UsageError, match=r"^keep 0.9/0.7: 2 ratios for 3 sites$"):
        counts((0.9, 0.7), 64, 3)


def test_they_are_written_as_they_are_typed() -> None:
    assert [written(each) for each in (0.7, (0.9, 0.5), RemovedPerSite(8))] == ["0.7", "0.9/0.5", "r=8"]


def test_annealing_goes_from_all_to_what_is_asked() -> None:
    for keep in (0.5, (0.8, 0.4), RemovedPerSite(10)):
        assert eased(keep, 0.0) == keep
        assert counts(eased(keep, 1.0), 64, 2) == (64, 64)
    assert eased(0.5, 0.5) == 0.75
    assert eased((0.8, 0.4), 0.5) == (pytest.approx(0.9), pytest.approx(0.7))
    assert eased(RemovedPerSite(10), 0.5) == RemovedPerSite(5)


def test_the_order_of_ratios_does_not_name_a_curve() -> None:
    names = {curve_id({}, keep, "before:0", 3, 0, "fp32") for keep in ([1.0, 0.5, "r=8"], ["r=8", 0.5, 1.0])}
    assert len(names) == 1


def test_a_curve_has_a_point_for_each_and_says_what_was_asked(trained: RunFolder) -> None:
    asked = Evaluate(methods=("magnitude", "random"), keep=(0.5, (0.75, 0.5), 1.0), r=(3,), seeds=1, **SITES)
    for path, result in pipeline.prune_run(trained, asked):
        found = {point.asked: point for point in result.points}
        assert list(found) == ["1", "r=3", "0.75/0.5", "0.5"]
        assert found["r=3"].realised == (13 / 16, 10 / 16)
        assert found["r=3"].keep_ratio == 10 / 16
        assert found["0.75/0.5"].realised == (12 / 16, 6 / 16)
        assert found["0.5"].keep is None
        assert trained.curve(path) == result  # and it is read again


def test_training_takes_them_too(tmp_path) -> None:
    for overrides, left in (
        (("pruner.keep_ratio=[0.75, 0.5]",), 6),
        (("pruner.r=3", "pruner.keep_ratio=1.0"), 10),
    ):
        folder = pipeline.train_run(tiny("pruner.name=magnitude", *overrides), runs_dir=tmp_path)
        assert folder.result().keep_ratio == left / 16
        assert folder.epochs()[-1].keep_ratio == left / 16


def test_tokens_stay_for_some_epochs_before_annealing(tmp_path) -> None:
    changes = ("train.epochs=4", "pruner.name=random", "pruner.anneal_from=1", "pruner.anneal_epochs=2")
    folder = pipeline.train_run(tiny(*changes), runs_dir=tmp_path)
    assert [epoch.keep_ratio for epoch in folder.epochs()[1:]] == [1, 1, 0.75, 0.5]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"keep_ratio": (0.5, 0.5)}, "keep_ratio: 2 ratios for 1 site"),
        ({"keep_ratio": 0.5, "r": 4}, "r: keep_ratio says already what stays; give one of them"),
        ({"r": 0}, "greater than or equal to 1"),
    ],
)
def test_a_recipe_that_says_it_twice_or_wrongly_is_refused(changes: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Recipe.model_validate({"pruner": {"name": "random", **changes}})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--keep 0.9/0.5 --site before:1", "error: --keep: 0.9/0.5 has 2 ratios for 1 site"),
        ("--keep 0.9/x --site before:0,1", "error: --keep: found 'x', must be a valid number"),
        ("--keep 0.9/1.5 --site before:0,1", "error: --keep: found 1.5, must be less than or equal to 1"),
        ("--r 0", "error: --r: found 0, must be greater than or equal to 1"),
        ("--r a", "error: --r: found 'a', must be a valid integer"),
    ],
)
def test_bad_input_of_prune_is_one_line(trained: RunFolder, arguments: str, line: str, capsys) -> None:
    words = ["--run", trained.name, "--runs-dir", str(trained.path.parent), "--quiet"]
    ended = run(capsys, "prune", *words, *arguments.split())
    assert (ended.status, ended.err.strip()) == (2, line)


def test_fine_tuning_prunes_from_its_first_epoch_on(tmp_path) -> None:
    """Whatever the run itself waited for."""
    changes = ("train.epochs=3", "pruner.name=random", "pruner.anneal_from=1", "pruner.anneal_epochs=2")
    recipe = tiny(*changes).recipe
    tuned = _finetuning(recipe, "magnitude", 0.5, "before:1", 2)
    assert [keep_ratio(tuned, epoch) for epoch in (0, 1)] == [0.5, 0.5]
    assert (tuned.pruner.site, tuned.pruner.name) == ("before:1", "magnitude")
    assert _finetuning(recipe, "magnitude", RemovedPerSite(3), "before:1", 2).pruner.keep == RemovedPerSite(3)


def test_a_site_that_keeps_all_is_charged_for_no_ranking(trained: RunFolder) -> None:
    asked = Evaluate(methods=("magnitude",), keep=((1.0, 0.5),), seeds=1, **SITES)
    ((_, result),) = pipeline.prune_run(trained, asked)
    alone = Evaluate(methods=("magnitude",), keep=(0.5,), seeds=1, **SITES | {"site": "before:1"})
    ((_, other),) = pipeline.prune_run(trained, alone)
    assert result.points[0].flops == other.points[0].flops
    assert result.points[0].correct == other.points[0].correct


def test_schedules_that_end_alike_are_points_of_their_own(trained: RunFolder) -> None:
    asked = Evaluate(methods=("magnitude", "random"), keep=((0.5, 0.25), (0.25, 0.5), 0.25), seeds=1, **SITES)
    pipeline.prune_run(trained, asked)
    (data,), _ = read_runs(trained.path.parent)
    found = {(at.site, method): points for (at, method, _), points in curves_of(data).items()}
    assert {"0.5/0.25", "0.25/0.5", 0.25} <= set(found["before:0,1", "magnitude"].by_ratio)


def test_a_list_of_ones_is_no_pruner(tmp_path) -> None:
    folder = pipeline.train_run(tiny("pruner.name=magnitude", "pruner.keep_ratio=[1.0, 1.0]"), runs_dir=tmp_path)
    (data,), problems = read_runs(tmp_path)
    assert (folder.result().pruner, data.result.pruner, problems) == ("none", "none", [])


def test_sweeps_measure_them_too(tmp_path) -> None:
    text = (
        "grid: {run.seed: [0]}\nset: {model.depth: 2}\nprune: [{site: 'before:0,1', keep: [0.5, [0.9, 0.5]], r: [4]}]\n"
    )
    (cell,) = load_sweep(write_sweep(tmp_path, text)).cells
    assert cell.prune[0].points == (0.5, (0.9, 0.5), RemovedPerSite(4))


def test_a_command_that_measures_again_has_all_that_was_asked(trained: RunFolder) -> None:
    (data,), _ = read_runs(trained.path.parent)
    line = commands.prune(
        data, ["ats"], site="before:0,1", keep=[1.0, 0.5, "0.9/0.5", "r=4"], options={"power": 2, "word": "a b"}
    )
    words = shlex.split(line)
    assert words[words.index("--keep") + 1] == "1,0.5,0.9/0.5"
    assert words[words.index("--r") + 1] == "4"
    assert [words[i + 1] for i, word in enumerate(words) if word == "--option"] == ["power=2", 'word="a b"']
