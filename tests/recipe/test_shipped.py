"""The recipes that travel with the program, and the page that lists every key."""

import pytest

from tokenprune.errors import UsageError
from tokenprune.recipe import Recipe, copy_recipe, dump_recipe, find_recipe, load_recipe, parse_recipe, summary
from tokenprune.recipe import shipped_recipes as shipped
from tokenprune.recipe.document import keys
from tokenprune.theory import experiment as named
from tokenprune.theory.load import experiment_of, load_theory_recipe


def test_the_expected_ones_are_there():
    assert set(shipped()) >= {"quickstart", "shallow", "deep", "paper"}


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_is_valid_and_headed_by_its_command_and_cost(name):
    loaded = load_recipe(name)
    head = loaded.text.partition("\n\n")[0]
    assert f"# Run:  tokenprune train --recipe {name}\n" in head
    assert "# Cost: two cores, " in head
    assert 20 < len(summary(shipped()[name])) <= 68  # a line of `ls recipes` at 80 columns
    assert parse_recipe(dump_recipe(loaded.recipe), name) == loaded.recipe


@pytest.mark.parametrize("source", ["shallow", "shallow.yaml"])
def test_a_recipe_is_found_by_name(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe(source) == shipped()["shallow"]
    (tmp_path / source).write_text("model: {depth: 3}")
    assert load_recipe(source).recipe.model.depth == 3  # a file in hand goes before a shipped one


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown recipe 'shalow': did you mean 'shallow'"):
        find_recipe("shalow")


def test_copying_never_replaces_a_file_unasked(tmp_path):
    copied = copy_recipe("paper", tmp_path)
    assert copied == tmp_path / "paper.yaml"
    assert copied.read_text() == shipped()["paper"].read_text()
    copied.write_text("mine")
    with pytest.raises(UsageError, match="exists already; --force replaces it"):
        copy_recipe("paper", copied)
    assert copied.read_text() == "mine"


def test_every_key_is_documented_with_a_default_that_is_its_default():
    overrides = [f"{key.path}={key.default}" for key in keys() if key.default != ""]
    assert parse_recipe("{}", "defaults", overrides) == Recipe()
    assert all(key.description and key.allowed for key in keys())


@pytest.mark.parametrize("name", shipped("theory"))
def test_a_theory_recipe_is_valid_and_headed_by_its_command(name, tmp_path):
    experiment = experiment_of(f"theory/{name}")
    loaded = load_theory_recipe(f"theory/{name}", experiment)
    assert f"# Run:  tokenprune theory {experiment}" in loaded.text
    assert 20 < len(summary(shipped("theory")[name])) <= 56  # a line of `ls recipes` at 80 columns
    assert parse_recipe(dump_recipe(loaded.recipe), name, kind=named(experiment).recipe) == loaded.recipe
    assert copy_recipe(f"theory/{name}", tmp_path).name == f"{name}.yaml"


def test_an_experiment_that_is_none_offers_the_nearest(tmp_path):
    (tmp_path / "mine.yaml").write_text("experiment: phse\n")
    with pytest.raises(UsageError, match=r"mine\.yaml: experiment: .*phase"):
        experiment_of(tmp_path / "mine.yaml")


def test_a_name_of_another_kind_is_pointed_to():
    with pytest.raises(UsageError, match="recipe 'phase-noise': one of `tokenprune theory`"):
        find_recipe("phase-noise")


def test_recipes_of_other_verbs_are_not_trained():
    with pytest.raises(UsageError, match="a recipe of `tokenprune theory phase`, not of `tokenprune train`"):
        load_recipe("theory/phase-alpha")
    with pytest.raises(UsageError, match="a recipe of `tokenprune sweep`, not of `tokenprune train`"):
        load_recipe("sweeps/quickstart")
