"""Attention that begins as that of trained models is."""

import math

import torch
from jaxtyping import Float
from timm.layers import build_sincos2d_pos_embed
from timm.models import VisionTransformer
from torch import Tensor

from tokenprune.models.attention import attention_of, blocks_of

#: Of the noise and of the identity: in the product of queries and keys, and in that of values and projection.
_SCORES, _VALUES = (0.7, 0.7), (0.4, -0.4)
_POSITIONS = 0.5


@torch.no_grad()
def mimetic(vit: VisionTransformer) -> None:
    """Mimetic initialisation (Trockman & Kolter, ICML 2023, section 3), in place, from torch's global generator.

    Per head W_Q^T W_K is close to .7 Z + .7 I, over all heads W_O W_V is close to .4 Z - .4 I, with Z of independent
    N(0, 1 / dim) entries: the closest factors of a head's rank, by singular value decomposition. Positions are two-
    dimensional sines and cosines, times .5; all are trained on.
    """
    for block in blocks_of(vit):
        attention = attention_of(block)
        dim, heads = vit.embed_dim, attention.num_heads
        query, key, value = attention.qkv.weight.view(3, heads, dim // heads, dim)
        for head in range(heads):
            left, right = _factors(_target(dim, *_SCORES), dim // heads)
            query[head], key[head] = left.T, right.T
        left, right = _factors(_target(dim, *_VALUES), dim)
        attention.proj.weight.copy_(left)
        value.copy_(right.T.reshape(value.shape))
    if vit.pos_embed is not None:
        grid = build_sincos2d_pos_embed(list(vit.patch_embed.grid_size), vit.embed_dim, interleave_sin_cos=True)
        prefix = vit.pos_embed.shape[1] - len(grid)
        vit.pos_embed[:, :prefix] = 0
        vit.pos_embed[:, prefix:] = _POSITIONS * grid


def _target(dim: int, noise: float, identity: float) -> Float[Tensor, "d d"]:
    return noise * torch.randn(dim, dim) / math.sqrt(dim) + identity * torch.eye(dim)


def _factors(target: Float[Tensor, "d d"], rank: int) -> tuple[Float[Tensor, "d r"], Float[Tensor, "d r"]]:
    """A and B with A B^T the closest matrix of that rank."""
    left, size, right = torch.linalg.svd(target)
    root = size[:rank].sqrt()
    return left[:, :rank] * root, right[:rank].T * root
