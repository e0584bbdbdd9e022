"""Reading a recipe of the theory laboratory."""

from collections.abc import Sequence
from pathlib import Path

from tokenprune.errors import shortened, unknown
from tokenprune.recipe.load import Loaded, find_recipe, once, parse_recipe, read_text, recipe_name
from tokenprune.recipe.yaml import RecipeError, read_yaml
from tokenprune.theory import EXPERIMENTS, experiment
from tokenprune.theory.schema import TheoryRecipe


def experiment_of(source: str | Path) -> str | None:
    """The experiment that a recipe is for; None for a recipe of `tokenprune train`. Raises UsageError, RecipeError."""
    path = find_recipe(source)
    tree = read_yaml(read_text(path), str(path), [])
    found = tree.get("experiment") if isinstance(tree, dict) else None
    if found is not None and str(found) not in EXPERIMENTS:
        raise RecipeError(f"{path}: experiment: {unknown('experiment', str(found), EXPERIMENTS)}")
    return found


def load_theory_recipe(source: str | Path, name: str, overrides: Sequence[str] = ()) -> Loaded[TheoryRecipe]:
    """A recipe of the theory laboratory, for the experiment of that name. Raises UsageError, RecipeError."""
    path = find_recipe(source, "theory")
    text = read_text(path)
    tree = read_yaml(text, str(path), [])
    found = tree.get("experiment", name) if isinstance(tree, dict) else name
    if found != name:
        raise RecipeError(
            f"{path}: a recipe of `tokenprune theory {shortened(str(found))}`, not of `tokenprune theory {name}`"
        )
    overrides = once(overrides)
    return Loaded(parse_recipe(text, str(path), overrides, experiment(name).recipe), recipe_name(path), text, overrides)
