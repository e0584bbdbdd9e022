"""Slow, obvious re-implementations: a ViT that masks instead of removing, attention maps head by head, SplitMix64."""

import math

import torch
from timm.models.eva import Eva
from torch import Tensor

from tokenprune.models.local import LocalAttention
from tokenprune.models.positional import PositionalAttention

GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64 - 1


def projections(attn, x: Tensor) -> list[Tensor]:
    """Queries, keys and values [b, s, h, d], before any norm; heads that share keys have copies of them."""
    if attn.qkv is None:
        found = [layer(x).unflatten(2, (-1, attn.head_dim)) for layer in (attn.q_proj, attn.k_proj, attn.v_proj)]
        return [part.repeat_interleave(attn.num_heads // part.shape[2], dim=2) for part in found]
    flat = attn.qkv(x)
    if getattr(attn, "q_bias", None) is not None:
        flat = flat + torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
    return list(flat.unflatten(2, (3, attn.num_heads, attn.head_dim)).unbind(2))


def turned(x: Tensor, rope: Tensor, halves: bool) -> Tensor:
    """[b, t, d] with each pair of channels turned by its patch's angle: neighbours, or a channel of either half."""
    sin, cos = rope.to(x.dtype).chunk(2, dim=-1)
    out, d = torch.empty_like(x), x.shape[2]
    for i in range(d // 2):
        first, second = (i, i + d // 2) if halves else (2 * i, 2 * i + 1)
        out[:, :, first] = x[:, :, first] * cos[:, first] - x[:, :, second] * sin[:, first]
        out[:, :, second] = x[:, :, second] * cos[:, second] + x[:, :, first] * sin[:, second]
    return out


def attention_map(attn, x: Tensor, alive: Tensor, rope: Tensor | None = None) -> Tensor:
    """[b, h, s, s] softmax attention, columns of dead tokens masked with -inf. rope: of every patch, [(h), t, 2 d]."""
    b, s, _ = x.shape
    positional, local = isinstance(attn, PositionalAttention), isinstance(attn, LocalAttention)
    # Codes stand for tokens where queries and keys are made.
    q, k, _ = projections(attn, rope.expand(b, -1, -1) if positional else x)
    maps = torch.empty(b, attn.num_heads, s, s, dtype=x.dtype)
    for head in range(attn.num_heads):
        query, key = attn.q_norm(q[:, :, head]), attn.k_norm(k[:, :, head])
        if rope is not None and not positional and not local:
            own, p = rope[head] if rope.ndim == 3 else rope, attn.num_prefix_tokens
            query, key = (
                torch.cat([part[:, :p], turned(part[:, p:], own, attn.rotate_half)], dim=1) for part in (query, key)
            )
        logits = query @ key.transpose(1, 2) / math.sqrt(attn.head_dim)
        if local:
            logits = logits.masked_fill(~neighbours(attn.kernel, s, side=4), -1e30)  # dead rows have no other
        maps[:, head] = logits.masked_fill(~alive[:, None], -torch.inf).softmax(-1)
    return maps


def neighbours(kernel: int, tokens: int, side: int) -> Tensor:
    """[s, s] whether a token reads another: one by one, as a convolution over the padded grid would."""
    found = torch.ones(tokens, tokens, dtype=torch.bool)
    prefix = tokens - side * side
    padding = kernel // 2
    for i in range(side * side):
        for j in range(side * side):
            down, right = j // side - i // side + padding, j % side - i % side + padding
            found[prefix + i, prefix + j] = 0 <= down < kernel and 0 <= right < kernel
    return found


def embedded(vit, images: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """Tokens before block 0, and the rotary codes of every patch for each block."""
    found = vit._pos_embed(vit.patch_embed(images))
    x, rope = found if isinstance(found, tuple) else (found, None)
    own = [rope[i] if rope is not None and rope.ndim == 4 else rope for i in range(len(vit.blocks))]
    return vit.norm_pre(x), own


def asked(alive: Tensor, rope: Tensor | None) -> dict[str, Tensor]:
    """Keyword arguments of timm's own attention: dead tokens are masked, codes as they are."""
    return {"attn_mask": alive[:, None, None]} | ({} if rope is None else {"rope": rope})


def scaled(block, half: int, x: Tensor) -> Tensor:
    if hasattr(block, f"ls{half}"):
        return getattr(block, f"ls{half}")(x)
    gamma = getattr(block, f"gamma_{half}")
    return x if gamma is None else gamma * x


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
    x, codes = embedded(vit, images)
    alive = torch.ones(x.shape[:2], dtype=torch.bool)
    counts, history = list(counts), []

    def kill(map_: Tensor) -> None:
        ranked = patch_scores(vit, map_, alive) if scores is None else scores
        ranked = ranked.masked_fill(~alive[:, p:], -torch.inf)
        keep = ranked.argsort(dim=1, descending=True)[:, : counts.pop(0)]
        alive[:, p:] = torch.zeros_like(alive[:, p:]).scatter(1, keep, True)
        history.append(alive[:, p:].clone())

    for i, (block, rope) in enumerate(zip(vit.blocks, codes, strict=True)):
        y = block.norm1(x)
        map_ = attention_map(block.attn, y, alive, rope)
        before = alive.clone()
        if moment == "before" and i in blocks:
            kill(map_)
            before = alive.clone()
        x = x + scaled(block, 1, block.attn(y, **asked(before, rope)))
        if moment == "after" and i in blocks:
            kill(map_)
        x = x + scaled(block, 2, block.mlp(block.norm2(x)))
    x = vit.norm(x)
    if hasattr(vit, "head_dist"):
        return (vit.head(x[:, 0]) + vit.head_dist(x[:, 1])) / 2, history
    if vit.global_pool == "token":
        pooled = x[:, 0]
    elif vit.attn_pool is not None:
        first = 0 if isinstance(vit, Eva) else p
        pooled = vit.attn_pool(x[:, first:], attn_mask=alive[:, None, None, first:])
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
