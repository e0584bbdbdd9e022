"""From a sweep's file to its cells: every combination once, each an ordinary recipe; all errors at once."""

import re

import pytest
from sweep_factories import TINY, write_sweep

from tokenprune.errors import UsageError
from tokenprune.identity import digest
from tokenprune.pruners.registry import untrained_pruners
from tokenprune.recipe import Model, RecipeError, parse_recipe, shipped_recipes, summary
from tokenprune.recipe.sweep import load_sweep, scales_of
from tokenprune.runs import run_name


def whats(sweep):
    return [tuple(cell.what.values()) for cell in sweep.cells]


def test_cells_are_the_product_and_each_further_grid_is_crossed_by_itself(tmp_path):
    text = "grid: {model.depth: [1, 2], run.seed: [0, 1]}\nalso:\n  - {train.epochs: [3], run.seed: [5, 6]}\n"
    sweep = load_sweep(write_sweep(tmp_path, text))
    assert whats(sweep) == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 5), (3, 6)]
    assert [cell.label for cell in sweep.cells][::5] == ["depth=1 seed=0", "epochs=3 seed=6"]


def test_keys_that_vary_together_are_as_many_cells_as_they_have_values(tmp_path):
    together = load_sweep(
        write_sweep(tmp_path, "grid: {'model.depth, train.epochs': [[1, 3], [2, 5]], run.seed: [0, 1]}")
    )
    apart = "grid: {model.depth: [1], train.epochs: [3], run.seed: [0, 1]}\n"
    apart += "also: [{model.depth: [2], train.epochs: [5], run.seed: [0, 1]}]"
    assert whats(together) == [(1, 3, 0), (1, 3, 1), (2, 5, 0), (2, 5, 1)]
    assert [cell.run for cell in together.cells] == [
        cell.run for cell in load_sweep(write_sweep(tmp_path, apart)).cells
    ]


def test_a_cell_is_the_recipe_that_train_makes_of_its_overrides(tmp_path):
    text = "set: {train.learning_rate: 0.00001, pruner.name: magnitude}\ngrid: {model.layer_scale: [null, 1e-4]}\n"
    for cell in load_sweep(write_sweep(tmp_path, text), ["train.epochs=1"]).cells:
        alone = parse_recipe(TINY, "tiny", cell.loaded.overrides)
        assert cell.loaded.recipe == alone
        assert cell.run == run_name("tiny", alone.setting(), alone.run.seed)
        assert alone.train.epochs == 1
        assert alone.train.learning_rate == 1e-5


def test_labels_name_what_varies_in_full_where_a_word_is_not_enough(tmp_path):
    text = "grid: {data.seed: [0, 1], run.seed: [0, 1], model.depth: [2]}\n"
    assert load_sweep(write_sweep(tmp_path, text)).cells[1].label == "data.seed=0 run.seed=1"


def test_measurements_are_completed_by_the_cells_own_evaluate(tmp_path):
    text = "grid: {evaluate.seeds: [2], run.seed: [0]}\nprune:\n  - {methods: [all], keep: [0.5]}\n  - {}\n"
    (cell,) = load_sweep(write_sweep(tmp_path, text)).cells
    first, second = cell.prune
    assert (first.methods, first.keep, first.seeds) == (tuple(untrained_pruners()), (0.5,), 2)
    assert (second.methods, second.keep) == (("magnitude",), (1.0, 0.5))


