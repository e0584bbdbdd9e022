"""One pass over the test images for all methods, draws and ratios; shared blocks are computed once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from timm.models import VisionTransformer

from tokenprune import hardware, pruners
from tokenprune.data import Batch, Dataset, test_batches
from tokenprune.evaluation.accumulator import PointAccumulator
from tokenprune.evaluation.examples import seen
from tokenprune.evaluation.points import Curve, EvaluationPass, to_curve, varied
from tokenprune.evaluation.timing import Clock
from tokenprune.models import BatchInfo, Ranked, SparseViT, architecture_of, set_attention
from tokenprune.models.attention import fused_in
from tokenprune.pruners.base import Pruner, ScorePruner, TokenState
from tokenprune.recipe import Keep, RemovedPerSite, Schedule, counts

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class CurvePlan:
    """What to measure.

    methods: pruners by name, with their options. keep: what stays at the sites, a point each. seeds: draws of a
    stochastic pruner. examples: number of test images kept for the mosaic.
    """

    methods: tuple[tuple[str, dict[str, Any]], ...]
    keep: tuple[Keep, ...]
    schedule: Schedule
    seeds: int = 3
    batch_size: int = 500
    precision: hardware.Precision = "fp32"
    examples: int = 8


def prune_curves(
    vit: VisionTransformer,
    dataset: Dataset,
    plan: CurvePlan,
    *,
    run: str,
    seed: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
    baseline: np.ndarray | None = None,
    fill: Callable[[str, Pruner], None] | None = None,
) -> list[Curve]:
    """A curve per method on the test images of a data set, with a few of these as examples.

    progress: called with images done and their total. The rest, and errors, as of `curves_of`.
    """
    test = dataset.to(device).test
    examples = varied(test.labels.cpu().numpy(), plan.examples)
    return curves_of(
        vit.to(device),
        test_batches(dataset.to(device), plan.batch_size, SparseViT(vit).patch_size),
        plan,
        run=run,
        seed=seed,
        device=device,
        progress=None if progress is None else lambda done: progress(done, len(test)),
        baseline=baseline,
        fill=fill,
        examples=examples,
        pictures=dataset.presented(test.images[torch.from_numpy(examples).to(test.images.device)], None)[0]
        .cpu()
        .numpy(),
    )


def curves_of(
    vit: VisionTransformer,
    batches: Iterable[Batch],
    plan: CurvePlan,
    *,
    run: str,
    seed: int,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
    baseline: np.ndarray | None = None,
    fill: Callable[[str, Pruner], None] | None = None,
    examples: Int64[np.ndarray, " e"] = _NONE,
    pictures: UInt8[np.ndarray, "e 3 h h"] | None = None,
) -> list[Curve]:
    """A curve per method on batches of images on `device`, where `vit` is; every token removed by gather.

    Blocks before the first site run once for all; a ranking serves all ratios; a ratio that keeps every token is the
    unpruned model, which runs once. Speed is measured in the same pass, a point's time being that of the blocks
    before the site, its scores, and the blocks after. `seed` is the run's and decides all draws.
    progress: called with images done. baseline: classes predicted by the model to compare with, where that is not this
    one unpruned (a fine-tuned model is compared with the one it started from). fill: loads the trained parameters of
    the pruner of that name. examples: which images, by their number, are kept for the mosaic, as `pictures`.

    Raises UsageError for an unknown pruner, a site that the model lacks or does not read, and a `keep` that does not
    fit the sites or the pruner's parameters.
    """
    bare = SparseViT(vit)
    plan.schedule.check(bare.depth, bare.class_pooled)
    methods = [_draws(vit, plan, method, options, seed, fill) for method, options in plan.methods]
    unpruned, clock, done = PointAccumulator(1.0, None), Clock(device, plan.batch_size), 0
    labels, relevant = [], []
    first = plan.schedule.cursors[0]

    with inference(vit, plan.precision, device):
        for batch in batches:
            clock.batch(len(batch.labels))
            shown = [int(i) - done for i in examples if done <= i < done + len(batch.labels)]
            with clock.part("shared"):
                state = bare.advance(bare.embed(batch.images), 0, first)
            with clock.part(unpruned):
                logits = bare.head(bare.advance(state, first, 2 * bare.depth))
            at_sites = [state] * len(plan.schedule.cursors)
            unpruned.add(logits, at_sites, batch, seen(bare, at_sites, first, logits, shown) if shown else None)
            for draw in (draw for draws in methods for draw in draws):
                draw.visit(state, batch, clock, shown)
            if batch.relevance is not None:
                relevant.append(batch.relevance.sum(dtype=hardware.widest(device)))
            labels.append(batch.labels)
            done += len(batch.labels)
            if progress is not None:
                progress(done)

    measured = EvaluationPass(
        run=run,
        schedule=plan.schedule,
        precision=plan.precision,
        device=hardware.device_name(device),
        architecture=architecture_of(vit),
        labels=torch.cat(labels).cpu().numpy(),
        examples=examples,
        pictures=pictures,
        unpruned=unpruned,
        baseline=unpruned.answers() if baseline is None else baseline,
        relevant=float(sum(relevant)) if relevant else None,
        clock=clock,
    )
    return [
        to_curve(measured, method, options, _in_order(plan, bare.patches, unpruned, draws))
        for (method, options), draws in zip(plan.methods, methods, strict=True)
    ]


class MethodDraw:
    """One method and draw at every ratio that removes a token."""

    def __init__(self, model: SparseViT, keep: Sequence[Keep], draw: int | None, seed: int) -> None:
        assert model.pruner is not None
        self.model = model
        self.pruner: Pruner = model.pruner
        self.seed = seed
        self.points = [PointAccumulator(each, draw, scores=self) for each in keep]
        # A subclass with its own reduce does more than rank (it may fuse what it drops).
        ranks = isinstance(self.pruner, ScorePruner) and type(self.pruner).reduce is ScorePruner.reduce
        self.ranking = cast(ScorePruner, self.pruner) if ranks else None

    def visit(self, state: TokenState, batch: Batch, clock: Clock, shown: Sequence[int]) -> None:
        """Classify a batch at every ratio, from its state at the first site."""
        if not self.points:
            return
        model, sites = self.model, self.model.schedule.cursors
        info = BatchInfo(relevance=batch.relevance, labels=batch.labels, index=batch.index, seed=self.seed)
        ranked = None
        with clock.part(self):
            if self.ranking is not None:
                signals = model.signals(state, sites[0], info)
                ranked = Ranked(self.ranking.score(state, signals), signals.asked)
        for point in self.points:
            left = list(zip(sites, model.counts(point.keep), strict=True))
            with clock.part(point):
                trace = model.complete(state, sites[0], left, info, ranked, partial(clock.part, point.own))
            before = point.asked or trace.asked
            point.asked = tuple(tuple(sorted({*a, *b})) for a, b in zip(before, trace.asked, strict=True))
            look = seen(model, trace.states, sites[-1], trace.logits, shown) if shown else None
            point.add(trace.logits, trace.states, batch, look)


def _draws(
    vit: VisionTransformer,
    plan: CurvePlan,
    method: str,
    options: dict[str, Any],
    seed: int,
    fill: Callable[[str, Pruner], None] | None,
) -> list[MethodDraw]:
    """The draws of one method: a single one unless its pruner is stochastic."""
    pruner = pruners.create(method, **options)
    patches = vit.patch_embed.num_patches
    removing = [each for each in ordered(plan, patches) if removes(plan, patches, each)]
    # A pruner whose parameters are made for counts has them for one `keep` alone.
    model = SparseViT(vit, pruner, plan.schedule, removing[0] if removing else 1.0)
    if fill is not None:
        fill(method, pruner)
    pruner.to(next(vit.parameters()).device).eval()
    model.training = False  # of the model alone, which comes back as it was
    draws = range(plan.seeds) if pruner.stochastic else [None]
    return [MethodDraw(model, removing, draw, draw_seed(seed, draw or 0)) for draw in draws]


def removes(plan: CurvePlan, patches: int, keep: Keep) -> bool:
    """Whether that leaves fewer than the patch tokens of an image; the unpruned model is measured once for all."""
    return counts(keep, patches, len(plan.schedule.cursors))[-1] < patches


def ordered(plan: CurvePlan, patches: int) -> list[Keep]:
    """By what is left after the last site, falling; each once."""
    sites = len(plan.schedule.cursors)

    def size(keep: Keep) -> tuple[float, ...]:
        return keep if isinstance(keep, tuple) else () if isinstance(keep, RemovedPerSite) else (keep,)

    return sorted(set(plan.keep), key=lambda keep: (counts(keep, patches, sites)[-1], *size(keep)), reverse=True)


def _in_order(
    plan: CurvePlan, patches: int, unpruned: PointAccumulator, draws: Sequence[MethodDraw]
) -> list[tuple[Keep, PointAccumulator]]:
    """(ratio, point) by falling ratio, then by draw; a ratio that keeps all patches has one point, the unpruned one."""
    points = []
    for keep in ordered(plan, patches):
        found = [point for draw in draws for point in draw.points if point.keep == keep]
        points += [(keep, point) for point in found or [unpruned]]
    return points


def draw_seed(seed: int, draw: int) -> int:
    """Run seed and draw mixed, so that draw 1 of seed 0 is not draw 0 of seed 1."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1, np.uint64)[0])


@contextmanager
def inference(vit: VisionTransformer, precision: hardware.Precision, device: torch.device) -> Iterator[None]:
    """Evaluation mode, no gradients, the precision asked for and the faster attention; the model's own state after.

    On a CPU plain products beat the fused kernel in bf16 and not in fp32.
    """
    training, fused = vit.training, fused_in(vit)
    vit.eval()
    set_attention(vit, fused=device.type == "cuda" or precision == "fp32")
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        vit.train(training)
        set_attention(vit, fused=fused)
