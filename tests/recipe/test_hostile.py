"""Recipes that nobody means: a clear error of bounded length, never a traceback, never a wait."""

import os
from pathlib import Path

import pytest

from tokenprune.errors import UsageError
from tokenprune.recipe import RecipeError, find_recipe, load_recipe, parse_recipe
from tokenprune.recipe.sweep import load_sweep
from tokenprune.theory.load import experiment_of

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(12)
)


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", overrides)
    message = str(caught.value)
    assert len(message) < 3000
    return message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BOMB, "aliases expand to more than 100,000 values"),
        ("pruner: {options: &o {a: *o}}", "an alias is inside the value it refers to"),
        ("pruner: {options: &o {a: [1, *o]}}", "an alias is inside the value it refers to"),
        ("[" * 100_000, "nested more than 50 deep"),
        ("a: " * 3000, "not valid YAML"),
        ("pruner: {options: " + "{a: " * 60 + "1" + "}" * 60 + "}", "nested more than 50 deep"),
        ("model: {class_token: !!bool maybe}", "'maybe' is not what its tag bool says"),
        ("train: {epochs: !!int x}", "'x' is not what its tag int says"),
        ("train: {epochs: !!float 1_0}", "'1_0' is not what its tag float says"),
        ("train: !!set {a, b}", "tag tag:yaml.org,2002:set is not taken"),
        ("train: {epochs: !!binary aGk=}", "is not taken"),
        ("train: {epochs: " + "9" * 300 + "}", "a number of 300 digits"),
        ("train: {epochs: " + "9" * 5000 + "}", "a number of 5000 digits"),
        ("train: {learning_rate: 1e999}", "must be a finite number"),
        ("train: {epochs: 1e300}", "must be a valid integer"),
        ("pruner: {options: {a: .nan}}", "pruner.options: NaN and infinity are not taken"),
        ("1: 2", "a key must be a word"),
        ("pruner: {options: {1: 2}}", "a key must be a word"),
        ("{[a]: b}", "a key must be a word"),
        ('data: {background: "\\ud800"}', "half of a character"),
        ("a\0b", "special characters are not allowed"),
        (f"pruner: {{name: {'x' * 2**20}}}", "unknown pruner 'xxx"),
        (f"? {'x' * 2**20}\n: 1", "unknown key"),
        (f"data: {{source: {'x' * 2**20}}}", "unknown data set"),
        (f"evaluate: {{site: {'x' * 2**20}}}", "expected input, before:BLOCKS"),
        ("evaluate: {site: 'before:" + "9" * 5000 + "'}", "evaluate.site"),
        (f"experiment: {{a: {'x' * 1000}}}", "unknown key"),
        ("- " * 500, "nested more than 50 deep"),
        ("a:\n" + "- 1\n" * 20_000, "more than 15,000 keys and values"),
        (f"{'x' * 2**20}: 1", "mapping values are not allowed here"),
        (f"a: {'x' * 2000}\n b: 1", "mapping values are not allowed here"),
        ("data: {source: 010}", "data.source: found 10, must be a valid string"),
        ("data: {source: null}", "data.source: found null, must be a valid string"),
        ("a: &a {source: 0x1F}\ndata: {<<: *a}", "data.source: found 31, must be a valid string"),
        ("evaluate: {keep: [1.0, 1.50]}", "evaluate.keep.1: found 1.5, must be less than or equal to 1"),
        ("train: {epochs: 1e400}", "train.epochs: found inf, must be a valid integer"),
    ],
)
def test_a_hostile_recipe_is_refused_in_a_line(text: str, what: str) -> None:
    assert what in refused(text)


