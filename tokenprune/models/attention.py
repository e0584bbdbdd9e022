"""Attention scores beside a fused kernel: recomputed at a pruning site from a block's own `qkv`, norms and scale.

Shapes: b images, n patch tokens present, s = p + n all tokens, h heads, d channels of a head, c channels, t patches,
l blocks.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from timm.layers import Attention, apply_rot_embed_cat
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from tokenprune import hardware
from tokenprune.pruners.base import TokenState, precise


def blocks_of(vit: VisionTransformer) -> list[Block]:
    return cast(list[Block], list(vit.blocks))


def attention_of(block: Block) -> Attention:
    return cast(Attention, block.attn)


def attend(block: Block, x: Float[Tensor, "b s c"], **asked: Any) -> Float[Tensor, "b s c"]:
    """The first half of a block. asked: keyword arguments of its attention."""
    return x + block.drop_path1(_scaled(block, 1, block.attn(block.norm1(x), **asked)))


def feed(block: Block, x: Float[Tensor, "b s c"]) -> Float[Tensor, "b s c"]:
    """The second half of a block: its MLP."""
    return x + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(x))))


def _scaled(block: Block, half: int, x: Tensor) -> Tensor:
    """LayerScale: a module in timm's Block, a parameter or None in its EvaBlock."""
    if isinstance(block, Block):
        return cast(Tensor, getattr(block, f"ls{half}")(x))
    gamma = getattr(block, f"gamma_{half}")
    return x if gamma is None else gamma * x


def has_codes(vit: VisionTransformer) -> bool:
    """Whether attention is told where its tokens are: rotary codes, positional or local attention."""
    attn = getattr(blocks_of(vit)[0], "attn", None)
    return getattr(vit, "rope", None) is not None or positional(attn) or local(attn)


def positional(attn: object) -> bool:
    """Whether queries and keys are made of position codes (`models.positional`)."""
    return hasattr(attn, "scored")


def local(attn: object) -> bool:
    """Whether patches attend to those around them alone (`models.local`)."""
    return hasattr(attn, "seen")


def places(state: TokenState) -> Int[Tensor, "b n"] | None:
    """The patch whose code each token has: the first that lives in it. None where tokens are the patches."""
    if state.rotary is None or (state.whole and state.count == state.owner.shape[1]):
        return None
    return state.position.clamp(min=0)  # of padding any will do


def codes(state: TokenState, block: int, places: Int[Tensor, "b n"] | None) -> dict[str, Tensor]:
    """The codes of the tokens in a block, as the keyword argument of their attention; empty without any.

    A table of positional attention has rows of the prefix tokens first, one of rotary codes has none.
    """
    if state.rotary is None:
        return {}
    table = state.rotary[block] if state.rotary.ndim == 4 else state.rotary
    if places is not None:
        if table.shape[-2] > state.owner.shape[1]:
            first = torch.arange(state.prefix, device=places.device).expand(len(places), -1)
            places = torch.cat([first, places + state.prefix], dim=1)
        table = table[:, places].transpose(0, 1) if table.ndim == 3 else table[places][:, None]
    return {"rope": table}


def log_weight(state: TokenState) -> Float[Tensor, "b s"] | None:
    """The bias that a token's weight adds to attention logits (proportional attention, ToMe, eq. 1).

    log(weight), 0 for prefix tokens, -inf for padding; None where every token counts for one patch. A weight of 0 gets
    no gradient: a gate that is learned stays above it.
    """
    if state.weight is None:
        return None
    weight = state.weight.to(state.tokens.dtype)
    absent = weight == 0
    log = weight.clamp(min=torch.finfo(weight.dtype).tiny).log().masked_fill(absent, -torch.inf)
    return F.pad(log, (state.prefix, 0))


def class_row(
    attn: Attention, x: Float[Tensor, "b s c"], bias: Float[Tensor, "b s"] | None = None, rope: Tensor | None = None
) -> Float[Tensor, "b s"]:
    """Attention of token 0 to all tokens, mean over heads, at least in float32. bias: `log_weight`. rope: `codes`."""
    return class_rows(attn, x, bias, rope).mean(dim=1)


