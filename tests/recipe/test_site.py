"""Pruning sites and how many tokens a ratio keeps."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenprune.errors import UsageError
from tokenprune.identity import curve_id, digest
from tokenprune.recipe import PrunerSection, Recipe, Schedule, dump_recipe, kept, parse_recipe


@pytest.mark.parametrize(
    ("text", "cursors"),
    [
        ("input", (0,)),
        ("input:rollout", (0,)),
        ("before:0", (0,)),
        ("after:0", (1,)),
        ("before:3", (6,)),
        ("after:3,6,9", (7, 13, 19)),
    ],
)
def test_a_site_reads_back_as_written(text, cursors):
    schedule = Schedule.parse(text)
    assert str(schedule) == text
    assert schedule.cursors == cursors


def test_the_scores_of_site_input():
    assert [Schedule.parse(f"input{text}").scores for text in ("", ":last", ":mean")] == ["last", "last", "mean"]
    assert str(Schedule.parse("input:last")) == "input"


def test_curves_keep_the_name_that_they_had_when_scores_were_a_parameter():
    known = [{}, [1.0, 0.5]], [3, 0, "fp32"]
    for site, older in (("input", "last"), ("input:last", "last"), ("input:rollout", "rollout")):
        assert curve_id(*known[0], site, *known[1]) == digest([*known[0], "input", *known[1], older])
    assert curve_id(*known[0], "before:0", *known[1]) == digest([*known[0], "before:0", *known[1]])


@pytest.mark.parametrize("scores", ["last", "mean", "rollout"])
def test_recipes_with_the_older_key_are_read_written_and_named_as_they_were(scores):
    older = {"name": "magnitude", "keep_ratio": 0.5, "site": "input", "input_scores": scores}
    given = {"pruner": older, "evaluate": {"site": "before:0", "input_scores": "mean"}}
    recipe = Recipe.model_validate(given)
    assert (recipe.pruner.site, recipe.evaluate.site) == (str(Schedule("input", scores=scores)), "before:0")
    assert recipe.model_dump()["pruner"] == PrunerSection().model_dump() | older
    assert recipe.science()["pruner"]["input_scores"] == scores
    assert parse_recipe(dump_recipe(recipe), "again", ()) == recipe


@pytest.mark.parametrize(
    "text",
    ["", "before", "before:", "between:1", "before:a", "before:-1", "after:1,,2", "input:0", "after:²", "before:1.0"],
)
def test_what_is_no_site(text):
    with pytest.raises(UsageError, match="expected input, before:BLOCKS or after:BLOCKS"):
        Schedule.parse(text)


@pytest.mark.parametrize("text", ["after:3,3", "after:6,3"])
def test_blocks_increase(text):
    with pytest.raises(UsageError, match="blocks must increase"):
        Schedule.parse(text)


def test_a_block_beyond_the_model():
    Schedule.parse("after:0,11").check(12)
    with pytest.raises(UsageError, match=r"block 12 is beyond the model's depth 12 \(blocks are 0 to 11\)"):
        Schedule.parse("after:0,12").check(12)


@pytest.mark.parametrize(
    ("site", "depth", "works"),
    [("after:0", 1, "before:0"), ("after:11", 12, "before:11"), ("after:3,11", 12, "after:3")],
)
def test_with_a_class_token_nothing_reads_patch_tokens_after_the_last_attention(site, depth, works):
    with pytest.raises(UsageError, match=rf"after the attention of the last block .* use {works}$"):
        Schedule.parse(site).check(depth, class_pooled=True)
    Schedule.parse(works).check(depth, class_pooled=True)
    Schedule.parse(site).check(depth, class_pooled=False)  # average pooling reads the tokens that are kept


@given(st.integers(1, 1000), st.integers(1, 4096))
def test_kept_is_the_exact_ceiling_of_the_ratio_as_written(thousandths, n):
    exact = math.ceil(Fraction(thousandths, 1000) * n)
    assert kept(thousandths / 1000, n) == max(1, exact)
