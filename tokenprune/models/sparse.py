"""Run a timm Vision Transformer with pruning sites, through the model's own modules.

Shapes: b images, n patch tokens present, s = p + n all tokens with p prefix tokens, c channels, h heads, d channels of
a head, t patches of an image, l blocks.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from timm.layers import Attention, AttentionRope, PatchDropout, PatchEmbed
from timm.models import VisionTransformer
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tokenprune.errors import UsageError
from tokenprune.models.attention import attend, attention_of, blocks_of, codes, feed, log_weight, places, prefix_alone
from tokenprune.models.local import LocalAttention, LocalBlock, LocalTransformer
from tokenprune.models.positional import PositionalAttention, PositionalBlock, PositionalTransformer
from tokenprune.models.signals import BatchInfo, InputSignals, SiteSignals
from tokenprune.pruners.base import Pruner, ScorePruner, Shape, TokenState, select
from tokenprune.recipe import Keep, Schedule, counts

#: Groups of images of like numbers of tokens that one batch of an adaptive pruner is divided into.
_GROUPS = 4


@dataclass(frozen=True)
class Trace:
    """A forward pass.

    states: what was present after each pruning site, in order. asked: the signals that were computed at each and cost
    products (see cost). features: all tokens after the last block and the final norm; in training of a model that
    classifies from its class token the prefix tokens alone, unless the pruner has a `loss` or `finish` of its own.
    """

    logits: Float[Tensor, "b classes"]
    states: tuple[TokenState, ...]
    asked: tuple[tuple[str, ...], ...]
    features: Float[Tensor, "b p+n c"]


@dataclass(frozen=True)
class Ranked:
    """A ranking at the first site that was made already, and the signals asked for it."""

    score: Float[Tensor, "b n"]
    asked: tuple[str, ...]


class SparseViT(nn.Module):
    """A timm ViT that removes patch tokens at the schedule's sites.

    Cursors count half-blocks: 2i is before block i, 2i + 1 between its attention and its MLP, 2 depth the end.

    pruner: None for the bare model. schedule: before:0 where it is None. keep: what it is made for, where the pruner
    makes parameters of the counts.

    Raises UsageError for a model it cannot run faithfully, and for a site beyond its depth.
    """

    #: Whether every block has attention.
    attends = True
    #: Cursors from one block to the next.
    per_block = 2

    def __init__(
        self,
        vit: VisionTransformer,
        pruner: Pruner | None = None,
        schedule: Schedule | None = None,
        keep: Keep = 1.0,
    ) -> None:
        super().__init__()
        refuse_unsupported(vit)
        self.vit = vit
        self.pruner = pruner
        self.schedule = schedule or Schedule("before", (0,))
        self.schedule.check(self.depth)
        if pruner is not None:
            pruner.setup(replace(self.shape, counts=self.counts(keep)), self.schedule.cursors)

    @property
    def depth(self) -> int:
        return len(self.vit.blocks)

    @property
    def parts(self) -> tuple[str, ...]:
        """What made the tokens at each cursor."""
        return ("embedding", *("attention", "MLP") * self.depth)

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
        return patch_size_of(self.vit)

    @property
    def shape(self) -> Shape:
        """The sizes that a pruner may need."""
        mlp = blocks_of(self.vit)[0].mlp
        return Shape(
            depth=self.depth,
            dim=self.vit.embed_dim,
            heads=attention_of(blocks_of(self.vit)[0]).num_heads,
            grid=self.vit.patch_embed.grid_size,
            prefix=self.prefix,
            class_token=self.vit.cls_token is not None,
            classes=self.vit.num_classes,
            mlp=sum(each.weight.numel() for each in mlp.modules() if isinstance(each, nn.Linear)),
        )

    @property
    def class_pooled(self) -> bool:
        """Whether the classifier reads the class token (and a distillation token) alone."""
        return self.vit.global_pool == "token"

    def no_weight_decay(self) -> set[str]:
        """Parameters that timm's optimisers leave without weight decay."""
        return {f"vit.{name}" for name in self.vit.no_weight_decay()}

    def counts(self, keep: Keep) -> tuple[int, ...]:
        """Patch tokens that stay at each site. UsageError for as many ratios as there are no sites."""
        return counts(keep, self.patches, len(self.schedule.cursors))

    def forward(
        self, images: Float[Tensor, "b 3 y x"], keep: Keep = 1.0, info: BatchInfo | None = None
    ) -> Float[Tensor, "b classes"]:
        """Logits with ceil(keep * n) of the n patch tokens that enter each site kept there."""
        return self.run(images, keep, info).logits

    def run(
        self, images: Float[Tensor, "b 3 y x"], keep: Keep = 1.0, info: BatchInfo | None = None, whole: bool = False
    ) -> Trace:
        """As `forward`, with what was present after each site. whole: all tokens as features in training too."""
        state = self.embed(images)
        if self.pruner is None:
            if keep != 1:
                raise ValueError(f"keep {keep} needs a pruner: this SparseViT was made without")
            return self._finished(self._through(state, 0, whole))
        # Where patches were dropped at the input, the ratios are of those that are left.
        left = counts(keep, state.count, len(self.schedule.cursors))
        return self.complete(state, 0, list(zip(self.schedule.cursors, left, strict=True)), info, whole=whole)

    def complete(
        self,
        state: TokenState,
        cursor: int,
        sites: Sequence[tuple[int, int]],
        info: BatchInfo | None = None,
        ranked: Ranked | None = None,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
        whole: bool = False,
    ) -> Trace:
        """From a state at `cursor` to the logits, through sites with the patch tokens that stay at each.

        ranked: the ranking at the first of them. timed: entered around each piece of the pruner's own work. whole: as
        in `run`.

        Images that an adaptive pruner leaves with like numbers of tokens run together, in evaluation.
        """
        pruner, states, asked = self._pruner(), [], []
        for i, (site, keep) in enumerate(sites):
            state, cursor = self.advance(state, cursor, site), site
            with timed():
                if i == 0 and ranked is not None and keep < state.count:
                    state = select(state, ranked.score, keep)
                    asked.append(ranked.asked)
                else:
                    signals = self.signals(state, site, info)
                    state = pruner.reduce(state, min(keep, state.count), signals)
                    asked.append(signals.asked)
                groups = _groups(state) if pruner.adaptive and not self.training else []
            states.append(state)
            if len(groups) > 1:
                rest = [
                    self.complete(
                        images_of(state, rows).trimmed(), site, sites[i + 1 :], info and info.take(rows), timed=timed
                    )
                    for rows in groups
                ]
                return _joined(states, asked, rest, groups)
        return self._finished(pruner.finish(self._through(state, cursor, whole)), states, asked)

    def _through(self, state: TokenState, cursor: int, whole: bool) -> TokenState:
        """From `cursor` through the last block. In training of the prefix tokens alone, where nothing reads others."""
        own, last = self.pruner, blocks_of(self.vit)[-1]
        reads = own is not None and (type(own).loss, type(own).finish) != (Pruner.loss, Pruner.finish)
        gated = getattr(attention_of(last), "gate", None) is not None or state.rotary is not None
        before = 2 * self.depth - 2
        if whole or not (self.vit.training and self.class_pooled) or reads or gated or cursor > before:
            return self.advance(state, cursor, 2 * self.depth)
        state = self.advance(state, cursor, before)
        tokens = prefix_alone(last, state.tokens, self.prefix, log_weight(state))
        return replace(
            state, tokens=tokens, owner=torch.full_like(state.owner, -1), weight=None, entered=None, carried={}
        )

    def _finished(
        self, state: TokenState, states: Sequence[TokenState] = (), asked: Sequence[tuple[str, ...]] = ()
    ) -> Trace:
        features = self.vit.norm(state.tokens)
        return Trace(self._classify(state, features), tuple(states), tuple(asked), features)

    def embed(self, images: Float[Tensor, "b 3 y x"]) -> TokenState:
        """Tokens as they enter block 0."""
        vit = self.vit
        placed = vit._pos_embed(vit.patch_embed(images))
        tokens, rotary = placed if isinstance(placed, tuple) else (placed, None)
        tokens = vit.norm_pre(tokens)
        embedded = tokens[:, self.prefix :]
        count = embedded.shape[1]
        if self.pruner is not None and count != self.patches:
            raise UsageError(f"images of {count} patches: the pruner is made for the model's own size, {self.patches}")
        owner = torch.arange(count, device=tokens.device).expand(tokens.shape[0], count)
        drops = isinstance(vit.patch_drop, PatchDropout) and vit.training and bool(vit.patch_drop.prob)
        if drops:
            tokens, owner = _drop_patches(vit.patch_drop, tokens, self.prefix)
        return TokenState(tokens, self.prefix, owner, embedded=embedded, rotary=rotary, whole=not drops)

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
        where = places(state)
        while cursor < stop:
            block, attends = blocks[cursor // 2], cursor % 2 == 0
            asked = mask | codes(state, cursor // 2, where) if attends else {}
            if attends and cursor + 1 < stop and cursor not in skip and cursor + 1 not in skip:
                x = checkpoint(block, x, use_reentrant=False, **asked) if recompute else block(x, **asked)
                cursor += 2
                continue
            if attends:
                entered = x
            if cursor in skip:
                pass
            elif attends:
                x = attend(block, x, **asked)
            else:
                x = feed(block, x)
            cursor += 1
        return replace(state, tokens=x, entered=entered if stop % 2 else None)

    def head(self, state: TokenState) -> Float[Tensor, "b classes"]:
        """Final norm, pooling over the tokens present by weight, classifier."""
        return self._classify(state, self.vit.norm(state.tokens))

    def _classify(self, state: TokenState, x: Float[Tensor, "b p+n c"]) -> Float[Tensor, "b classes"]:
        vit, bias = self.vit, log_weight(state)
        if bias is None or self.class_pooled:
            return vit.forward_head(x)
        first = 0 if pools_prefix(vit) else self.prefix
        if vit.attn_pool is not None:
            pooled = vit.attn_pool(x[:, first:], attn_mask=bias[:, None, None, first:])
            return vit.head(vit.head_drop(vit.fc_norm(pooled)))
        if vit.global_pool != "avg":
            raise ValueError(f"tokens of unequal weight are pooled by average or attention, not by {vit.global_pool!r}")
        weight = F.pad(state.weights.to(x.dtype), (self.prefix, 0), value=1.0)
        return vit.forward_head(x * (weight / weight[:, first:].mean(dim=1, keepdim=True))[:, :, None])  # timm's mean

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
        def rest(tokens: Tensor) -> Tensor:
            rotary = None if state.rotary is None else state.rotary.clone()  # which may be an inference tensor
            return self.head(self.advance(replace(state, tokens=tokens, rotary=rotary), cursor, 2 * self.depth))

        return rest


def _groups(state: TokenState) -> list[Int[Tensor, " k"]]:
    """Images by how many tokens they have left: at most _GROUPS groups, in rising order; one where all have alike."""
    if state.weight is None:
        return []
    left = (state.weight > 0).sum(1)
    if int(left.min()) == int(left.max()):
        return []
    return list(left.argsort(stable=True).chunk(_GROUPS))


def images_of(state: TokenState, rows: Int[Tensor, " k"]) -> TokenState:
    """Some images of a state."""

    def of(part: Tensor | None) -> Tensor | None:
        return None if part is None else part[rows]

    return replace(
        state,
        tokens=state.tokens[rows],
        owner=state.owner[rows],
        weight=of(state.weight),
        entered=of(state.entered),
        embedded=of(state.embedded),
        carried={name: value[rows] for name, value in state.carried.items()},
        memory={name: value[rows] for name, value in state.memory.items()},
    )


def _joined(
    states: list[TokenState],
    asked: list[tuple[str, ...]],
    rest: list[Trace],
    groups: list[Int[Tensor, " k"]],
) -> Trace:
    """One trace from those of the groups of a batch, padded to the same number of tokens."""
    back = torch.cat(groups).argsort()
    later = [_together([trace.states[i] for trace in rest], back) for i in range(len(rest[0].states))]
    most = max(trace.features.shape[1] for trace in rest)
    features = torch.cat([F.pad(trace.features, (0, 0, 0, most - trace.features.shape[1])) for trace in rest])[back]
    logits = torch.cat([trace.logits for trace in rest])[back]
    names = [tuple(sorted({*sum(each, ())})) for each in zip(*(trace.asked for trace in rest), strict=True)]
    return Trace(logits, (*states, *later), (*asked, *names), features)


def _together(states: list[TokenState], back: Int[Tensor, " b"]) -> TokenState:
    most = max(state.count for state in states)

    def padded(part: Tensor, count: int) -> Tensor:
        return F.pad(part, (0, 0, 0, most - count) if part.ndim == 3 else (0, most - count))

    return replace(
        states[0],
        tokens=torch.cat([padded(state.tokens, state.count) for state in states])[back],
        owner=torch.cat([state.owner for state in states])[back],
        weight=torch.cat([padded(state.weights, state.count) for state in states])[back],
        entered=None,
        embedded=None,
        carried={},
        memory={},
    )


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
    owner = position.new_full((tokens.shape[0], tokens.shape[1] - prefix), -1)
    token = torch.arange(position.shape[1], device=owner.device).expand_as(position)
    return dropped[:, :, :-1].to(tokens.dtype), owner.scatter_(1, position, token)


def patch_size_of(vit: VisionTransformer) -> int:
    """Side of a patch token in pixels, also where convolutions come before the patches (hybrid)."""
    embed = vit.patch_embed
    return embed.patch_size[0] if type(embed) is PatchEmbed else embed.img_size[0] // embed.grid_size[0]


def pools_prefix(vit: VisionTransformer) -> bool:
    """Whether prefix tokens are pooled with the patch tokens; in timm's Eva its attention pool reads them all."""
    if isinstance(vit, Eva):
        return vit.attn_pool is not None
    return bool(vit.pool_include_prefix)


def refuse_unsupported(vit: nn.Module) -> None:
    """Raises UsageError, naming the part, for a model that SparseViT would not run faithfully."""
    name = type(vit).__name__
    if type(vit) not in (VisionTransformer, VisionTransformerDistilled, PositionalTransformer, LocalTransformer, Eva):
        raise UsageError(
            f"cannot prune {name}: only timm's VisionTransformer (and distilled DeiT) and Eva (rotary codes) are taken"
        )
    if isinstance(vit, Eva) and vit.patch_drop is not None:
        raise UsageError("cannot prune a model with rotary codes and patch dropout of its own (patch_drop_rate)")
    pool = getattr(vit, "attn_pool", None)
    if pool is not None and pool.pos_embed is not None:
        raise UsageError("cannot prune a model whose attention pooling has position embeddings of its own")
    if type(vit.patch_embed) not in (PatchEmbed, HybridEmbed):
        raise UsageError(f"cannot prune a model with patch embedding {type(vit.patch_embed).__name__}: use PatchEmbed")
    for i, block in enumerate(cast(nn.Sequential, vit.blocks)):
        if type(block) not in (Block, PositionalBlock, LocalBlock, EvaBlock):
            raise UsageError(
                f"cannot prune a model with {type(block).__name__} (block {i}): only timm's plain Block and EvaBlock"
            )
        if type(block.attn) not in (Attention, PositionalAttention, LocalAttention, EvaAttention, AttentionRope):
            raise UsageError(
                f"cannot prune a model with {type(block.attn).__name__} (block {i}): only timm's plain attention"
            )
