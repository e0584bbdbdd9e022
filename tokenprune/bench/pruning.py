"""The pruned forward pass against its FLOP-ideal, and one `prune` against separate evaluations."""

from typing import Any

import torch
from timm.models import VisionTransformer

from tokenprune import cost, hardware, models, pruners
from tokenprune.api.sparsify import sparsify
from tokenprune.bench.timing import Ratio, interleaved
from tokenprune.data import Dataset, ImageSet, test_batches
from tokenprune.evaluation import CurvePlan, prune_curves
from tokenprune.models import BatchInfo, SparseViT
from tokenprune.recipe import Model, Schedule

METHODS = ("magnitude", "random", "oracle")


def forward(depth: int, keep: float, rounds: int, batch: int = 128) -> Ratio:
    """Magnitude, one site after block 3 (or the last block): measured speed-up over the FLOP-ideal one."""
    device = hardware.choose_device("auto")
    vit = vit_of(depth, device)
    schedule = Schedule("after", (min(3, depth - 1),))
    pruned = SparseViT(vit, pruners.create("magnitude"), schedule).eval()
    bare = SparseViT(vit).eval()
    images = torch.randn(batch, 3, 32, 32, device=device)
    sizes = models.architecture_of(vit)
    ideal = cost.flops(sizes).flops / cost.flops(sizes, schedule, keep, ("attention",)).flops
    with torch.inference_mode():
        seconds = interleaved({"unpruned": lambda: bare(images), "pruned": lambda: pruned(images, keep)}, rounds, 2)
    reached = seconds["unpruned"] / seconds["pruned"]
    what = f"depth {depth}, {schedule}, fp32, batch {batch}: {reached:.2f}x of an ideal {ideal:.2f}x"
    return Ratio(f"forward/keep-{keep:g}", what, reached / ideal, seconds, 0.95)


def wrapped(depth: int, rounds: int, batch: int = 128) -> Ratio:
    """A model of `tokenprune.sparsify` at keep 1 over timm's own forward pass."""
    device = hardware.choose_device("auto")
    vit = vit_of(depth, device)
    model = sparsify(vit, "tome", 1.0).eval()
    images = torch.randn(batch, 3, 32, 32, device=device)
    with torch.inference_mode():
        seconds = interleaved({"timm": lambda: vit(images), "sparsified": lambda: model(images)}, rounds, 2)
    what = f"depth {depth}, keep 1, fp32, batch {batch}: time over timm's own forward pass"
    return Ratio("forward/sparsified", what, seconds["sparsified"] / seconds["timm"], seconds, 1.02, at_most=True)


def sharing(depth: int, block: int, target: float, images: int, rounds: int) -> Ratio:
    """Three methods at ten ratios in one pass, over thirty passes of one method and ratio each.

    block: tokens go before it. target: the share of the separate time that is promised.
    """
    device = hardware.choose_device("auto")
    vit, dataset = vit_of(depth, device), _images(images, device)
    keep = tuple(k / 10 for k in range(10, 0, -1))
    schedule = Schedule("before", (block,))
    methods: tuple[tuple[str, dict[str, Any]], ...] = tuple((name, {}) for name in METHODS)
    plan = CurvePlan(methods, keep, schedule, seeds=1, batch_size=images, examples=0)

    def separate() -> None:
        for method in METHODS:
            for ratio in keep:
                one_evaluation(vit, dataset, method, ratio, schedule)

    def together() -> None:
        prune_curves(vit, dataset, plan, run="bench", seed=0, device=device)

    seconds = interleaved({"separate": separate, "together": together}, rounds)
    what = f"3 methods x 10 ratios, depth {depth}, {images} images: time over thirty separate evaluations"
    ratio = seconds["together"] / seconds["separate"]
    return Ratio(f"sharing/before-{block}", what, ratio, seconds, target, at_most=True)


@torch.inference_mode()
def one_evaluation(
    vit: VisionTransformer, dataset: Dataset, method: str, keep: float, schedule: Schedule
) -> torch.Tensor:
    """What thirty separate evaluations do each: the pruned model over the images, once."""
    model = SparseViT(vit, pruners.create(method), schedule).eval()
    answers = []
    for batch in test_batches(dataset, len(dataset.test), model.patch_size):
        info = BatchInfo(batch.relevance, batch.labels, batch.index)
        answers.append(model(batch.images, keep, info).argmax(1))
    return torch.cat(answers).cpu()


def vit_of(depth: int, device: torch.device) -> VisionTransformer:
    """A model of the shipped recipes' width."""
    return models.build(Model(depth=depth, dim=192, heads=3), 10, 32).to(device).eval()


def _images(count: int, device: torch.device) -> Dataset:
    """Random images with a random square marked relevant: their content does not change the time."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    mask = torch.zeros(count, 32, 32, dtype=torch.uint8)
    mask[:, 3:29, 3:29] = 1
    part = ImageSet(pixels, torch.arange(count) % 10, mask)
    return Dataset(part, part, tuple(map(str, range(10))), (0.5,) * 3, (0.25,) * 3).to(device)
