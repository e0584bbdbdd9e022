"""Which cells `--only` leaves, against the product of the grids by hand."""

import pytest
from sweep_factories import write_sweep

from tokenprune.errors import UsageError
from tokenprune.recipe.only import chosen
from tokenprune.recipe.sweep import load_sweep

GRIDS = "grid: {model.depth: [1, 2], run.seed: [0, 1, 2]}\nalso:\n  - {train.epochs: [3], run.seed: [0]}\n"


@pytest.mark.parametrize(
    ("only", "left"),
    [
        (["run.seed=0,2"], [(1, 0), (1, 2), (2, 0), (2, 2), (None, 0)]),
        (["run.seed=0", "model.depth=2"], [(2, 0)]),
        (["run.seed=0", "run.seed=1", "model.depth=1"], [(1, 0), (1, 1)]),
        (["train.epochs=3"], [(None, 0)]),
    ],
)
def test_cells_have_a_value_of_every_key(tmp_path, only, left):
    sweep = load_sweep(write_sweep(tmp_path, GRIDS))
    runs = chosen(sweep, only)
    found = [(c.what.get("model.depth"), c.what["run.seed"]) for c in sweep.cells if c.run in runs]
    assert found == left


def test_a_value_may_be_a_list(tmp_path):
    sweep = load_sweep(write_sweep(tmp_path, "grid: {data.normalise: [dataset, [0.5, 0.5]], run.seed: [0]}\n"))
    runs = chosen(sweep, ["data.normalise=[0.5, 0.5]"])
    assert [cell.what["data.normalise"] for cell in sweep.cells if cell.run in runs] == [[0.5, 0.5]]
    with pytest.raises(UsageError, match=r"there are dataset, \[0\.5, 0\.5\]"):
        chosen(sweep, ["data.normalise=model"])


def test_pretraining_comes_with_what_starts_from_it(tmp_path):
    sweep = load_sweep(write_sweep(tmp_path, "grid: {start.source: [null, patterns], run.seed: [0, 1]}\n"))
    runs = chosen(sweep, ["run.seed=1", "start.source=patterns"])
    (cell,) = [cell for cell in sweep.cells if cell.run in runs and cell.needs]
    assert runs == {cell.run, cell.needs}


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("run.sed=0", r"--only run\.sed=0: unknown key of its grids 'run\.sed': did you mean 'run\.seed'"),
        ("run.seed", r"--only 'run\.seed': expected KEY=VALUES, such as run\.seed=0,1"),
        ("run.seed=7", r"--only run\.seed=7: no cell has run\.seed 7; there are 0, 1, 2"),
        ("run.seed=0,9,8", r"--only run\.seed=0,9,8: no cell has run\.seed 9, 8; there are 0, 1, 2"),
        ("run.seed=[0", r"--only 'run\.seed=\[0'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, only, said):
    with pytest.raises(UsageError, match=said):
        chosen(load_sweep(write_sweep(tmp_path, GRIDS)), [only])


def test_a_missing_value_is_named_as_it_was_written(tmp_path):
    sweep = load_sweep(write_sweep(tmp_path, "grid: {start.source: [null, patterns], run.seed: [0]}\n"))
    assert chosen(sweep, ["start.source=null"])
    with pytest.raises(UsageError, match=r"no cell has start\.source cifar100; there are null, patterns"):
        chosen(sweep, ["start.source=null,cifar100"])


def test_values_that_no_cell_has_together_are_said(tmp_path):
    with pytest.raises(UsageError, match=r"--only train\.epochs=3 run\.seed=1: none of the 7 cells of mine"):
        chosen(load_sweep(write_sweep(tmp_path, GRIDS)), ["train.epochs=3", "run.seed=1"])
