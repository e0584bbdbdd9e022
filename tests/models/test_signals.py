"""Signals against full attention maps, finite differences and a plain-Python SplitMix64."""

from dataclasses import replace

import pytest
import torch
from model_zoo import NAMES, images, make
from reference_models import asked, attention_map, embedded, patch_scores, splitmix64, uniform
from scipy import stats

from tokenprune.models import BatchInfo, SparseViT
from tokenprune.models import attention as scores
from tokenprune.pruners import create
from tokenprune.recipe import Schedule


def maps(vit, x: torch.Tensor) -> list[torch.Tensor]:
    """[b, h, s, s] of every block of the unpruned model, in float64."""
    alive = torch.ones(len(x), vit.num_prefix_tokens + 16, dtype=torch.bool)
    (tokens, codes), found = embedded(vit, x), []
    for block, rope in zip(vit.blocks, codes, strict=True):
        found.append(attention_map(block.attn, block.norm1(tokens), alive, rope))
        tokens = block(tokens, **asked(alive, rope))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_attention_equals_the_full_map(name: str) -> None:
    """Folded or not, before or after the block's attention: the block's own softmax over all tokens."""
    vit, x = make(name).double(), images().double()
    model, p = SparseViT(vit), vit.num_prefix_tokens
    for i, full in enumerate(maps(vit, x)):
        for cursor in (2 * i, 2 * i + 1):
            signals = model.signals(model.advance(model.embed(x), 0, cursor), cursor)
            everybody = torch.ones(full.shape[0], full.shape[2], dtype=torch.bool)
            expected = patch_scores(vit, full, everybody)
            torch.testing.assert_close(signals.attention().double(), expected, atol=1e-6, rtol=0)
            torch.testing.assert_close(
                signals.received_attention().double(), full.mean((1, 2))[:, p:], atol=1e-6, rtol=0
            )


@pytest.mark.parametrize("name", ["plain", "QK-norm", "average pooling"])
def test_attention_by_block(name: str) -> None:
    vit, x = make(name), images()
    everybody = torch.ones(len(x), vit.num_prefix_tokens + 16, dtype=torch.bool)
    expected = torch.stack([patch_scores(vit, full, everybody) for full in maps(vit, x)])
    torch.testing.assert_close(SparseViT(vit).attention_by_block(x), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["registers", "average pooling"])
def test_scores_at_the_input_come_from_the_unpruned_pass(name: str) -> None:
    vit, x = make(name), images()
    full = [m.mean(1) for m in maps(vit, x)]
    rollout = torch.eye(full[0].shape[1]).expand_as(full[0])
    for m in full:  # Abnar & Zuidema, 2020, eq. 1: rows of A + I normalised
        with_skip = m + torch.eye(m.shape[1])
        rollout = with_skip / with_skip.sum(-1, keepdim=True) @ rollout
    row = (lambda m: m[:, 0]) if vit.cls_token is not None else (lambda m: m.mean(1))
    expected = {
        "last": row(full[-1]),
        "mean": torch.stack([row(m) for m in full]).mean(0),
        "rollout": row(rollout),
    }
    for kind, value in expected.items():
        model = SparseViT(vit, create("magnitude"), Schedule.parse(f"input:{kind}"))
        score = model.score_at(model.embed(x), 0)
        torch.testing.assert_close(score, value[:, vit.num_prefix_tokens :], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cursor", [0, 3, 5])
def test_gradient_times_token_equals_a_finite_difference(cursor: int) -> None:
    """Scaling token j by 1 + e moves the true label's logit by e times its gradient x token."""
    vit, x = make("registers").double(), images(2).double()
    labels, model, e = torch.tensor([1, 3]), SparseViT(vit), 1e-6
    state = model.advance(model.embed(x), 0, cursor)

    def logit(j: int, scale: float) -> torch.Tensor:
        tokens = state.tokens.clone()
        tokens[:, state.prefix + j] *= scale
        moved = model.head(model.advance(replace(state, tokens=tokens), cursor, 2 * model.depth))
        return moved.gather(1, labels[:, None])[:, 0]

    expected = torch.stack([(logit(j, 1 + e) - logit(j, 1 - e)) / (2 * e) for j in range(16)], dim=1)
    with torch.no_grad():
        found = model.signals(state, cursor, BatchInfo(labels=labels)).gradient_times_token()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in vit.parameters())


