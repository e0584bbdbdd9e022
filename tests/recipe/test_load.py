"""A recipe's text to a Recipe: what YAML means, and one line for each thing that is wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenprune.errors import unknown
from tokenprune.pruners import known_pruners
from tokenprune.recipe import Recipe, RecipeError, dump_recipe, load_recipe, parse_recipe


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E-3", 1e-3), ("+1e-3", 1e-3), (".5e-2", 5e-3), ("007", 7.0), ("1.5e-3", 1.5e-3), ("2", 2.0)],
)
def test_numbers_as_people_write_them_are_numbers(text, value):
    assert parse_recipe(f"train: {{learning_rate: {text}}}", "r.yaml").train.learning_rate == value
    assert parse_recipe("{}", "r.yaml", [f"train.learning_rate={text}"]).train.learning_rate == value


def test_a_whole_number_may_be_written_with_an_exponent():
    assert parse_recipe("data: {train_size: 1e4}", "r.yaml").data.train_size == 10_000


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_every_number_survives_being_written_and_read(value):
    recipe = parse_recipe("{}", "r.yaml", [f"train.learning_rate={value!r}"])
    assert math.isclose(recipe.train.learning_rate, value, rel_tol=1e-15)
    assert parse_recipe(dump_recipe(recipe), "r.yaml") == recipe


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train: {epochs: abc}", "r.yaml: train.epochs: found 'abc', must be a valid integer"),
        ("train: {epochs: -1}", "r.yaml: train.epochs: found -1, must be greater than or equal to 0"),
        ("train: {epochs: true}", "r.yaml: train.epochs: found true, must be a valid integer"),
        ("train: {learning_rate: .nan}", "r.yaml: train.learning_rate: found nan, must be a finite number"),
        ("train: {learning_rate: 1e999}", "r.yaml: train.learning_rate: found inf, must be a finite number"),
        ("train: 3", "r.yaml: train: found 3, must be keys of section Train"),
        ("evaluate: {keep: 0.5}", "r.yaml: evaluate.keep: found 0.5, must be a list"),
        ("evaluate: {keep: []}", "r.yaml: evaluate.keep: found [], must have at least 1 item"),
        ("evaluate: {keep: [1.5]}", "r.yaml: evaluate.keep.0: found 1.5, must be less than or equal to 1"),
        ("train:\n  epochs: 3\n  epochs: 4", "r.yaml: line 3: epochs: given twice, first on line 2"),
        ("", "r.yaml: the recipe is empty; `tokenprune ls recipes` shows some to start from"),
        ("# only a comment", "r.yaml: the recipe is empty; `tokenprune ls recipes` shows some to start from"),
        ("hello", "r.yaml: expected sections such as `data:`, found 'hello'"),
        ("train: [1", "r.yaml: line 1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a\0b", "r.yaml: not valid YAML: special characters are not allowed"),
        ("2024-99-99", "r.yaml: expected sections such as `data:`, found '2024-99-99'"),
        ("model: {heads: 5, dim: 192}", "r.yaml: model.heads: 5 does not divide dim 192"),
        (
            "model: {depth: 2}\nevaluate: {site: 'before:2'}",
            "r.yaml: evaluate.site: site 'before:2': block 2 is beyond the model's depth 2 (blocks are 0 to 1)",
        ),
        (
            "data: {source: cifar11}",
            "r.yaml: data.source: unknown data set 'cifar11': did you mean cifar10? "
            "known: patterns, cifar10, cifar100, svhn, a path to an .npz, or a folder of images",
        ),
        (
            "pruner: {name: magnitud}",
            f"r.yaml: pruner.name: {unknown('pruner', 'magnitud', [*known_pruners(), 'none'])}",
        ),
        (
            "modle: {depth: 2}",
            "r.yaml: modle: unknown key: did you mean model? "
            "known here: data, model, start, pruner, train, evaluate, run",
        ),
    ],
)
def test_one_line_says_where_what_and_what_is_allowed(text, line):
    assert problems(text) == [line]


def test_yaml_cannot_run_code(tmp_path):
    text = f"train: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']"
    assert "tag tag:yaml.org,2002:python/object/apply:os.mkdir is not taken" in problems(text)[0]
    assert not (tmp_path / "made").exists()


def test_all_errors_come_at_once():
    found = problems("train: {epochs: -1, epochs: 1, lerning_rate: 1}\nmodel: {depth: x}", "run.sed=3", "nonsense")
    places = ("given twice", "--set 'nonsense'", "train.lerning_rate", "model.depth", "run.sed")
    assert len(found) == len(places)
    assert all(any(place in line for line in found) for place in places)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.epochs", "--set 'train.epochs': expected KEY=VALUE, such as train.epochs=3"),
        ("train..epochs=1", "--set 'train..epochs=1': expected KEY=VALUE, such as train.epochs=3"),
        ("train.epochs.x=1", "--set 'train.epochs.x=1': epochs holds 3, not keys"),
        ("train.epochs=", "--set train.epochs=: found null, must be a valid integer"),
        ("train={epochs: 1, seed: 2}", "--set train={epochs: 1, seed: 2}: train.seed: unknown key: known here: "),
        ("train.epochs={a: 1, a: 2}", "--set 'train.epochs={a: 1, a: 2}': line 1: a: given twice, first on line 1"),
        ("train.epoch=1", "--set train.epoch=1: unknown key: did you mean epochs? known here: epochs, "),
        ("model.dim=191", "r.yaml: model.heads: 3 does not divide dim 191"),
    ],
)
def test_an_override_is_checked_like_the_file(override, line):
    assert problems("train: {epochs: 3}", override)[0].startswith(line)


def test_overrides_win_over_the_file_and_the_last_one_over_the_first():
    recipe = parse_recipe("train: {epochs: 3}", "r.yaml", ["train.epochs=4", "train.epochs=5", "model.depth=2"])
    assert (recipe.train.epochs, recipe.model.depth) == (5, 2)


def test_a_section_without_keys_means_its_defaults():
    assert parse_recipe("train:\nmodel: {depth: 1}\ndata:\n  patterns:\n", "r.yaml") == Recipe()


def test_anchors_and_merges_are_yaml_too():
    recipe = parse_recipe("train: &t {epochs: 3}\nmodel:\n  <<: {depth: 2}\n  dim: 96\n", "r.yaml")
    assert (recipe.train.epochs, recipe.model.depth, recipe.model.dim) == (3, 2, 96)


@pytest.mark.parametrize(("content", "what"), [(b"\x89PNG\xff\xfe", "not a text file"), (b"", "the recipe is empty")])
def test_a_file_that_is_no_recipe(tmp_path, content, what):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=what):
        load_recipe(path)
