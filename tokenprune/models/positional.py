"""Positional attention: queries and keys from position codes alone, values from the tokens.

Jelassi, Sander & Li 2022 (arXiv 2210.09221), definition 3.2: Q = P^T W_Q, K = P^T W_K, V = X^T W_V, no position in V.

Shapes: b images, s tokens (prefix first), c channels, h heads, d channels of a head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from tokenprune.models.attention import heads


class PositionalAttention(Attention):
    """timm's, with codes in place of tokens where queries and keys are made; the same parameters."""

    def scored(self, rope: Float[Tensor, "*b s c"], part: int) -> Float[Tensor, "1|b h s d"]:
        """Queries (part 0) or keys (1) of tokens with these codes; one row for all images where they have the same."""
        found = heads(self, rope[None] if rope.ndim == 2 else rope[:, 0], part)
        return self.k_norm(found) if part else self.q_norm(found)

    def forward(
        self,
        x: Float[Tensor, "b s c"],
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        rope: Tensor | None = None,
    ) -> Float[Tensor, "b s c"]:
        """rope: the codes of the tokens, [s, c], or [b, 1, s, c] where images have other tokens."""
        assert rope is not None
        query, key = (self.scored(rope, part) for part in (0, 1))
        value = heads(self, x, 2)
        if self.fused_attn:
            query, key = (each.to(value.dtype).expand_as(value) for each in (query, key))
            drop = self.attn_drop.p if self.training else 0.0
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, dropout_p=drop)
        else:
            logits = (query * self.scale) @ key.transpose(2, 3)
            logits = logits if attn_mask is None else logits + attn_mask
            out = self.attn_drop(logits.softmax(dim=-1).to(value.dtype)) @ value
        return self.proj_drop(self.proj(self.norm(out.transpose(1, 2).flatten(2))))


class CodedBlock(Block):
    """timm's block with another attention, which is told where its tokens are."""

    kind: type[Attention]

    def __init__(self, dim: int, num_heads: int, **options: Any) -> None:
        super().__init__(dim, num_heads, **options)
        known = ("qkv_bias", "qk_norm", "scale_norm", "proj_bias", "attn_drop", "proj_drop", "norm_layer")
        taken = {name: value for name, value in options.items() if name in known}
        self.attn = self.kind(dim, num_heads=num_heads, **taken)

    def forward(
        self,
        x: Float[Tensor, "b s c"],
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        rope: Tensor | None = None,
    ) -> Float[Tensor, "b s c"]:
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x), attn_mask=attn_mask, rope=rope)))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class PositionalBlock(CodedBlock):
    """timm's block, whose attention gets the codes."""

    kind = PositionalAttention


class CodedTransformer(VisionTransformer):
    """timm's Vision Transformer whose `_pos_embed` also gives the codes that its blocks are told."""

    def forward_features(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        tokens, codes = self._pos_embed(self.patch_embed(x))
        tokens = self.norm_pre(tokens)
        for block in self.blocks:
            tokens = block(tokens, attn_mask=attn_mask, rope=codes)
        return self.norm(tokens)


class PositionalTransformer(CodedTransformer):
    """timm's Vision Transformer; positions, which are added to no token, are the codes of all its attentions.

    They start at unit variance, as the normalised tokens that attention to content reads: of timm's own small ones
    (.02) attention would hardly learn.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(block_fn=PositionalBlock, **options)
        assert self.pos_embed is not None
        nn.init.normal_(self.pos_embed)

    def _pos_embed(self, x: Float[Tensor, "b t c"]) -> tuple[Float[Tensor, "b s c"], Float[Tensor, "s c"]]:  # type: ignore[override]
        """Tokens with the prefix before them, and the codes of all."""
        assert self.pos_embed is not None
        first = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        return self.pos_drop(torch.cat([*first, x], dim=1)), self.pos_embed[0]