@pytest.mark.parametrize(
    "override",
    [
        "pruner.options=" + "[" * 5000,
        "train.epochs=" + "9" * 5000,
        "x" * 2**20 + "=1",
        "train.epochs=\udcff",
        "data.background=\udcff",
        "train.epochs=!!python/name:os.system x",
        "pruner.options=&a [*a]",
        "train=&a {epochs: *a}",
        "train.epochs=1e400",
        f"train.epochs={'1' * 300}",
        f"train.epochs={10**4000}",
        f"data.source={'1' * 300}",
        "data.background=a\nb",
        "train.epochs=1\r2",
        "train.epochs=\u2028",
    ],
)
def test_a_hostile_override_is_refused_in_a_line(override: str) -> None:
    message = refused("{}", override)
    assert message.count("\n") == 0
    assert len(message) < 300


def test_the_value_of_an_unknown_key_is_not_looked_at() -> None:
    assert refused("{}", "run.note=#1").startswith("--set run.note=#1: unknown key: known here: seed, ")


def test_of_many_problems_the_first_are_shown() -> None:
    lines = refused("".join(f"unknown_{i}: 1\n" for i in range(5000))).splitlines()
    assert len(lines) == 21
    assert lines[19].startswith("r.yaml: unknown_19: unknown key")
    assert lines[20] == "r.yaml: and 4,980 more"
    assert refused("a: 1\n" * 5000).splitlines()[20] == "r.yaml: and 4,979 more"


def test_a_sweep_with_many_problems_shows_the_first(tmp_path: Path) -> None:
    keys = "".join(f"  run.x{i}: [1]\n" for i in range(50))
    (tmp_path / "s.yaml").write_text(f"base: quickstart\ngrid:\n{keys}")
    with pytest.raises(RecipeError) as caught:
        load_sweep(tmp_path / "s.yaml")
    assert str(caught.value).count("\n") <= 20


def test_an_experiment_that_is_no_word(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("experiment: {a: b}")
    with pytest.raises(RecipeError, match="unknown experiment"):
        experiment_of(recipe)
    with pytest.raises(RecipeError):
        load_recipe(recipe)


@pytest.mark.parametrize(
    "grid",
    [
        "{run.seed: [2024-01-01]}",
        "{run.seed: !!set {1, 2}}",
        "{run.seed: [{a: b}, [1]]}",
        "{run.seed: [.nan]}",
        "{run.seed: [" + "9" * 300 + "]}",
        "{run.seed: *x}",
        "{1: [2]}",
        "{run.seed: [[[[]]]]}",
        "{run: [{seed: x}]}",
        "{'': [1]}",
        "{run.seed: 1}",
    ],
)
def test_a_hostile_grid(tmp_path: Path, grid: str) -> None:
    (tmp_path / "s.yaml").write_text(f"base: quickstart\ngrid: {grid}")
    with pytest.raises(UsageError) as caught:
        load_sweep(tmp_path / "s.yaml")
    assert len(str(caught.value)) < 3000


def test_a_grid_is_counted_before_its_cells_are_made(tmp_path: Path) -> None:
    keys = ("run.seed", "data.seed", "model.depth", "train.epochs", "data.train_size")
    lines = "".join(f"  {key}: [{', '.join(map(str, range(1, 101)))}]\n" for key in keys)
    (tmp_path / "s.yaml").write_text(f"base: quickstart\ngrid:\n{lines}")
    with pytest.raises(RecipeError, match="10,000,000,000 cells; a sweep has at most 10,000"):
        load_sweep(tmp_path / "s.yaml")


def test_only_regular_files_of_a_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for source in (tmp_path / "pipe.yaml", Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(UsageError, match="not a regular file"):
            find_recipe(source)
    large = tmp_path / "large.yaml"
    with large.open("wb") as handle:
        handle.truncate(2**40)
    with pytest.raises(RecipeError, match="larger than 256 KiB"):
        load_recipe(large)
    with pytest.raises(UsageError, match="is a folder"):
        find_recipe(tmp_path)


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"r\xff.yaml")
    with open(name, "wb") as handle:
        handle.write(b"{}")
    with pytest.raises(UsageError, match="the name is not text in UTF-8"):
        load_recipe(os.fsdecode(name))
