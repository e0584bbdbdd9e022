"""What a model starts from: the pretraining's own recipe, whom it is shared with, and what it does to identities."""

import numpy as np
import pytest

from tokenprune.recipe import Recipe, RecipeError, parse_recipe


def recipe(*overrides: str) -> Recipe:
    return parse_recipe("data: {source: cifar10, scene: composite}", "r.yaml", overrides)


def pretraining(*overrides: str) -> Recipe:
    found = recipe(*overrides).pretraining()
    assert found is not None
    return found


@pytest.mark.parametrize("changes", [[], ["start.noise=0.3"], ["start.epochs=3", "start.train_size=5"]])
def test_from_scratch_settings_are_those_of_results_older_than_starts(changes):
    assert (recipe(*changes).setting(), recipe(*changes).family()) == ("009557b0", "b2529e81")
    assert recipe(*changes).pretraining() is None


@pytest.mark.parametrize(
    "change",
    ["start.source=cifar100", "start.noise=0.2", "start.epochs=3", "start.train_size=500", "start.seed=0"],
)
def test_a_start_is_part_of_setting_and_family(change):
    one, other = recipe("start.source=cifar10"), recipe("start.source=cifar10", change)
    assert one.setting() != other.setting() != recipe().setting()
    assert one.family() != other.family() != recipe().family()


def test_patterns_count_only_where_one_starts_from_them():
    def setting(*overrides: str) -> str:
        return recipe(*overrides, "data.patterns.noise=0.4").setting()

    assert setting("start.source=svhn") == recipe("start.source=svhn").setting()
    assert setting("start.source=patterns") != recipe("start.source=patterns").setting()


def test_depths_and_seeds_of_one_start_belong_together():
    same = ["start.source=cifar100", "start.epochs=3"]
    assert recipe(*same, "run.seed=1").setting() == recipe(*same).setting()
    assert recipe(*same, "model.depth=6").setting() != recipe(*same).setting()
    assert recipe(*same, "model.depth=6").family() == recipe(*same).family()


def test_plants_are_left_out_of_cifar100_unless_it_is_said_otherwise():
    assert pretraining("start.source=cifar100").data.exclude == ("plants",)
    assert pretraining("start.source=cifar100", "start.exclude=[]").data.exclude == ()
    assert pretraining("start.source=cifar10").data.exclude == ()
    said, unsaid = (recipe("start.source=cifar100", *more) for more in (["start.exclude=[plants]"], []))
    assert said.setting() == unsaid.setting()


def test_a_pretraining_is_of_the_same_model_on_plain_images_without_a_pruner():
    found = pretraining(
        *["start.source=cifar10", "start.noise=0.2", "start.train_size=500", "start.epochs=3"],
        *["model.depth=3", "train.learning_rate=1e-4", "train.epochs=30", "train.warmup_epochs=6", "run.seed=4"],
        *["data.train_size=100", "data.test_size=70", "data.seed=2", "pruner.name=oracle", "pruner.keep_ratio=0.5"],
    )
    alone = ["data.source=cifar10", "data.scene=plain", "data.noise=0.2", "data.train_size=500", "data.test_size=70"]
    alone += ["data.seed=2", "model.depth=3", "train.learning_rate=1e-4", "train.epochs=3", "train.warmup_epochs=0.6"]
    assert found == recipe(*alone, "run.seed=4")
    assert pretraining("start.source=cifar10", "start.seed=9", "run.seed=4").run.seed == 9


@pytest.mark.parametrize(
    "change",
    [
        ["data.train_size=1000", "train.epochs=24", "train.warmup_epochs=2.4"],  # warm-up has the same share
        ["data.scene=spurious"],
        ["data.noise_tokens=0.5"],
        ["pruner.name=magnitude", "pruner.keep_ratio=0.5"],
    ],
)
def test_cells_that_differ_in_their_own_images_length_or_pruner_share_a_pretraining(change):
    same = "start.source=cifar100"
    assert pretraining(same, *change).setting() == pretraining(same).setting()
    assert recipe(same, *change).setting() != recipe(same).setting()


def test_a_file_to_start_from_counts_by_content_not_by_path(tmp_path):
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        np.savez(tmp_path / f"{name}.npz", np.array([value]))
    a, b, c = (recipe(f"start.source={tmp_path / name}.npz") for name in "abc")
    assert a.setting() == b.setting() != c.setting()


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ([], "scratch"),
        (["start.noise=0.2"], "scratch"),
        (["start.source=cifar100"], "cifar100"),
        (["start.source=cifar10", "start.noise=0.2"], "noisy 0.2"),
        (["start.source=svhn", "start.noise=0.2"], "noisy svhn 0.2"),
        (["start.source=some/where/mine.npz"], "mine"),
    ],
)
def test_labels(changes, label):
    assert recipe(*changes).start.label == label


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (["start.source=cifar101"], ["--set start.source=cifar101: unknown data set 'cifar101': did you mean cifar10"]),
        (["start.noise=2"], ["--set start.noise=2: found 2, must be less than or equal to 1"]),
        (
            ["start.sorce=cifar10"],
            ["--set start.sorce=cifar10: unknown key: did you mean source? known here: source, "],
        ),
        (
            ["start.source=cifar10", "model.checkpoint=mine.safetensors"],
            ["--set start.source=cifar10: model.checkpoint says already what the weights start from; leave one null"],
        ),
        (
            ["start.source=patterns", "start.exclude=[plants]", "pruner.anneal_epochs=11"],
            ["--set pruner.anneal_epochs=11: 11 is more", "--set start.exclude=[plants]: source patterns has no named"],
        ),
        (
            ["data.source=mine.npz", "model.patch_size=5", "start.source=cifar10"],
            ["--set start.source=cifar10: model.patch_size: 5 does not divide the image side 32"],
        ),
    ],
)
def test_a_start_that_cannot_be_is_named_where_it_was_set(changes, lines):
    with pytest.raises(RecipeError) as raised:
        recipe(*changes)
    found = str(raised.value).splitlines()
    assert len(found) == len(lines)
    assert all(line.startswith(expected) for line, expected in zip(found, lines, strict=True))
