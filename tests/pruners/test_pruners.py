"""What the built-in pruners keep, and the contract that every pruner stands on."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_zoo import images, make

from tokenprune.models import BatchInfo, SparseViT
from tokenprune.pruners import TokenState, create
from tokenprune.pruners.base import select
from tokenprune.recipe import Schedule, kept

INDEX = torch.arange(4)


def kept_positions(keep: float, relevance: torch.Tensor, seed: int = 0, site: str = "before:0") -> list[list[int]]:
    model = SparseViT(make("registers"), create("oracle"), Schedule.parse(site))
    return model.run(images(), keep, BatchInfo(relevance, index=INDEX, seed=seed)).states[0].position.tolist()


@pytest.mark.parametrize("site", ["input", "before:2", "after:1"])
def test_the_oracle_keeps_exactly_the_relevant_tokens(site: str) -> None:
    order = torch.rand(4, 16, generator=torch.Generator().manual_seed(0)).argsort(1)
    relevance = torch.zeros(4, 16).scatter(1, order[:, :6], torch.tensor([1, 0.5, 0.25, 0.125, 1, 1 / 16]).expand(4, 6))
    relevant = [set(row.nonzero()[:, 0].tolist()) for row in relevance]
    assert [set(row) for row in kept_positions(6 / 16, relevance, site=site)] == relevant
    for fewer, more in zip(kept_positions(3 / 16, relevance), kept_positions(9 / 16, relevance), strict=True):
        assert len(fewer) == 3
        assert len(more) == 9
    for i, row in enumerate(kept_positions(3 / 16, relevance)):
        best = relevance[i].topk(3)  # 1, 1, 0.5
        assert set(row) == set(best.indices.tolist())
    assert all(set(row) > relevant[i] for i, row in enumerate(kept_positions(9 / 16, relevance)))


def test_the_oracle_breaks_ties_at_random_but_reproducibly() -> None:
    draws = [kept_positions(0.5, torch.zeros(4, 16), seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len({tuple(row) for row in draws[0]}) == 4


def test_a_tie_never_outweighs_a_pixel() -> None:
    """Relevance in steps of one pixel of the largest patch the recipe allows by default names (32 x 32)."""
    relevance = (torch.arange(16).flip(0) / 1024).expand(4, 16)
    assert kept_positions(0.25, relevance) == [[0, 1, 2, 3]] * 4


def test_without_relevance_the_oracle_takes_gradient_times_token() -> None:
    model, labels = SparseViT(make("plain"), create("oracle")), torch.tensor([0, 1, 2, 3])
    state = model.embed(images())
    score = model.score_at(state, 0, BatchInfo(labels=labels))
    assert torch.equal(score, model.signals(state, 0, BatchInfo(labels=labels)).gradient_times_token())


def test_random_keeps_every_patch_equally_often() -> None:
    """1000 images at keep 1/4: a patch stays 250 times, give or take 4 deviations of 13.7."""
    model = SparseViT(make("depth 1"), create("random"))
    info = BatchInfo(index=torch.arange(1000))
    counts = model.run(images(1000), 0.25, info).states[0].position.flatten().bincount(minlength=16)
    assert counts.sum() == 4000
    assert ((counts - 250).abs() < 4 * math.sqrt(1000 * 0.25 * 0.75)).all()


def test_taking_tokens_takes_all_that_belongs_to_them() -> None:
    tokens = torch.arange(2 * 6, dtype=torch.float32).view(2, 6, 1)
    owner = torch.tensor([[-1, 0, 1, 2, 3, 0], [0, 1, 2, 3, -1, -1]])
    weight = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    state = TokenState(tokens, 2, owner, weight, entered=tokens)
    taken = select(state, torch.tensor([[0.1, 0.9, 0.2, 0.8], [4.0, 3, 2, 1]]), 2)
    assert taken.tokens[:, :, 0].tolist() == [[0, 1, 3, 5], [6, 7, 8, 9]]
    assert taken.owner.tolist() == [[-1, -1, 0, -1, 1, -1], [0, 1, -1, -1, -1, -1]]
    assert taken.position.tolist() == [[2, 4], [0, 1]]
    assert taken.weight is not None
    assert taken.weight.tolist() == [[2, 4], [5, 6]]
    assert taken.entered is None
    assert (taken.count, taken.prefix) == (2, 2)


def _states(seed: int, tokens: int = 9, count: int = 4) -> tuple[TokenState, torch.Tensor]:
    """Tokens that hold patches already, some gone, and where each goes next."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(-1, tokens, (3, 16), generator=generator)
    weight = torch.rand(3, tokens, generator=generator, dtype=torch.float64)
    x = torch.randn(3, 2 + tokens, 5, generator=generator, dtype=torch.float64)
    return TokenState(x, 2, owner, weight), torch.randint(0, count, (3, tokens), generator=generator)


@pytest.mark.parametrize("seed", range(3))
def test_merging_conserves_the_weighted_sum_and_the_weight_and_patches_follow(seed: int) -> None:
    state, into = _states(seed)
    merged = state.merge(into, 4)
    assert state.weight is not None
    assert merged.weight is not None
    for i in range(3):
        patches = {t: int(into[i, j]) for t, j in enumerate(state.owner[i].tolist()) if j >= 0}
        assert merged.owner[i].tolist() == [patches.get(t, -1) for t in range(16)]
        for k in range(4):
            of = into[i] == k
            assert merged.weight[i, k].item() == pytest.approx(state.weight[i, of].sum().item())
            mean = np.average(state.tokens[i, 2:][of], axis=0, weights=state.weight[i, of]) if of.any() else 0
            np.testing.assert_allclose(merged.tokens[i, 2 + k], mean)
    assert torch.equal(merged.tokens[:, :2], state.tokens[:, :2])
    sums = [(s.tokens[:, 2:] * s.weight[:, :, None]).sum(1) for s in (state, merged)]
    torch.testing.assert_close(*sums)
    chosen = torch.rand(3, 9, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    other = state.merge(into, 4, weight=chosen)
    assert torch.equal(other.weight, merged.weight)
    of = into[0] == into[0, 0]
    mean = np.average(state.tokens[0, 2:][of], axis=0, weights=chosen[0, of])
    np.testing.assert_allclose(other.tokens[0, 2 + into[0, 0]], mean)


def test_every_patch_lives_in_one_token_or_none() -> None:
    """Through merging and taking in any order; a number per patch is averaged over those in a token."""
    state, into = _states(7)
    state = state.merge(into, 4).take(torch.tensor([[2, 0, 3]]).expand(3, 3))
    number = torch.rand(3, 16, generator=torch.Generator().manual_seed(1))
    means = state.mean_of(number)
    for i in range(3):
        homes = [[t for t in range(16) if state.owner[i, t] == j] for j in range(state.count)]
        assert sorted(t for home in homes for t in home) == state.alive[i].nonzero()[:, 0].tolist()
        assert state.position[i].tolist() == [min(home, default=-1) for home in homes]
        expected = [number[i, home].mean().item() if home else 0.0 for home in homes]
        assert means[i].tolist() == pytest.approx(expected)


@given(thousandths=st.integers(1, 1000), n=st.integers(1, 1000))
def test_kept_is_the_exact_ceiling(thousandths: int, n: int) -> None:
    """The ceiling is that of the ratio as written in decimal, which the binary product may miss by an ulp."""
    assert kept(thousandths / 1000, n) == math.ceil(Fraction(thousandths, 1000) * n)
