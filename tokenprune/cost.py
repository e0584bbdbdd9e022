"""FLOPs of a (pruned) Vision Transformer in closed form.

A multiply-add counts as two. Counted are matrix products and the patch embedding's convolution, the convention of
torch's FlopCounterMode; softmax, norms, activations, top-k and gather are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenprune.recipe import Keep, Schedule, counts
from tokenprune.recipe.site import InputScores


@dataclass(frozen=True)
class Architecture:
    """The sizes that decide a ViT's FLOPs; `models.architecture_of` reads them off a model.

    Methods count one image with a number of patch tokens, and the prefix.

    prefix: class, distillation and register tokens. mlp_hidden: inputs of an MLP's second layer. mlp_gated: its first
    layer also makes as many gates (SwiGLU). qk_norm: keys go through a norm or a rotary code, or are shared by heads.
    classifiers: 2 in a distilled DeiT. stem: FLOPs of a convolutional patch embedding (hybrid), 0 for a plain one.
    pool_hidden: inputs of the second layer of an attention pool's MLP, 0 for other pooling; pool_prefix: prefix tokens
    that it reads. counted: FLOPs of the whole forward pass, of a model that is no ViT and has no sites; else 0.
    """

    depth: int
    dim: int
    heads: int
    mlp_hidden: int
    patches: int
    prefix: int
    patch_size: int
    classes: int
    channels: int = 3
    class_token: bool = True
    qk_norm: bool = False
    mlp_gated: bool = False
    classifiers: int = 1
    stem: int = 0
    pool_hidden: int = 0
    pool_prefix: int = 0
    counted: int = 0

    @property
    def embedding(self) -> int:
        return self.stem or 2 * self.patches * self.dim * self.channels * self.patch_size**2

    def head(self, patches: int) -> int:
        """Attention pooling, if any, by one query over so many patch tokens; the classifier."""
        classifier = 2 * self.dim * self.classes * self.classifiers
        if not self.pool_hidden:
            return classifier
        tokens = patches + self.pool_prefix
        pool = 2 * self.dim**2 + 2 * tokens * self.dim**2 + 2 * tokens * self.dim + 2 * self.dim * self.pool_hidden
        return classifier + 2 * pool

    def projections(self, patches: int) -> int:
        """A block's queries, keys, values and output."""
        return 2 * 4 * (patches + self.prefix) * self.dim**2

    def maps(self, patches: int) -> int:
        """A block's products of queries with keys and of attention with values."""
        return 2 * 2 * (patches + self.prefix) ** 2 * self.dim

    def attention(self, patches: int) -> int:
        return self.projections(patches) + self.maps(patches)

    def mlp(self, patches: int) -> int:
        return 2 * (patches + self.prefix) * self.dim * self.mlp_hidden * (3 if self.mlp_gated else 2)


@dataclass(frozen=True)
class Cost:
    """The cost of one image.

    flops: all of it. scoring: the part spent on scores. realised_mean: share of the image's patches present, averaged
    over blocks, a block counting the patch tokens that its MLP sees.
    """

    flops: int
    scoring: int
    realised_mean: float


@dataclass(frozen=True)
class Passed:
    """A pruning site that an image passed: the patch tokens left, and the signals that were computed there."""

    cursor: int
    left: int
    asked: tuple[str, ...] = ()


def flops(
    architecture: Architecture,
    schedule: Schedule | None = None,
    keep: Keep = 1.0,
    asks: Sequence[str] = (),
) -> Cost:
    """The forward pass of one image with ceil(keep n) of n patch tokens kept at each site; no schedule, no pruning.

    asks: the signals (see pruners.base) that the pruner computes at a site, as `Trace.asked` names them: attention for
    magnitude, none for random and for the oracle where relevance is known. A site that keeps all tokens asks none.
    """
    passed, n = [], architecture.patches
    cursors = schedule.cursors if schedule is not None else ()
    for cursor, k in zip(cursors, counts(keep, n, len(cursors)), strict=True):
        passed.append(Passed(cursor, k, tuple(asks) if k < n else ()))
        n = k
    return measured(architecture, passed, schedule.recorded[1] if schedule is not None else None)


def measured(architecture: Architecture, passed: Sequence[Passed], input_scores: InputScores | None = None) -> Cost:
    """The forward pass of one image that passed these sites. input_scores: at site `input` only."""
    if architecture.counted:
        return Cost(architecture.counted, 0, 1.0)
    total, scoring, seen, n = architecture.embedding, 0, 0, architecture.patches
    sites = {site.cursor: site for site in passed}
    for cursor in range(2 * architecture.depth):
        if (site := sites.get(cursor)) is not None:
            scoring += sum(_signal(architecture, name, cursor, n, input_scores) for name in site.asked)
            n = site.left
        if cursor % 2:
            seen += n
            total += architecture.mlp(n)
        else:
            total += architecture.attention(n)
    total += architecture.head(n)
    return Cost(total + scoring, scoring, seen / (architecture.patches * architecture.depth))


def _signal(a: Architecture, name: str, cursor: int, n: int, input_scores: InputScores | None) -> int:
    """One signal at one site, besides the forward pass itself."""
    if name in ("attention", "attention_by_head"):
        name = "class_attention" if a.class_token else "received_attention"
    if name in ("class_attention", "received_attention", "attention_maps"):
        one = _class_row(a, n) if name == "class_attention" else _full_map(a, n)
        return one if input_scores is None else _input_pass(a, one, input_scores)
    if name in ("keys", "values", "value_norms"):
        return 2 * n * a.dim**2
    if name == "gradient_times_token":
        return _gradient(a, cursor, n)
    return 0


def _class_row(a: Architecture, n: int) -> int:
    tokens = n + a.prefix
    if a.qk_norm:  # the query, all keys, their products
        return 2 * (a.dim**2 + tokens * a.dim**2 + tokens * a.dim)
    # the query, folded with the key weights into one vector per head, times all tokens
    return 2 * (2 * a.dim**2 + a.heads * tokens * a.dim)


def _full_map(a: Architecture, n: int) -> int:
    """Queries and keys of all tokens, their products."""
    return a.projections(n) // 2 + a.maps(n) // 2


def _input_pass(a: Architecture, one: int, input_scores: InputScores) -> int:
    """All blocks but the last over all tokens, and the scores of the last block, of every block, or their rollout."""
    blocks = (a.depth - 1) * (a.attention(a.patches) + a.mlp(a.patches))
    if input_scores == "last":
        return blocks + one
    if input_scores == "mean":
        return blocks + a.depth * one
    return blocks + a.depth * _full_map(a, a.patches) + (a.depth - 1) * 2 * (a.patches + a.prefix) ** 3


def _gradient(a: Architecture, cursor: int, n: int) -> int:
    """The rest of the network forward, and backward to the tokens: once per weight product, twice per map product."""
    blocks = range((cursor + 1) // 2, a.depth)
    linear = len(blocks) * a.projections(n) + (a.depth - cursor // 2) * a.mlp(n) + a.head(n)
    return 2 * linear + 3 * len(blocks) * a.maps(n)
