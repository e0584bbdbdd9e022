"""Local attention: each patch attends to those around it.

Park & Kim 2022 (arXiv 2202.06709), figure 4 and appendix ("ConvViT"): self-attention within the receptive field of a
convolution. Prefix tokens see all tokens, and all see them.

Shapes: b images, s tokens (prefix first), c channels.
"""

from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from timm.layers import Attention
from torch import Tensor

from tokenprune.models.positional import CodedBlock, CodedTransformer


class LocalAttention(Attention):
    """timm's, with a mask; the same parameters."""

    kernel: int = 3

    def seen(self, rope: Float[Tensor, "*b s 2"]) -> Bool[Tensor, "*b s s"]:
        """Which token (column) each token (row) attends to. rope: rows and columns in the grid, -1 of prefix tokens.

        A kernel of even size reaches one patch further up and to the left, as a convolution's that is padded so does.
        """
        away = rope[..., None, :, :] - rope[..., :, None, :]
        reach = self.kernel // 2
        near = ((away >= -reach) & (away <= (self.kernel - 1) // 2)).all(dim=-1)
        prefix = rope[..., 0] < 0
        return near | prefix[..., None, :] | prefix[..., :, None]

    def bias(self, rope: Float[Tensor, "*b s 2"], like: Tensor) -> Float[Tensor, "*b s s"]:
        """What the mask adds to logits: 0, or so little that nothing is left, and yet padding sees some token."""
        seen = self.seen(rope)
        return torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill(
            ~seen, torch.finfo(like.dtype).min / 2
        )

    def forward(
        self,
        x: Float[Tensor, "b s c"],
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        rope: Tensor | None = None,
    ) -> Float[Tensor, "b s c"]:
        """rope: the places of the tokens, [s, 2], or [b, 1, s, 2] where images have other tokens."""
        assert rope is not None
        mask = self.bias(rope, x)
        if attn_mask is not None:
            mask = mask.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else mask + attn_mask
        found: Tensor = super().forward(x, attn_mask=mask)
        return found


class LocalBlock(CodedBlock):
    """timm's block, whose attention gets the places."""

    kind = LocalAttention

    def __init__(self, dim: int, num_heads: int, kernel: int, **options: Any) -> None:
        super().__init__(dim, num_heads, **options)
        assert isinstance(self.attn, LocalAttention)
        self.attn.kernel = kernel


class LocalTransformer(CodedTransformer):
    """timm's Vision Transformer with the places of all tokens for its attentions."""

    places: Float[Tensor, "s 2"]

    def __init__(self, kernel: int, **options: Any) -> None:
        super().__init__(block_fn=cast(Any, partial(LocalBlock, kernel=kernel)), **options)
        height, width = self.patch_embed.grid_size
        grid = torch.cartesian_prod(torch.arange(height), torch.arange(width)).reshape(-1, 2)
        prefix = torch.full((self.num_prefix_tokens, 2), -1)
        self.register_buffer("places", torch.cat([prefix, grid]).float(), persistent=False)

    def _pos_embed(self, x: Float[Tensor, "b t c"]) -> tuple[Float[Tensor, "b s c"], Float[Tensor, "s 2"]]:  # type: ignore[override]
        return super()._pos_embed(x), self.places
