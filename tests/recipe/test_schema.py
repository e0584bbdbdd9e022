"""Identity of a recipe, and what its sections demand of each other."""

import numpy as np
import pytest

from tokenprune.recipe import RecipeError, load_recipe, parse_recipe


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
