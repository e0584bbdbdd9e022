"""Options of `prune` over the recipe's `evaluate` section."""

import pytest

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import choose_evaluation, ratios


@pytest.fixture
def resolved(tmp_path):
    (tmp_path / "recipe.yaml").write_text("{}\n")
    path = tmp_path / "resolved.yaml"
    path.write_text("evaluate: {keep: [1.0, 0.25], seeds: 7, methods: [oracle], site: 'after:0'}\n")
    return path


def test_silent_options_leave_the_recipe_alone(resolved):
    chosen = choose_evaluation(resolved, 1, keep=None, seeds=None)
    assert (chosen.keep, chosen.seeds, chosen.methods, chosen.site) == ((1.0, 0.25), 7, ("oracle",), "after:0")


def test_options_win(resolved):
    chosen = choose_evaluation(resolved, 4, methods=["random"], keep="0.5, 0.1", site="before:3", seeds=2)
    assert (chosen.keep, chosen.seeds, chosen.methods, chosen.site) == ((0.5, 0.1), 2, ("random",), "before:3")


def test_all_means_every_pruner(resolved):
    assert choose_evaluation(resolved, 1, methods=["all"]).methods == ("magnitude", "random", "oracle")


@pytest.mark.parametrize("text", ["0", "1.5", "abc", "-0.5", "nan", "inf", "", "0.5,", "1.0,0"])
def test_what_is_no_keep_ratio(text):
    with pytest.raises(UsageError, match="is no keep ratio; give numbers above 0 and at most 1"):
        ratios(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"methods": ["magnitud"]},
            "--method: unknown pruner 'magnitud': did you mean 'magnitude'? known: magnitude, oracle, random",
        ),
        ({"input_scores": "first"}, "--input-scores: found 'first', must be 'last', 'mean' or 'rollout'"),
        ({"batch_size": 0}, "--batch-size: found 0, must be greater than or equal to 1"),
        ({"site": "before:1"}, "site 'before:1': block 1 is beyond the model's depth 1 (blocks are 0 to 0)"),
        (
            {"site": "nowhere"},
            "--site: site 'nowhere': expected input, before:BLOCKS or after:BLOCKS, such as before:0 or after:3,6,9",
        ),
    ],
)
def test_an_option_is_named_as_it_was_typed(resolved, options, message):
    with pytest.raises(UsageError) as caught:
        choose_evaluation(resolved, 1, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"modle: 3\n"])
def test_a_damaged_recipe_in_a_run_folder_is_not_the_users_mistake(resolved, content):
    resolved.unlink() if content is None else resolved.write_bytes(content)
    with pytest.raises(TokenpruneError, match="cannot be read as this run's recipe") as caught:
        choose_evaluation(resolved, 1)
    assert caught.value.exit_status == 1
    assert str(caught.value).count(str(resolved)) == 1
