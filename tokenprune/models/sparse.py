"""Run a timm Vision Transformer with pruning sites, through the model's own modules.

Shapes: b images, n patch tokens present, s = p + n all tokens with p prefix tokens, c channels, h heads, d channels of
a head, t patches of an image, l blocks.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from timm.layers import Attention, PatchDropout, PatchEmbed
from timm.models import VisionTransformer
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tokenprune.errors import UsageError
from tokenprune.models.attention import attention_of, blocks_of, log_weight
from tokenprune.models.signals import BatchInfo, InputSignals, SiteSignals
from tokenprune.pruners.base import Pruner, ScorePruner, Shape, TokenState
from tokenprune.recipe import Schedule, kept


@dataclass(frozen=True)
class Trace:
    """logits; what was present after each pruning site, in order; the signals asked that cost products (see cost)."""

    logits: Float[Tensor, "b classes"]
    states: tuple[TokenState, ...]
    asked: tuple[str, ...]


class SparseViT(nn.Module):
    """A timm ViT that removes patch tokens at the schedule's sites.

    Cursors count half-blocks: 2i is before block i, 2i + 1 between its attention and its MLP, 2 depth the end.

    pruner: None for the bare model. schedule: before:0 where it is None.

    Raises UsageError for a model it cannot run faithfully, and for a site beyond its depth.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        pruner: Pruner | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        refuse_unsupported(vit)
        self.vit = vit
        self.pruner = pruner
        self.schedule = schedule or Schedule("before", (0,))
        self.schedule.check(self.depth)
        if pruner is not None:
            pruner.setup(self.shape, self.schedule.cursors)

    @property
    def depth(self) -> int:
        return len(self.vit.blocks)

    @property
    def prefix(self) -> int:
        """Prefix tokens: class, distillation, registers."""
        return self.vit.num_prefix_tokens

    @property
    def patches(self) -> int:
        """Patch tokens of an image of the model's own size."""
        return self.vit.patch_embed.num_patches

    @property
    def patch_size(self) -> int:
        return self.vit.patch_embed.patch_size[0]

    @property
    def shape(self) -> Shape:
        """The sizes that a pruner may need."""
        return Shape(
            depth=self.depth,
            dim=self.vit.embed_dim,
            heads=attention_of(blocks_of(self.vit)[0]).num_heads,
            grid=self.vit.patch_embed.grid_size,
            prefix=self.prefix,
            class_token=self.vit.cls_token is not None,
            classes=self.vit.num_classes,
        )

    @property
    def class_pooled(self) -> bool:
        """Whether the classifier reads the class token (and a distillation token) alone."""
        return self.vit.global_pool == "token"

    def no_weight_decay(self) -> set[str]:
        """Parameters that timm's optimisers leave without weight decay."""
        return {f"vit.{name}" for name in self.vit.no_weight_decay()}

    def forward(
        self, images: Float[Tensor, "b 3 y x"], keep: float = 1.0, info: BatchInfo | None = None
    ) -> Float[Tensor, "b classes"]:
        """Logits with ceil(keep * n) of the n patch tokens that enter each site kept there."""
        return self.run(images, keep, info).logits

    def run(self, images: Float[Tensor, "b 3 y x"], keep: float = 1.0, info: BatchInfo | None = None) -> Trace:
        """As `forward`, with what was present after each site."""
        asked: tuple[str, ...] = ()
        state, cursor, states = self.embed(images), 0, []
        if self.pruner is None and keep != 1:
            raise ValueError(f"keep {keep:g} needs a pruner: this SparseViT was made without")
        for site in self.schedule.cursors if self.pruner is not None else ():
            state = self.advance(state, cursor, site)
            signals = self.signals(state, site, info)
            state = self._pruner().reduce(state, kept(keep, state.count), signals)
            states.append(state)
            cursor, asked = site, asked or signals.asked
        logits = self.head(self.advance(state, cursor, 2 * self.depth))
        return Trace(logits, tuple(states), asked)

    def embed(self, images: Float[Tensor, "b 3 y x"]) -> TokenState:
        """Tokens as they enter block 0."""
        vit = self.vit
        tokens = vit._pos_embed(vit.patch_embed(images))
        count = tokens.shape[1] - self.prefix
        owner = torch.arange(count, device=tokens.device).expand(len(tokens), count)
        if isinstance(vit.patch_drop, PatchDropout) and vit.training and vit.patch_drop.prob:
            tokens, owner = _drop_patches(vit.patch_drop, tokens, self.prefix)
        return TokenState(vit.norm_pre(tokens), self.prefix, owner)

    def features(self, images: Float[Tensor, "b 3 y x"], cursor: int) -> Float[Tensor, "b p+t c"]:
        """All tokens of the unpruned model at a cursor, prefix tokens first; 2 depth: before the final norm."""
        return self.advance(self.embed(images), 0, cursor).tokens

    def advance(self, state: TokenState, start: int, stop: int, skip: Collection[int] = ()) -> TokenState:
        """The state at cursor `stop` from the one at cursor `start`: whole blocks where both halves are asked.

        skip: half-blocks that are left out, as if they added nothing: 2i the attention of block i, 2i + 1 its MLP.
        """
        if start == stop:
            return state
        x, entered, cursor, blocks = state.tokens, None, start, blocks_of(self.vit)
        recompute = self.vit.grad_checkpointing and self.vit.training
        bias = log_weight(state)
        mask: dict[str, Any] = {} if bias is None else {"attn_mask": bias[:, None, None]}
        while cursor < stop:
            block, attends = blocks[cursor // 2], cursor % 2 == 0
            if attends and cursor + 1 < stop and cursor not in skip and cursor + 1 not in skip:
                x = checkpoint(block, x, use_reentrant=False, **mask) if recompute else block(x, **mask)
                cursor += 2
                continue
            if attends:
                entered = x
            if cursor in skip:
                pass
            elif attends:
                x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x), **mask)))
            else:
                x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
            cursor += 1
        return replace(state, tokens=x, entered=entered if stop % 2 else None)

    def head(self, state: TokenState) -> Float[Tensor, "b classes"]:
        """Final norm, pooling over the tokens present by weight, classifier."""
        x = self.vit.norm(state.tokens)
        if state.weight is not None and not self.class_pooled:
            if self.vit.global_pool != "avg":
                raise ValueError(f"tokens of unequal weight are pooled by average, not by {self.vit.global_pool!r}")
            weight = F.pad(state.weight.to(x.dtype), (self.prefix, 0), value=1.0)
            pooled = weight if self.vit.pool_include_prefix else weight[:, self.prefix :]
            x = x * (weight / pooled.mean(dim=1, keepdim=True))[:, :, None]  # whose mean timm takes
        return self.vit.forward_head(x)

    def signals(self, state: TokenState, cursor: int, info: BatchInfo | None = None) -> SiteSignals:
        """The signals of a state at a site; each is computed when asked, once."""
        rest = self._logits_from(state, cursor)
        if self.schedule.moment == "input":
            return InputSignals(self.vit, self.advance, self.schedule.scores, state, rest, info)
        return SiteSignals(self.vit, state, cursor, rest, info)

    def reduce_at(self, state: TokenState, cursor: int, keep: int, info: BatchInfo | None = None) -> TokenState:
        """The state with at most `keep` patch tokens, as the pruner chooses. Raises ValueError without a pruner."""
        return self._pruner().reduce(state, keep, self.signals(state, cursor, info))

    def score_at(self, state: TokenState, cursor: int, info: BatchInfo | None = None) -> Float[Tensor, "b n"]:
        """A ScorePruner's ranking: one serves all ratios (`pruners.base.select`). TypeError for other pruners."""
        pruner = self._pruner()
        if not isinstance(pruner, ScorePruner):
            raise TypeError(f"{type(pruner).__name__} does not rank tokens: use reduce_at")
        return pruner.score(state, self.signals(state, cursor, info))

    @torch.no_grad()
    def attention_by_block(self, images: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "l b n"]:
        """Class attention (received attention without a class token) over patch tokens at every block, unpruned."""
        return self.watch(images)[0]

    def watch(self, images: Float[Tensor, "b 3 y x"]) -> tuple[Float[Tensor, "l b n"], Float[Tensor, "b classes"]]:
        """`attention_by_block`, and the unpruned model's logits, in one pass."""
        state, rows = self.embed(images), []
        for i in range(self.depth):
            rows.append(SiteSignals(self.vit, state, 2 * i).attention())
            state = self.advance(state, 2 * i, 2 * i + 2)
        return torch.stack(rows), self.head(state)

    def _pruner(self) -> Pruner:
        if self.pruner is None:
            raise ValueError("this SparseViT was made without a pruner")
        return self.pruner

    def _logits_from(self, state: TokenState, cursor: int) -> Callable[[Tensor], Tensor]:
        return lambda tokens: self.head(self.advance(replace(state, tokens=tokens), cursor, 2 * self.depth))