def test_keys_and_value_norms() -> None:
    vit, x = make("QK-norm"), images()
    model, block = SparseViT(vit), vit.blocks[0]
    qkv = block.attn.qkv(block.norm1(model.embed(x).tokens)).view(4, 17, 3, 2, 8).permute(2, 0, 3, 1, 4)[..., 1:, :]
    signals = model.signals(model.embed(x), 0)
    torch.testing.assert_close(signals.keys(), block.attn.k_norm(qkv[1]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(signals.value_norms(), qkv[2].norm(dim=-1).mean(1), atol=1e-6, rtol=1e-5)


def test_relevance_follows_the_tokens() -> None:
    relevance = torch.rand(4, 16, generator=torch.Generator().manual_seed(0))
    model = SparseViT(make("plain"))
    state = model.embed(images()).take(torch.tensor([[0, 5, 15]]).expand(4, 3))
    found = model.signals(state, 0, BatchInfo(relevance=relevance)).relevance()
    assert torch.equal(found, relevance[:, [0, 5, 15]])
    assert model.signals(state, 0).relevance() is None


def test_signals_that_lack_what_they_need_say_so() -> None:
    model = SparseViT(make("average pooling"))
    signals = model.signals(model.embed(images()), 0)
    for ask, what in (
        (signals.uniform, "index"),
        (signals.gradient_times_token, "labels"),
        (signals.class_attention, "class token"),
    ):
        with pytest.raises(ValueError, match=what):
            ask()


def test_uniform_equals_splitmix64() -> None:
    assert splitmix64(0) == 0xE220A8397B1DCDAF  # published first output of seed 0 (Vigna's splitmix64.c)
    index, position = torch.tensor([0, 7, 2**40]), torch.tensor([[0, 3], [1, 2], [195, 4]])
    for seed in (0, 12345, 2**63 + 11):
        for cursor in (0, 7):
            pairs = zip(index.tolist(), position.tolist(), strict=True)
            expected = [[uniform(seed, i, cursor, p) for p in row] for i, row in pairs]
            assert scores.uniform(seed, index, cursor, position).tolist() == expected


def test_uniform_is_uniform_and_its_streams_are_unrelated() -> None:
    index, position = torch.arange(500), torch.arange(64).expand(500, 64)
    draws = {(s, c): scores.uniform(s, index, c, position).numpy() for s in (0, 1) for c in (0, 1)}
    for draw in draws.values():
        assert stats.kstest(draw.ravel(), "uniform").pvalue > 1e-3
        assert stats.chisquare(torch.histc(torch.from_numpy(draw), 64, 0, 1).numpy()).pvalue > 1e-3
    first = draws[0, 0]
    pairs = {
        "seeds": (first, draws[1, 0]),
        "sites": (first, draws[0, 1]),
        "images": (first[:-1], first[1:]),
        "positions": (first[:, :-1], first[:, 1:]),
    }
    for what, (a, b) in pairs.items():
        assert stats.pearsonr(a.ravel(), b.ravel()).pvalue > 1e-3, what


def test_random_draws_are_fixed_by_the_seed() -> None:
    model, x = SparseViT(make("plain"), create("random")), images()

    def positions(seed: int) -> list[list[int]]:
        return model.run(x, 0.5, BatchInfo(index=torch.arange(4), seed=seed)).states[0].position.tolist()

    assert positions(0) == positions(0) != positions(1)
    assert len({tuple(row) for row in positions(0)}) == 4
