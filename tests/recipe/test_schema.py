"""Identity of a recipe, and what its sections demand of each other."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field, create_model

from tokenprune import theory
from tokenprune.recipe import Recipe, RecipeError, load_recipe, parse_recipe
from tokenprune.recipe.schema import RECORDED
from tokenprune.section import YOUNGER, Section, identifying, is_section
from tokenprune.theory.spatial import SpatialRecipe

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def recipe(*overrides: str):
    return parse_recipe("data: {source: cifar10, scene: composite}", "r.yaml", overrides)


@pytest.mark.parametrize(
    "change",
    [
        "run.seed=1",
        "run.device=cpu",
        "run.compile=true",
        "evaluate.keep=[0.5]",
        "evaluate.site=input",
        "run.threads=1",
        "run.observe_every=5",
    ],
)
def test_seed_machine_and_evaluation_are_not_part_of_the_setting(change):
    assert recipe(change).setting() == recipe().setting()


@pytest.mark.parametrize(
    "changes",
    [
        ["train.epochs=11"],
        ["model.dim=96"],
        ["data.seed=1"],
        ["pruner.name=magnitude", "pruner.keep_ratio=0.5"],
        ["train.augment.crop=0"],
    ],
)
def test_science_is_part_of_setting_and_family(changes):
    assert recipe(*changes).setting() != recipe().setting()
    assert recipe(*changes).family() != recipe().family()


@pytest.mark.parametrize(
    "changes", [["pruner.name=magnitude"], ["pruner.name=oracle", "pruner.site=input"], ["pruner.keep_ratio=0.5"]]
)
def test_a_pruner_that_removes_nothing_is_none(changes):
    assert recipe(*changes).setting() == recipe().setting()


def test_depth_makes_another_setting_of_the_same_family():
    assert recipe("model.depth=6").setting() != recipe().setting()
    assert recipe("model.depth=6").family() == recipe().family()


def test_patterns_keys_do_not_matter_where_patterns_are_not_used():
    assert recipe("data.patterns.noise=9").setting() == recipe().setting()


def test_a_file_of_images_counts_by_content_not_by_path(tmp_path):
    def setting(name: str, value: int) -> str:
        np.save(tmp_path / name, np.array([value]))
        path = (tmp_path / f"{name}.npy").rename(tmp_path / f"{name}.npz")
        return parse_recipe(f"data: {{source: {path}}}", "r.yaml").setting()

    assert setting("a", 1) == setting("b", 1) != setting("c", 2)


def test_shallow_and_deep_are_one_family():
    assert load_recipe("shallow").recipe.family() == load_recipe("deep").recipe.family()


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("data.foreground_size=33",), "foreground_size=33: 33 is more than the image side 32"),
        (("data.source=patterns",), "scene: composite needs photographs"),
        (("model.patch_size=5",), "model.patch_size=5: 5 does not divide the image side 32"),
        (("train.warmup_epochs=11",), "train.warmup_epochs=11: 11 is more than epochs 10"),
        (("pruner.anneal_epochs=11",), "pruner.anneal_epochs=11: 11 is more than train.epochs 10"),
        (("pruner.site=after:1",), "pruner.site=after:1: site 'after:1': block 1 is beyond the model's depth 1"),
        (("evaluate.site=after:0",), "site 'after:0': after the attention of the last block .* use before:0"),
        (("pruner.site=after:0", "start.source=cifar10"), "--set pruner.site=after:0: site 'after:0': after the"),
        (("data.patterns.relevant=0.8", "data.patterns.confusion=0.5"), "relevant \\+ confusion is 1.3"),
        (("data.patterns.count=49",), "count 49 exceeds the 48 dimensions of a patch"),
        (("data.patterns.count=9",), "count 9 is less than classes 10"),
        (("data.patterns.patch_size=5",), "patch_size 5 does not divide image_size 32"),
    ],
)
def test_keys_that_contradict_each_other(overrides, what):
    with pytest.raises(RecipeError, match=what):
        recipe(*overrides)


@pytest.mark.parametrize("folder", [path.parent.name for path in sorted(RESULTS.glob("*/runs.jsonl.gz"))])
def test_committed_runs_keep_their_names(folder):
    """A key that is added without YOUNGER gives all of them other settings."""
    runs = map(json.loads, gzip.decompress((RESULTS / folder / "runs.jsonl.gz").read_bytes()).splitlines())
    settings = {run["run"].rsplit("-", 2)[1]: run for run in runs if "run" in run}
    for setting, run in list(settings.items())[::10]:
        resolved = run["files"]["resolved.yaml"]
        experiment = resolved.partition("experiment: ")[2].partition("\n")[0]
        kind = theory.experiment(experiment).recipe if experiment else Recipe
        found = parse_recipe(resolved, run["run"], kind=kind, context=RECORDED)
        if isinstance(found, Recipe) and found.model.checkpoint is not None:
            continue  # its bytes, which are not committed, are part of the name
        assert found.setting() == setting


def grown(kind: type[Section], sections: list[str], name: str = "") -> type[Section]:
    """The same with one more key in every section, and one more section."""
    extra: dict = {"new_key": (int, Field(0, json_schema_extra=YOUNGER))}
    for key, field in kind.model_fields.items():
        if is_section(kind, key):
            inner = grown(field.annotation, sections, f"{name}{key}.")
            extra[key] = (inner, Field(default_factory=inner))
    sections.append(name)
    return create_model(kind.__name__, __base__=kind, **extra)


@pytest.mark.parametrize("kind", [Recipe, SpatialRecipe])
def test_a_younger_key_counts_only_where_it_is_not_its_default(kind):
    sections: list[str] = []
    base = {} if kind is Recipe else {"experiment": kind.model_fields["experiment"].annotation.__args__[0]}
    new = grown(kind, sections)
    tree = kind.model_validate(base).model_dump(mode="json")
    first = identifying(kind.model_validate(base), dict(tree))
    assert identifying(new.model_validate(base), new.model_validate(base).model_dump(mode="json")) == first
    for section in sections:
        changed: dict = {"new_key": 1}
        for key in reversed(section.split(".")[:-1]):
            changed = {key: changed}
        other = new.model_validate(base | changed)
        assert identifying(other, other.model_dump(mode="json")) != first