def _drop_patches(
    drop: PatchDropout, tokens: Float[Tensor, "b s c"], prefix: int
) -> tuple[Float[Tensor, "b m c"], Int[Tensor, "b t"]]:
    """PatchDropout in training, in image order, with the token that each patch lives in.

    Positions ride along as one more channel: timm's module does not say which tokens it drops.
    """
    place = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])[:, :, None]
    dropped = drop(torch.cat([tokens.float(), place.float()], dim=2))
    order = dropped[:, :, -1].argsort(dim=1)
    dropped = dropped.gather(1, order[:, :, None].expand_as(dropped))
    position = dropped[:, prefix:, -1].long() - prefix
    owner = position.new_full((len(tokens), tokens.shape[1] - prefix), -1)
    token = torch.arange(position.shape[1], device=owner.device).expand_as(position)
    return dropped[:, :, :-1].to(tokens.dtype), owner.scatter_(1, position, token)


def refuse_unsupported(vit: nn.Module) -> None:
    """Raises UsageError, naming the part, for a model that SparseViT would not run faithfully."""
    name = type(vit).__name__
    if type(vit) not in (VisionTransformer, VisionTransformerDistilled):
        rotary = " with rotary position code" if getattr(vit, "rope", None) is not None else ""
        raise UsageError(
            f"cannot prune {name}{rotary}: only timm's VisionTransformer (and distilled DeiT) is supported"
        )
    if getattr(vit, "attn_pool", None) is not None:
        raise UsageError(f"cannot prune a model with attention pooling ({vit.global_pool!r}): use token or avg pooling")
    if type(vit.patch_embed) is not PatchEmbed:
        raise UsageError(f"cannot prune a model with patch embedding {type(vit.patch_embed).__name__}: use PatchEmbed")
    for i, block in enumerate(cast(nn.Sequential, vit.blocks)):
        if type(block) is not Block:
            raise UsageError(f"cannot prune a model with {type(block).__name__} (block {i}): only timm's plain Block")
        if type(block.attn) is not Attention:
            raise UsageError(
                f"cannot prune a model with {type(block.attn).__name__} (block {i}): only timm's plain Attention"
            )