def test_identity_is_of_what_runs_and_is_measured_not_of_words(tmp_path):
    def identity(text):
        return load_sweep(write_sweep(tmp_path, text)).identity

    plain = identity("grid: {run.seed: [0, 1]}\nprune: [{keep: [0.5]}]\n")
    assert plain == identity("# said otherwise\ngrid:\n  run.seed: [0, 1]\nprune:\n- keep: [0.5]\n")
    assert plain != identity("grid: {run.seed: [0, 2]}\nprune: [{keep: [0.5]}]\n")
    assert plain != identity("grid: {run.seed: [0, 1]}\nprune: [{keep: [0.4]}]\n")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["grid: empty: name at least one key of the recipe with its values"]),
        ("grid: {}", ["grid: empty: "]),
        ("grid: {model.depth: []}", ["grid.model.depth: found [], must have at least 1 item"]),
        ("grid: {model.depth: 1}", ["grid.model.depth: found 1, must be a list"]),
        ("grid: {run.seed: [0]}\nalso: [{}]", ["also.0: empty"]),
        ("grid: {model.dept: [1, 2]}", ["grid.model.dept: unknown key: did you mean depth? known here: depth, dim"]),
        ("grid: {modle.depth: [1]}", ["grid.modle.depth: modle: unknown key: did you mean model? known here: data"]),
        ("grid: {depth: [1]}", ["grid.depth: expected a dotted key of the recipe, such as model.depth, found 'depth'"]),
        ("set: {model.dept: 1}\ngrid: {run.seed: [0]}", ["set.model.dept: unknown key: did you mean depth?"]),
        ("set: {run.seed: 1}\ngrid: {run.seed: [0]}", ["grid.run.seed: also in set, which would not change anything"]),
        (
            "grid: {model.depth: [0, x, 1], train.epochs: [-1]}",
            [
                "grid.model.depth: found 0, must be greater than or equal to 1",
                "grid.train.epochs: found -1, must be greater than or equal to 0",
                "grid.model.depth: found 'x', must be a valid integer",
            ],
        ),
        (
            "grid: {model.heads: [3, 5], run.seed: [0, 1]}",
            ["grid.model.heads: 5 does not divide dim 12 (cell model.heads=5 run.seed=0 and 1 more)"],
        ),
        (
            "grid: {model.depth: [1, 2]}\nprune: [{site: 'before:1'}]",
            ["prune.0.site: site 'before:1': block 1 is beyond the model's depth 1 (blocks are 0 to 0) (cell "],
        ),
        ("grid: {run.seed: [0]}\nprune: [{methods: [magnitud]}]", ["prune.0.methods: unknown pruner 'magnitud': did"]),
        ("grid: {run.seed: [0]}\nprune: [{keep: [2]}]", ["prune.0.keep.0: found 2, must be less than or equal to 1"]),
        ("grid: {run.seed: [0]}\nprune: [{methods: []}]", ["prune.0.methods: found [], must have at least 1 item"]),
        (
            "set: {model.name: vit_tiny_patch16_224}\ngrid: {model.depth: [1, 2]}",
            ["grid.model.depth: no effect: model.name: vit_tiny_patch16_224 has its own sizes"],
        ),
        (
            "grid: {'model.depth, run.seed': [[1, 0], [1]]}",
            ["grid.model.depth, run.seed: each value must be a list of 2"],
        ),
        ("grid: {'run.seed, model.depth': [[1, 1]], run.seed: [0]}", ["grid: run.seed is there twice"]),
        ("gird: {run.seed: [0]}", ["gird: unknown key: did you mean grid? known here: base, set, grid, also, prune"]),
        ("grid: {run.seed: [0]}\ngrid: {run.seed: [1]}", ["line 3: grid: given twice, first on line 2"]),
    ],
)
def test_everything_wrong_is_said_with_file_and_place(text, lines, tmp_path):
    path = write_sweep(tmp_path, text)
    with pytest.raises(RecipeError) as raised:
        load_sweep(path)
    found = str(raised.value).splitlines()
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("grid: {run.seed: [0, 1, 0]}", ("run.seed=0", "run.seed=0")),
        ("grid: {run.seed: [0]}\nalso: [{run.seed: [1, 0]}]", ("run.seed=0", "run.seed=0")),
        ("grid: {run.threads: [1, 2]}", ("run.threads=1", "run.threads=2")),  # no part of what is trained
        (
            "grid: {pruner.name: [none, random], pruner.keep_ratio: [0.5, 0.7]}",  # none keeps all at any ratio
            ("pruner.name=none pruner.keep_ratio=0.5", "pruner.name=none pruner.keep_ratio=0.7"),
        ),
    ],
)
def test_two_cells_with_one_identity_are_refused(text, names, tmp_path):
    path = write_sweep(tmp_path, text)
    with pytest.raises(RecipeError) as raised:
        load_sweep(path)
    assert str(raised.value).startswith(f"{path}: cells: {names[0]} and {names[1]} train the same model with the same")


def test_an_override_is_named_as_it_was_typed(tmp_path):
    path = write_sweep(tmp_path, "grid: {run.seed: [0, 1]}")
    with pytest.raises(RecipeError) as raised:
        load_sweep(path, ["train.epochs=-1", "model.dept=3"])
    assert str(raised.value).splitlines() == [
        f"--set model.dept=3: unknown key: did you mean depth? known here: {', '.join(Model.model_fields)}",
        "--set train.epochs=-1: found -1, must be greater than or equal to 0",
    ]


def test_a_base_that_is_missing_wrong_or_a_sweep(tmp_path):
    path = write_sweep(tmp_path, "grid: {run.seed: [0]}")
    path.write_text("base: quickstrat\ngrid: {run.seed: [0]}")
    with pytest.raises(UsageError, match=r"mine\.yaml: base: unknown recipe 'quickstrat': did you mean 'quickstart'"):
        load_sweep(path)
    write_sweep(tmp_path, "grid: {run.seed: [0]}", "inner")
    path.write_text("base: inner.yaml\ngrid: {run.seed: [0]}")
    with pytest.raises(UsageError, match=r"inner\.yaml: a sweep itself"):
        load_sweep(path)
    path.write_text("base: tiny.yaml\ngrid: {run.seed: [0]}")
    (tmp_path / "tiny.yaml").write_text("model: {depth: x}")
    with pytest.raises(UsageError, match=r"tiny\.yaml: model\.depth: found 'x', must be a valid integer"):
        load_sweep(path)


