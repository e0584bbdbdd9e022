"""Options of `prune` over the recipe's `evaluate` section."""

import pytest

from tokenprune.errors import TokenpruneError, UsageError, unknown
from tokenprune.pruners import BUILT_IN, known_pruners
from tokenprune.recipe import choose_evaluation
from tokenprune.runs import ModelFacts


def model(depth, **facts):
    sizes = {"dim": 192, "heads": 3, "patch_size": 4, "patches": 64, "prefix": 1, "parameters": 1, "flops": 1.0}
    return ModelFacts(name="vit", depth=depth, **sizes, **{"class_token": True, **facts})


@pytest.fixture
def resolved(tmp_path):
    (tmp_path / "recipe.yaml").write_text("{}\n")
    path = tmp_path / "resolved.yaml"
    path.write_text("evaluate: {keep: [1.0, 0.25], seeds: 7, methods: [oracle], site: 'after:0'}\n")
    return path


def test_silent_options_leave_the_recipe_alone(resolved):
    chosen = choose_evaluation(resolved, model(2), keep=None, seeds=None)
    assert (chosen.keep, chosen.seeds, chosen.methods, chosen.site) == ((1.0, 0.25), 7, ("oracle",), "after:0")


def test_options_win(resolved):
    chosen = choose_evaluation(resolved, model(4), methods=["random"], keep="0.5, 0.1", site="before:3", seeds=2)
    assert (chosen.keep, chosen.seeds, chosen.methods, chosen.site) == ((0.5, 0.1), 2, ("random",), "before:3")


def test_all_means_every_pruner_that_needs_no_training(resolved):
    chosen = choose_evaluation(resolved, model(2), methods=["all"]).methods
    assert chosen[:3] == ("magnitude", "random", "oracle")
    assert set(chosen) == {name for name, line in BUILT_IN.items() if not line.endswith("learned)")}


@pytest.mark.parametrize("facts", [{"class_token": True}, {"class_token": True, "pooling": "token"}])
def test_a_site_of_the_recipe_that_nothing_reads_is_refused_and_another_is_not(resolved, facts):
    """The recipe is of a run that stands: only what is to be measured is held against the model."""
    with pytest.raises(UsageError, match=r"site 'after:0': .* use before:0"):
        choose_evaluation(resolved, model(1, **facts))
    assert choose_evaluation(resolved, model(1, **facts), site="before:0").site == "before:0"


@pytest.mark.parametrize("facts", [{"class_token": False}, {"class_token": True, "pooling": "avg"}])
def test_average_pooling_reads_tokens_after_the_last_block(resolved, facts):
    assert choose_evaluation(resolved, model(1, **facts)).site == "after:0"


@pytest.mark.parametrize("text", ["0", "1.5", "abc", "-0.5", "nan", "inf", "", "1.0,0", "[", "a: 1"])
def test_what_is_no_keep_ratio(resolved, text):
    with pytest.raises(UsageError, match=r"^--keep"):
        choose_evaluation(resolved, model(2), keep=text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"methods": ["magnitud"]},
            f"--method: {unknown('pruner', 'magnitud', known_pruners())}",
        ),
        ({"batch_size": 0}, "--batch-size: found 0, must be greater than or equal to 1"),
        ({"site": "before:1"}, "site 'before:1': block 1 is beyond the model's depth 1 (blocks are 0 to 0)"),
        (
            {"site": "nowhere"},
            "--site: site 'nowhere': expected input, before:BLOCKS or after:BLOCKS, "
            "such as input:rollout, before:0 or after:3,6",
        ),
    ],
)
def test_an_option_is_named_as_it_was_typed(resolved, options, message):
    with pytest.raises(UsageError) as caught:
        choose_evaluation(resolved, model(1), **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"modle: 3\n"])
def test_a_damaged_recipe_in_a_run_folder_is_not_the_users_mistake(resolved, content):
    resolved.unlink() if content is None else resolved.write_bytes(content)
    with pytest.raises(TokenpruneError, match="cannot be read as this run's recipe") as caught:
        choose_evaluation(resolved, model(1))
    assert caught.value.exit_status == 1
    assert str(caught.value).count(str(resolved)) == 1
