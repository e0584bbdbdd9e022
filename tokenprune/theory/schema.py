"""Keys that all recipes of the theory laboratory share, and reading a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tokenprune.errors import shortened, unknown
from tokenprune.identity import digest
from tokenprune.recipe.load import Loaded, find_recipe, once, parse_recipe, read_text, recipe_name
from tokenprune.recipe.section import Section, identifying
from tokenprune.recipe.yaml import RecipeError, read_yaml
from tokenprune.theory import EXPERIMENTS, experiment

Count = Annotated[int, Field(ge=1)]


class Machine(Section):
    """Seed and machine; only the seed affects results."""

    seed: int = Field(0, ge=0, description="samples, initial weights and signs of all trials")
    device: Literal["auto", "cuda", "mps", "cpu"] = Field("auto", description="auto is cuda where there is one")
    threads: int | None = Field(None, ge=1, description="chunks trained at once on a CPU, null for a chunk a core")
    memory: int = Field(256, ge=1, description="MiB that a chunk in work may take, one to a core; it shrinks to fit")


class Trials(Section):
    """Independent repetitions, and their test samples."""

    trials: int = Field(20, ge=1, description="models of a cell: own samples, signs and initial weights each")
    test_samples: int = Field(200, ge=1, description="fresh samples each model is tested on")


class TheoryRecipe(Section):
    """What all experiments of the theory laboratory share."""

    experiment: str
    run: Machine = Field(default_factory=lambda: Machine())

    def science(self) -> dict[str, Any]:
        """The keys that decide results, without the seed."""
        return identifying(self, self.model_dump(mode="json", exclude={"run"}))

    def setting(self) -> str:
        """Eight hex digits that runs share which differ only by seed."""
        return digest(self.science())


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
