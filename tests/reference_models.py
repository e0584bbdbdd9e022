"""Slow, obvious re-implementations: a ViT that masks instead of removing, attention maps head by head, SplitMix64."""

import math

import torch
from torch import Tensor

GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64 - 1


def attention_map(attn, x: Tensor, alive: Tensor) -> Tensor:
    """[b, h, s, s] softmax attention; columns of dead tokens are masked with -inf."""
    b, s, _ = x.shape
    q, k, _ = attn.qkv(x).view(b, s, 3, attn.num_heads, attn.head_dim).unbind(2)
    maps = torch.empty(b, attn.num_heads, s, s, dtype=x.dtype)
    for head in range(attn.num_heads):
        query, key = attn.q_norm(q[:, :, head]), attn.k_norm(k[:, :, head])
        logits = query @ key.transpose(1, 2) / math.sqrt(attn.head_dim)
        maps[:, head] = logits.masked_fill(~alive[:, None], -torch.inf).softmax(-1)
    return maps


def attend(attn, x: Tensor, alive: Tensor) -> Tensor:
    b, s, _ = x.shape
    v = attn.qkv(x).view(b, s, 3, attn.num_heads, attn.head_dim)[:, :, 2].transpose(1, 2)
    return attn.proj((attention_map(attn, x, alive) @ v).transpose(1, 2).reshape(b, s, -1))


def patch_scores(vit, map_: Tensor, alive: Tensor) -> Tensor:
    """Class attention, or attention received from the living where there is no class token."""
    heads = map_.mean(1)
    p = vit.num_prefix_tokens
    if vit.cls_token is not None:
        return heads[:, 0, p:]
    return (heads * alive[:, :, None]).sum(1)[:, p:] / alive.sum(1, keepdim=True)


def masked_forward(
    vit, images: Tensor, moment: str, blocks: tuple[int, ...], counts: list[int], scores: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Logits and, after each site, which patches live [b, t]; scores None means attention, else [b, t] by patch."""
    p = vit.num_prefix_tokens
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    alive = torch.ones(x.shape[:2], dtype=torch.bool)
    counts, history = list(counts), []

    def kill(map_: Tensor) -> None:
        ranked = patch_scores(vit, map_, alive) if scores is None else scores
        ranked = ranked.masked_fill(~alive[:, p:], -torch.inf)
        keep = ranked.argsort(dim=1, descending=True)[:, : counts.pop(0)]
        alive[:, p:] = torch.zeros_like(alive[:, p:]).scatter(1, keep, True)
        history.append(alive[:, p:].clone())

    for i, block in enumerate(vit.blocks):
        y = block.norm1(x)
        map_ = attention_map(block.attn, y, alive)
        before = alive.clone()
        if moment == "before" and i in blocks:
            kill(map_)
            before = alive.clone()
        x = x + block.ls1(attend(block.attn, y, before))
        if moment == "after" and i in blocks:
            kill(map_)
        x = x + block.ls2(block.mlp(block.norm2(x)))
    x = vit.norm(x)
    if hasattr(vit, "head_dist"):
        return (vit.head(x[:, 0]) + vit.head_dist(x[:, 1])) / 2, history
    if vit.global_pool == "token":
        pooled = x[:, 0]
    else:
        living = alive[:, p:, None]
        pooled = (x[:, p:] * living).sum(1) / living.sum(1)
    return vit.head(vit.fc_norm(pooled)), history


def splitmix64(state: int) -> int:
    """The first output of SplitMix64 seeded with `state`."""
    z = (state + GOLDEN) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def uniform(seed: int, index: int, cursor: int, position: int) -> float:
    state = seed
    for number in (cursor, index, position):
        state = splitmix64((state + number * GOLDEN) & WORD)
    return (state >> 11) / 2**53
