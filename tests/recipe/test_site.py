"""Pruning sites and how many tokens a ratio keeps."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenprune.errors import UsageError
from tokenprune.recipe import Schedule, kept


@pytest.mark.parametrize(
    ("text", "cursors"),
    [("input", (0,)), ("before:0", (0,)), ("after:0", (1,)), ("before:3", (6,)), ("after:3,6,9", (7, 13, 19))],
)
def test_a_site_reads_back_as_written(text, cursors):
    schedule = Schedule.parse(text)
    assert str(schedule) == text
    assert schedule.cursors == cursors


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