#: Number of cells, identity, and digest of all there is to a cell, of sweeps that had a file for each scale once: what
#: was run by that file, under that name, is found and continued.
RECORDED = {
    "magnitude": (18, "7443e56a", "efd7de68"),
    "magnitude-cpu": (20, "e0de8107", "ef54a017"),
    "noise": (144, "637e0811", "5936e075"),
    "noise-cpu": (80, "bd58806b", "5bf9bd2b"),
    "samples": (270, "f7105803", "2b8d404a"),
    "samples-cpu": (180, "e80a3297", "d8c8e43e"),
    "sparsify": (396, "ee7e6744", "bb5477fe"),
    "sparsify-cpu": (140, "ad76dabb", "813004da"),
    "spurious": (162, "10b13a1d", "e6f5f695"),
    "spurious-cpu": (100, "c0c7c2e0", "081378ea"),
    "starts": (162, "66474d31", "eea4f1f1"),
    "starts-cpu": (140, "83a0eef4", "0da28051"),
}
SHIPPED = [(name, scale) for name in shipped_recipes("sweeps") for scale in (None, *scales_of(name))]


def everything(cell):
    recipe = cell.loaded.recipe.model_dump(mode="json", exclude_unset=True)
    prune = [spec.model_dump(mode="json", exclude=None if spec.r else {"r"}) for spec in cell.prune]
    loaded = [cell.loaded.name, list(cell.loaded.overrides), recipe]
    return [cell.run, cell.label, dict(cell.what), cell.needs, *loaded, prune]


@pytest.mark.parametrize(("name", "scale"), SHIPPED)
def test_a_shipped_sweep_is_valid_headed_by_its_command_and_what_it_was(name, scale):
    sweep = load_sweep(name, scale=scale)
    option = f" --scale {scale}" if scale else ""
    assert re.search(rf"^#( Run: )? +tokenprune sweep {name}{option}(  .*)?$", sweep.text, re.MULTILINE)
    assert 20 < len(summary(sweep.path)) <= 56  # a line of `ls recipes` at 80 columns
    assert not scale or re.search(rf"--scale .*\b{scale}\b", summary(sweep.path))
    if sweep.name in RECORDED:
        assert (len(sweep.cells), sweep.identity, digest([*map(everything, sweep.cells)])) == RECORDED[sweep.name]
    if scale:
        assert sweep.name == f"{name}-{scale}"


def test_a_scale_replaces_whole_keys_of_its_sweep_and_leaves_others(tmp_path):
    text = """
set: {model.dim: 24, train.epochs: 3}
grid: {model.depth: [1, 2], run.seed: [0]}
prune: [{keep: [0.5]}]
scales:
  small: {set: {train.epochs: 1}, prune: null}
  twice: {also: [{run.seed: [1]}], prune: []}
"""
    path = write_sweep(tmp_path, text)
    full, small, twice = (load_sweep(path, scale=scale) for scale in (None, "small", "twice"))
    assert [sweep.name for sweep in (full, small, twice)] == ["mine", "mine-small", "mine-twice"]
    assert whats(full) == whats(small) == whats(twice)[:2]
    dims = [
        [(cell.loaded.recipe.model.dim, cell.loaded.recipe.train.epochs) for cell in s.cells] for s in (full, small)
    ]
    assert dims == [[(24, 3)] * 2, [(12, 1)] * 2]
    assert [len(sweep.cells[0].prune) for sweep in (full, small, twice)] == [1, 1, 0]
    assert whats(twice) == [(1, 0), (2, 0), (1,)]


def test_what_is_wrong_with_a_scale_is_one_line_with_its_name(tmp_path):
    path = write_sweep(tmp_path, "grid: {run.seed: [0]}\nscales: {cpu: {set: {train.epochs: -1}}}\n")
    load_sweep(path)
    with pytest.raises(RecipeError, match=r"^\S+mine\.yaml: scale cpu: set\.train\.epochs: found -1, must be"):
        load_sweep(path, scale="cpu")
    with pytest.raises(UsageError, match=r"^--scale of mine: unknown scale 'gpu': did you mean 'cpu'\? known: cpu; "):
        load_sweep(path, scale="gpu")
    with pytest.raises(UsageError, match=r"^unknown sweep 'quickstart-cpu'"):
        load_sweep("quickstart-cpu")
    write_sweep(tmp_path, "grid: {run.seed: [0]}\nscales: {../cpu: {}}\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml: scales\.\.\./cpu\.\[key\]: found '\.\./cpu', "):
        load_sweep(path)


def test_a_measurement_for_some_depths_leaves_the_others_alone(tmp_path):
    text = "grid: {model.depth: [1, 2]}\nprune:\n  - {}\n  - {site: 'before:1', depths: [2]}\n"
    shallow, deep = load_sweep(write_sweep(tmp_path, text)).cells
    assert [spec.site for spec in shallow.prune] == ["before:0"]
    assert [spec.site for spec in deep.prune] == ["before:0", "before:1"]


def test_a_pruner_at_ratio_one_shares_the_cell_of_no_pruner(tmp_path):
    text = "also: [{pruner.name: [oracle], pruner.keep_ratio: [1.0]}, {pruner.name: [none]}]\n"
    with pytest.raises(RecipeError, match="train the same model"):
        load_sweep(write_sweep(tmp_path, text))
