"""A pruned model for somebody else's loop: an `nn.Module` of images alone, with the weights of the bare model.

Shapes: b images, p prefix tokens, n patch tokens left, c channels.
"""

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import torch
from jaxtyping import Float, Int
from timm.models import VisionTransformer
from torch import Tensor, nn

from tokenprune import pruners
from tokenprune.data import Batch
from tokenprune.errors import UsageError
from tokenprune.models import BatchInfo, SparseViT, Trace
from tokenprune.models.sparse import refuse_unsupported
from tokenprune.pruners.base import Pruner, Taught
from tokenprune.recipe import Keep, RemovedPerSite, Schedule, written


def sparsify(
    model: VisionTransformer,
    method: str | Pruner,
    keep: float | Iterable[float] = 0.7,
    *,
    sites: str | None = None,
    r: int | None = None,
    seed: int = 0,
    **options: Any,
) -> "Sparsified":
    """A timm Vision Transformer that removes patch tokens as it runs; `model` becomes part of it, with its weights.

    method: a pruner that `tokenprune ls pruners` shows, with its `options`, or one of your own. keep: the share of the
    patch tokens entering each site that stays, or one for each site. r: patch tokens that leave at each site instead.
    sites: `before:BLOCKS`, `after:BLOCKS` or `input`; None is after the attention of the blocks at a quarter, a half
    and three quarters of the depth, as EViT has it (blocks 3, 6 and 9 of 12). seed: of random draws.

    Raises UsageError for a model that cannot be pruned, an unknown method or option, and sites or ratios out of range.
    """
    refuse_unsupported(model)
    if sites is not None and not isinstance(sites, str):
        raise UsageError(f"sites {sites!r}: must be text, such as after:3,6,9")
    if options and not isinstance(method, str):
        raise UsageError(f"options {', '.join(sorted(options))}: only for a pruner by name")
    pruner = pruners.create(method, **options) if isinstance(method, str) else method
    schedule = quarters(model) if sites is None else Schedule.parse(sites)
    found = Sparsified(model, pruner, schedule, ratios(keep) if r is None else _removed(r), seed)
    found.method = (method if isinstance(method, str) else "", options)
    like = next(model.parameters())
    pruner.to(like.device, like.dtype)
    return found


class Sparsified(nn.Module):
    """As `sparsify` makes it.

    Its state dict is the bare model's, and the pruner's parameters as `pruner.NAME`. What is not found here is looked
    up in the bare model (`num_classes`, `set_grad_checkpointing`, `default_cfg`).

    method: the pruner's name and options, as `sparsify` was given them.
    """

    method: tuple[str, dict[str, Any]] = ("", {})

    def __init__(self, vit: VisionTransformer, pruner: Pruner, schedule: Schedule, keep: Keep, seed: int = 0) -> None:
        super().__init__()
        self.sparse = SparseViT(vit, pruner, schedule, keep)
        self.sparse.schedule.check(self.sparse.depth, self.sparse.class_pooled)
        self._keep = keep
        self.sparse.counts(keep)
        self.seed = seed
        self.register_state_dict_post_hook(_to_bare_names)
        self.register_load_state_dict_pre_hook(_from_bare_names)

    @property
    def pruner(self) -> Pruner:
        assert self.sparse.pruner is not None
        return self.sparse.pruner

    @property
    def keep(self) -> Keep:
        """What stays at the sites: a ratio, one for each site, or `RemovedPerSite`. Set it at any time."""
        return self._keep

    @keep.setter
    def keep(self, keep: float | Iterable[float] | RemovedPerSite) -> None:
        asked = keep if isinstance(keep, RemovedPerSite) else ratios(keep)
        self.sparse.counts(asked)  # UsageError for as many ratios as there are no sites
        if self.pruner.fixed and self.sparse.counts(asked) != self.sparse.counts(self._keep):
            raise UsageError(f"keep {written(asked)}: this pruner has parameters made for {written(self._keep)}")
        self._keep = asked

    def forward(
        self, images: Float[Tensor, "b 3 y x"], trace: bool = False, info: BatchInfo | None = None
    ) -> Float[Tensor, "b classes"] | Trace:
        """Logits; with `trace` all of the pass: logits, features, and the state after each site (count, owner, weight).

        info: what some pruners need beside the images, as labels or relevance for `oracle`.
        """
        found = self.sparse.run(images, self._keep, info or self._drawn(images))
        return found if trace else found.logits

    def forward_features(self, images: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b p+n c"]:
        """Prefix tokens and the patch tokens that are left, after the final norm."""
        return self.sparse.run(images, self._keep, self._drawn(images), whole=True).features

    def loss(
        self,
        trace: Trace,
        images: Float[Tensor, "b 3 y x"],
        labels: Int[Tensor, " b"],
        teacher: Taught | None = None,
    ) -> Float[Tensor, ""]:
        """What a learned pruner adds to the training loss of that pass; 0 for any other."""
        index = torch.arange(images.shape[0], device=images.device)
        own = self.pruner.loss(trace, Batch(images, labels, None, index), teacher)
        return trace.features.new_zeros(()) if own is None else own

    def no_weight_decay(self) -> set[str]:
        """Parameters that timm's optimisers leave without weight decay."""
        return {f"sparse.{name}" for name in self.sparse.no_weight_decay()}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which layer a parameter is of, for timm's optimisers with layer decay; the pruner's count as the last."""

        def ours(found: Any) -> Any:
            if isinstance(found, str):
                return rf"^sparse\.vit\.(?:{found.replace('^', '')})"
            return [(ours(pattern), *rest) for pattern, *rest in found]

        return {name: ours(found) for name, found in self.sparse.vit.group_matcher(coarse).items()}

    def _drawn(self, images: Tensor) -> BatchInfo:
        """For draws: the same for an image's place in the batch in evaluation, others at each step of training."""
        draw = int(torch.randint(2**62, ())) if self.training and self.pruner.stochastic else 0
        return BatchInfo(index=torch.arange(images.shape[0], device=images.device), seed=self.seed + draw)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            sparse: Any = super().__getattr__("sparse")
            return getattr(sparse.vit, name)


def quarters(model: VisionTransformer) -> Schedule:
    depth = len(model.blocks)
    return Schedule("after", tuple(sorted({depth * i // 4 for i in (1, 2, 3)} - {depth - 1})) or (0,))


def ratios(keep: float | Iterable[float]) -> Keep:
    found = tuple(keep) if isinstance(keep, Iterable) else (keep,)
    for ratio in found:
        if isinstance(ratio, bool) or not isinstance(ratio, Real) or not 0 < ratio <= 1:
            raise UsageError(f"keep {ratio!r}: must be above 0 and at most 1")
    return tuple(map(float, found)) if isinstance(keep, Iterable) else float(found[0])


def _removed(r: int) -> RemovedPerSite:
    if isinstance(r, bool) or not isinstance(r, Integral) or r < 1:
        raise UsageError(f"r {r!r}: must be a whole number, 1 or more")
    return RemovedPerSite(int(r))


def _to_bare_names(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}sparse.")]:
        state[prefix + key.removeprefix(f"{prefix}sparse.").removeprefix("vit.")] = state.pop(key)


def _from_bare_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        part = "sparse." if name.startswith("pruner.") else "sparse.vit."
        state[prefix + part + name] = state.pop(key)