def class_rows(
    attn: Attention, x: Float[Tensor, "b s c"], bias: Float[Tensor, "b s"] | None = None, rope: Tensor | None = None
) -> Float[Tensor, "b h s"]:
    """`class_row`, head by head.

    Without a norm or rotary code of the keys, their projection is folded into the query, (W_q x_0 + b_q) W_k: s tokens
    then cost s h c multiply-adds instead of s c c. The key bias adds a constant to a head's logits and cancels in the
    softmax. Token 0 is a prefix token, which has no rotary code and sees all tokens.
    """
    if positional(attn):
        return full_maps(attn, x, bias, rope)[:, :, 0]
    query = attn.q_norm(heads(attn, x[:, :1], 0))
    if folds(attn, rope):
        key_weight = _projection(attn, 1)[0].unflatten(0, (attn.num_heads, attn.head_dim))
        logits = torch.einsum("bhd,hdc->bhc", query[:, :, 0], key_weight) @ x.transpose(1, 2)
    else:
        logits = (query @ _rotated(attn, attn.k_norm(heads(attn, x, 1)), rope).transpose(2, 3))[:, :, 0]
    logits = precise(logits) * attn.scale
    return (logits if bias is None else logits + bias[:, None]).softmax(dim=-1)


def full_map(
    attn: Attention, x: Float[Tensor, "b s c"], bias: Float[Tensor, "b s"] | None = None, rope: Tensor | None = None
) -> Float[Tensor, "b s s"]:
    """Attention of each token (row) to each token (column), mean over heads, in float32 or more. As `class_row`."""
    return full_maps(attn, x, bias, rope).mean(dim=1)


def full_maps(
    attn: Attention, x: Float[Tensor, "b s c"], bias: Float[Tensor, "b s"] | None = None, rope: Tensor | None = None
) -> Float[Tensor, "b h s s"]:
    """`full_map`, head by head."""
    if positional(attn):
        query, key = (cast(Any, attn).scored(rope, part).expand(len(x), -1, -1, -1) for part in (0, 1))
    else:
        query = _rotated(attn, attn.q_norm(heads(attn, x, 0)), rope)
        key = _rotated(attn, attn.k_norm(heads(attn, x, 1)), rope)
    logits = precise(query @ key.transpose(2, 3)) * attn.scale
    logits = logits + cast(Any, attn).bias(rope, logits) if local(attn) else logits
    return (logits if bias is None else logits + bias[:, None, None]).softmax(dim=-1)


def folds(attn: Attention, rope: Tensor | None = None) -> bool:
    """Whether queries and keys are linear in the tokens, so that key weights can be folded into queries."""
    return isinstance(attn.k_norm, nn.Identity) and rope is None and _groups(attn) == 1


def prefix_alone(
    block: Block, x: Float[Tensor, "b s c"], prefix: int, bias: Float[Tensor, "b s"] | None = None
) -> Float[Tensor, "b p c"]:
    """The prefix tokens after a block, the patch tokens only being attended to: exact where nothing reads those later.

    Without a key norm the key weights are folded into the queries, and the value weights are applied to the weighted
    mean of the tokens: p h s c multiply-adds twice instead of s c c. The key bias cancels in the softmax. bias:
    `log_weight`. Not for rotary codes or gated attention.
    """
    attn, y = attention_of(block), block.norm1(x)
    query = attn.q_norm(heads(attn, y[:, :prefix], 0)) * attn.scale
    (key_weight, _), (value_weight, value_bias) = _projection(attn, 1), _projection(attn, 2)
    per_head = (attn.num_heads, attn.head_dim)
    if folds(attn):
        folded = torch.einsum("bhpd,hdc->bhpc", query, key_weight.unflatten(0, per_head)).flatten(1, 2)
        logits = (folded @ y.transpose(1, 2)).unflatten(1, (attn.num_heads, prefix))
    else:
        logits = query @ attn.k_norm(heads(attn, y, 1)).transpose(2, 3)
    logits = logits if bias is None else logits + bias[:, None, None]
    share = attn.attn_drop(logits.softmax(dim=-1))
    if folds(attn):
        mixed = (share.flatten(1, 2) @ y).unflatten(1, (attn.num_heads, prefix))
        out = torch.einsum("bhpc,hdc->bhpd", mixed, value_weight.unflatten(0, per_head))
        if value_bias is not None:
            own = value_bias.view(1, attn.num_heads, 1, attn.head_dim)
            out = out + share.sum(dim=-1, keepdim=True) * own  # 1 without dropout
    else:
        out = share @ heads(attn, y, 2)
    out = attn.proj_drop(attn.proj(attn.norm(out.transpose(1, 2).flatten(2))))
    return feed(block, x[:, :prefix] + block.drop_path1(_scaled(block, 1, out)))


