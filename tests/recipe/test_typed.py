"""What a person types is what is meant: no octal, base 60, dates or comments, and paths as they stand."""

import os
from pathlib import Path

import pytest

from tokenprune.recipe import RecipeError, dump_recipe, load_recipe, parse_recipe
from tokenprune.recipe.only import chosen
from tokenprune.recipe.sweep import load_sweep
from tokenprune.recipe.yaml import read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0100", 100),
        ("-010", -10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e4", 10_000),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01 12:00:00", "2024-01-01 12:00:00"),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("=", "="),
        ("true", True),
        ("~", None),
    ],
)
def test_yaml_is_version_1_2(text: str, value: object) -> None:
    (found,) = read_yaml(f"[{text}]", "r.yaml", [])
    assert (found, type(found)) == (value, type(value))


def test_a_leading_zero_is_no_octal(tmp_path: Path) -> None:
    recipe = parse_recipe("model: {depth: 010}", "r.yaml", ["data.train_size=0100", "train.epochs=020"])
    assert (recipe.model.depth, recipe.data.train_size, recipe.train.epochs) == (10, 100, 20)
    (tmp_path / "s.yaml").write_text("base: quickstart\ngrid: {model.depth: [02, 010]}")
    sweep = load_sweep(tmp_path / "s.yaml")
    assert [cell.loaded.recipe.model.depth for cell in sweep.cells] == [2, 10]
    assert chosen(sweep, ["model.depth=010"]) == {sweep.cells[1].run}


@pytest.mark.parametrize(
    "text",
    ["010", "1e3", "12:30", "2024-01-01", "no", "null", "~", "a #b", "a: b", "1_0", "0x1f", "é", "- x", "*a", "''"],
)
def test_text_survives_being_written_and_read(text: str) -> None:
    import yaml

    assert read_yaml(write_yaml({"key": text}), "r.yaml", []) == {"key": text}
    assert yaml.safe_load(write_yaml({"key": text})) == {"key": text}  # version 1.1, as other programs read
    recipe = parse_recipe("{}", "r.yaml", [f"data.background={text}"]) if text not in ("null", "~", "''") else None
    assert recipe is None or recipe.data.background == text
    assert recipe is None or parse_recipe(dump_recipe(recipe), "r.yaml") == recipe


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("DIR #2", "DIR #2"),
        ("12:30", "12:30"),
        ("1e3", "1e3"),
        ("{x", "{x"),
        ("*a", "*a"),
        ("&a", "&a"),
        ("!a", "!a"),
        ("@a", "@a"),
        ("a: b", "a: b"),
        ("'quoted #1'", "quoted #1"),
        ('"tab\\t"', "tab\t"),
        ("'half", "'half"),
        ("it's", "it's"),
    ],
)
def test_the_value_of_a_text_key_is_the_text_as_typed(typed: str, value: str) -> None:
    assert parse_recipe("{}", "r.yaml", [f"data.background={typed}"]).data.background == value
    assert parse_recipe("{}", "r.yaml", [f"model.checkpoint={typed}"]).model.checkpoint == value


def test_null_is_null_where_a_key_may_be_null() -> None:
    text = "model: {checkpoint: x.pt}"
    assert parse_recipe(text, "r.yaml", ["model.checkpoint=null"]).model.checkpoint is None
    assert parse_recipe(text, "r.yaml", ["model.checkpoint='null'"]).model.checkpoint == "null"
    assert parse_recipe(text, "r.yaml", ["data.background=null"]).data.background == "null"


def test_a_comment_is_not_dropped() -> None:
    with pytest.raises(RecipeError, match=r"'# or 4' is a comment to YAML; quote the value"):
        parse_recipe("{}", "r.yaml", ["train.epochs=3 # or 4"])


def test_truth_is_true_or_false() -> None:
    with pytest.raises(RecipeError, match="class_token: found 'no', must be true or false"):
        parse_recipe("model: {class_token: no}", "r.yaml")


def test_paths_of_a_recipe_lie_beside_it_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine/images.npz", "here.npz"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine" / "r.yaml"
    recipe.write_text("data: {source: images.npz}")
    found = load_recipe("mine/r.yaml")
    assert found.recipe.data.source == os.path.join("mine", "images.npz")
    assert found.overrides == ("data.source=mine/images.npz",)  # what a run keeps, to be gone on with from here
    recipe.write_text("data: {source: here.npz}")
    assert load_recipe("mine/r.yaml").recipe.data.source == "here.npz"
    recipe.write_text("data: {source: images.npz}")
    assert load_recipe("mine/r.yaml", ["data.source=here.npz"]).recipe.data.source == "here.npz"


def test_each_key_is_named_once() -> None:
    loaded = load_recipe("quickstart", ["run.seed=1", "model.depth=2", "run.seed=3"])
    assert loaded.overrides == ("model.depth=2", "run.seed=3")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = parse_recipe("data: {source: ~/images.npz, background: ~/behind}\nmodel: {checkpoint: ~/w.pt}", "r.yaml")
    found = (recipe.data.source, recipe.data.background, recipe.model.checkpoint)
    assert found == tuple(str(tmp_path / name) for name in ("images.npz", "behind", "w.pt"))
