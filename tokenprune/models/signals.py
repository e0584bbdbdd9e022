"""Signals that a pruner may ask for at a pruning site, each computed when asked, once.

Shapes: b images, n patch tokens present, s = p + n all tokens, c channels, h heads, d channels of a head, t patches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from jaxtyping import Float, Int
from timm.models import VisionTransformer
from torch import Tensor

from tokenprune.models import attention
from tokenprune.pruners.base import TokenState, precise


@dataclass(frozen=True)
class BatchInfo:
    """What is known of a batch besides its images; some pruners need it.

    relevance: label-relevant share of each patch's area. labels: true classes. index: each image's number in its set,
    which with `seed` decides all random draws.
    """

    relevance: Float[Tensor, "b t"] | None = None
    labels: Int[Tensor, " b"] | None = None
    index: Int[Tensor, " b"] | None = None
    seed: int = 0

    def take(self, rows: Int[Tensor, " k"]) -> "BatchInfo":
        """The same for some images of the batch."""
        relevance, labels, index = (
            None if part is None else part[rows] for part in (self.relevance, self.labels, self.index)
        )
        return BatchInfo(relevance, labels, index, self.seed)


def once(compute: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """A method whose first answer is kept (functools' own takes a lock, which torch.compile cannot trace)."""
    name = compute.__name__

    @wraps(compute)
    def ask(self: Any) -> Tensor:
        if name not in self._known:
            self._known[name] = compute(self)
        return self._known[name]

    return ask


class SiteSignals:
    """Signals (see pruners.base) at one site, from the block whose attention the site belongs to.

    At an `after` site they come from the tokens that entered this block's attention: the map it has just used.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        state: TokenState,
        cursor: int,
        rest: Callable[[Tensor], Tensor] | None = None,
        info: BatchInfo | None = None,
    ) -> None:
        self._vit = vit
        self._state = state
        self.site = cursor
        self._rest = rest
        self._info = info or BatchInfo()
        self._block = attention.blocks_of(vit)[cursor // 2]
        self._attn = attention.attention_of(self._block)
        self._known: dict[str, Tensor] = {}

    @property
    def asked(self) -> tuple[str, ...]:
        """Signals computed so far that cost matrix products: what `cost.flops` counts."""
        return tuple(sorted(name for name in self._known if not name.startswith("_")))

    def attention(self) -> Float[Tensor, "b n"]:
        return self.received_attention() if self._vit.cls_token is None else self.class_attention()

    @once
    def class_attention(self) -> Float[Tensor, "b n"]:
        if self._vit.cls_token is None:
            raise ValueError("class_attention: the model has no class token; received_attention works without")
        row = attention.class_row(self._attn, self._attended(), attention.log_weight(self._state), self._rope())
        return row[:, self._state.prefix :]

    @once
    def received_attention(self) -> Float[Tensor, "b n"]:
        bias = attention.log_weight(self._state)
        map_ = attention.full_map(self._attn, self._attended(), bias, self._rope())
        return _over_queries(map_, bias)[:, self._state.prefix :]

    @once
    def attention_by_head(self) -> Float[Tensor, "b h n"]:
        bias = attention.log_weight(self._state)
        if self._vit.cls_token is not None:
            rows = attention.class_rows(self._attn, self._attended(), bias, self._rope())
        else:
            rows = _over_queries(attention.full_maps(self._attn, self._attended(), bias, self._rope()), bias)
        return rows[:, :, self._state.prefix :]

    @once
    def attention_maps(self) -> Float[Tensor, "b h s s"]:
        return attention.full_maps(self._attn, self._attended(), attention.log_weight(self._state), self._rope())

    @once
    def keys(self) -> Float[Tensor, "b h n d"]:
        return attention.keys(self._attn, self._attended()[:, self._state.prefix :])

    @once
    def values(self) -> Float[Tensor, "b h n d"]:
        return attention.values(self._attn, self._attended()[:, self._state.prefix :])

    @once
    def value_norms(self) -> Float[Tensor, "b n"]:
        return attention.values(self._attn, self._attended()[:, self._state.prefix :]).norm(dim=3).mean(dim=1)

    def relevance(self) -> Float[Tensor, "b n"] | None:
        known = self._info.relevance
        return None if known is None else self._state.mean_of(known)

    def uniform(self) -> Float[Tensor, "b n"]:
        if self._info.index is None:
            raise ValueError("uniform: a random draw needs BatchInfo(index=...), each image's number in its set")
        return attention.uniform(self._info.seed, self._info.index, self.site, self._state.position)

    def _rope(self) -> Tensor | None:
        """The rotary codes of the tokens present, of a model that has any."""
        return attention.codes(self._state, self.site // 2, attention.places(self._state)).get("rope")

    @once
    def _attended(self) -> Float[Tensor, "b s c"]:
        """What the block's attention reads."""
        entered = self._state.entered
        return self._block.norm1(self._state.tokens if entered is None else entered)

    @once
    def gradient_times_token(self) -> Float[Tensor, "b n"]:
        labels = self._info.labels
        if labels is None:
            raise ValueError("gradient_times_token needs BatchInfo(labels=...)")
        assert self._rest is not None
        # Some releases of torch hand out casts of weights cached under inference mode, which backward cannot use.
        torch.clear_autocast_cache()
        with torch.inference_mode(False), torch.enable_grad():
            tokens = self._state.tokens.detach().clone().requires_grad_()
            logits = self._rest(tokens).gather(1, labels.clone()[:, None])
            (gradient,) = torch.autograd.grad(logits.sum(), tokens)
            return (gradient * tokens).detach().sum(dim=2)[:, self._state.prefix :]


class InputSignals(SiteSignals):
    """Signals at site `input`: attention comes from one full unpruned pass, made if the pruner asks for it."""

    def __init__(
        self,
        vit: VisionTransformer,
        advance: Callable[[TokenState, int, int], TokenState],
        scores: str,
        state: TokenState,
        rest: Callable[[Tensor], Tensor],
        info: BatchInfo | None = None,
    ) -> None:
        super().__init__(vit, state, 0, rest, info)
        self._advance = advance
        self._scores = scores

    @once
    def class_attention(self) -> Float[Tensor, "b n"]:
        if self._scores == "rollout":
            return self._rollout()[:, 0, self._state.prefix :]
        return self._over_blocks(SiteSignals.class_attention)

    @once
    def received_attention(self) -> Float[Tensor, "b n"]:
        if self._scores == "rollout":
            bias = attention.log_weight(self._state)
            return _over_queries(self._rollout(), bias)[:, self._state.prefix :]
        return self._over_blocks(SiteSignals.received_attention)

    @once
    def attention_by_head(self) -> Float[Tensor, "b h n"]:
        if self._scores == "rollout":
            rows, bias = self._rollout(), attention.log_weight(self._state)
            one = _over_queries(rows, bias) if self._vit.cls_token is None else rows[:, 0]
            return one[:, None, self._state.prefix :]
        return self._over_blocks(SiteSignals.attention_by_head)

    @once
    def attention_maps(self) -> Float[Tensor, "b h s s"]:
        if self._scores == "rollout":
            return self._rollout()[:, None]
        return self._over_blocks(SiteSignals.attention_maps)

    def _over_blocks(self, signal: Callable[[SiteSignals], Tensor]) -> Tensor:
        """The last block's, or the mean of all blocks'."""
        last = len(self._vit.blocks) - 1
        asked = range(last + 1) if self._scores == "mean" else (last,)
        state, cursor, total = self._state, 0, torch.zeros((), device=self._state.tokens.device)
        for i in asked:
            state = self._advance(state, cursor, 2 * i)
            cursor = 2 * i
            total = total + signal(SiteSignals(self._vit, state, cursor))
        return total / len(asked)

    @once
    def _rollout(self) -> Float[Tensor, "b s s"]:
        """Attention rollout (Abnar & Zuidema, 2020): the product over blocks of (A + I) / 2, whose rows sum to 1."""
        state, product = self._state, None
        for i, block in enumerate(attention.blocks_of(self._vit)):
            state = self._advance(state, max(0, 2 * i - 2), 2 * i)
            attn, bias = attention.attention_of(block), attention.log_weight(state)
            rope = attention.codes(state, i, attention.places(state)).get("rope")
            map_ = attention.full_map(attn, block.norm1(state.tokens), bias, rope)
            step = 0.5 * (map_ + torch.eye(map_.shape[1], device=map_.device))
            product = step if product is None else step @ product
        assert product is not None
        return product


def _over_queries(map_: Float[Tensor, "b *h s s"], bias: Float[Tensor, "b s"] | None) -> Float[Tensor, "b *h s"]:
    """Mean over the queries (rows), each counting for as many patches as its token does."""
    if bias is None:
        return map_.mean(dim=-2)
    share = precise(bias).softmax(dim=1)
    return (share.view(share.shape[0], *(1,) * (map_.ndim - 2), -1) @ map_)[..., 0, :]