def keys(attn: Attention, x: Float[Tensor, "b s c"]) -> Float[Tensor, "b h s d"]:
    """Keys after any key norm, without a rotary code: what a token is, not where. Values where keys are of places."""
    if positional(attn):
        return values(attn, x)
    return attn.k_norm(heads(attn, x, 1))


def values(attn: Attention, x: Float[Tensor, "b s c"]) -> Float[Tensor, "b h s d"]:
    return heads(attn, x, 2)


def heads(attn: Attention, x: Float[Tensor, "b s c"], part: int) -> Float[Tensor, "b h s d"]:
    """Queries (part 0), keys (1) or values (2), before any norm and rotary code."""
    found = F.linear(x, *_projection(attn, part)).unflatten(2, (-1, attn.head_dim)).transpose(1, 2)
    return found.repeat_interleave(_groups(attn), dim=1) if part else found


def _projection(attn: Attention, part: int) -> tuple[Float[Tensor, "w c"], Float[Tensor, " w"] | None]:
    """Weight and bias of the queries, keys or values: of one layer, or of one each (timm's Eva)."""
    if attn.qkv is None:
        layer = (attn.q_proj, attn.k_proj, attn.v_proj)[part]
        return layer.weight, layer.bias
    width = attn.num_heads * attn.head_dim
    rows = slice(part * width, (part + 1) * width)
    if attn.qkv.bias is None:  # EvaAttention has biases beside the layer, none of keys
        return attn.qkv.weight[rows], getattr(attn, ("q_bias", "k_bias", "v_bias")[part], None)
    return attn.qkv.weight[rows], attn.qkv.bias[rows]


def _groups(attn: Attention) -> int:
    """Query heads that share a head of keys and values."""
    return getattr(attn, "num_kv_groups", 1)


def _rotated(attn: Attention, x: Float[Tensor, "b h s d"], rope: Tensor | None) -> Float[Tensor, "b h s d"]:
    """Queries or keys with the rotary codes of their tokens; prefix tokens have none."""
    if rope is None or local(attn):
        return x
    prefix = attn.num_prefix_tokens
    turned = apply_rot_embed_cat(x[:, :, prefix:], rope, half=getattr(attn, "rotate_half", False))
    return torch.cat([x[:, :, :prefix], turned], dim=2).type_as(x)


def set_attention(vit: nn.Module, fused: bool) -> None:
    """Choose the attention of every block: the fused kernel, or plain matrix products.

    On a CPU, training in bf16 is about 1.7 times faster with plain products.
    """
    for module in _fusible(vit):
        module.fused_attn = fused


def fused_in(vit: nn.Module) -> bool:
    """Whether the attention of its blocks is the fused kernel."""
    return any(module.fused_attn for module in _fusible(vit))


def _fusible(vit: nn.Module) -> Iterator[Any]:
    return (module for module in cast(nn.Module, vit.blocks).modules() if hasattr(module, "fused_attn"))


_GOLDEN = 0x9E3779B97F4A7C15


def uniform(seed: int, index: Int[Tensor, " b"], cursor: int, position: Int[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Uniform in [0, 1), a function of its arguments alone: the same on every device and in every batch.

    SplitMix64 (Steele, Lea & Flood, 2014) as a hash: each argument moves the state by a multiple of the golden
    ratio, then the finaliser mixes it. float64, so that the 53 random bits leave no ties; on a device that has none,
    float32 of the first 24 of them.
    """
    state = torch.full_like(index, _signed(seed))
    for number in (torch.full_like(index, cursor), index):
        state = _mix(state + (number + 1) * _signed(_GOLDEN))
    bits = _mix(state[:, None] + (position + 1) * _signed(_GOLDEN))
    dtype = hardware.widest(index.device)
    random = 53 if dtype == torch.float64 else 24
    return _shifted(bits, 64 - random).to(dtype) * 2.0**-random


def _mix(z: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Int[Tensor, "..."], bits: int) -> Int[Tensor, "..."]:
    """Logical shift to the right: torch's own is arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    """The int64 with the low 64 bits of `word`."""
    return (word + 2**63) % 2**64 - 2**63
