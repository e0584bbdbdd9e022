"""Every method's pruned forward pass against its FLOP-ideal, and the batch from which pruning pays."""

from collections import Counter
from collections.abc import Sequence

import torch

from tokenprune import cost, hardware, models, pruners
from tokenprune.bench.pruning import vit_of
from tokenprune.bench.timing import Ratio, interleaved
from tokenprune.cost import Passed
from tokenprune.models import BatchInfo, SparseViT
from tokenprune.recipe import Schedule

#: Least shares of the ideal that are promised: for methods that drop tokens, and for those that weigh them.
GOAL, WEIGHED = 0.9, 0.85


def forwards(names: Sequence[str], depth: int, keep: float, rounds: int, batch: int = 128) -> list[Ratio]:
    """One site after block 3 (or the last block): measured speed-up over that of the tokens that were left, fp32.

    Tokens that an adaptive method leaves are counted image by image. What a method computes on its own (matching,
    clustering) is no part of the ideal.
    """
    device = hardware.choose_device("auto")
    vit = vit_of(depth, device)
    schedule = Schedule("after", (min(3, depth - 1),))
    bare, sizes = SparseViT(vit).eval(), models.architecture_of(vit)
    images = torch.randn(batch, 3, 32, 32, device=device)
    relevance = torch.rand(batch, sizes.patches, device=device)
    index = torch.arange(batch, device=device)
    info = BatchInfo(relevance, index % 10, index)
    runs, ideals, goals = {}, {}, {}
    with torch.inference_mode():
        for name in names:
            torch.manual_seed(0)
            pruner = pruners.create(name)
            model = SparseViT(vit, pruner, schedule, keep).to(device).eval()
            trace = model.run(images, keep, info)
            (state,), (asked,) = trace.states, trace.asked
            left = Counter((state.weights > 0).sum(1).tolist())
            flops = {n: cost.measured(sizes, [Passed(schedule.cursors[0], n, asked)]).flops for n in left}
            ideals[name] = cost.flops(sizes).flops * batch / sum(count * flops[n] for n, count in left.items())
            goals[name] = None if pruner.costly else GOAL if state.weight is None else WEIGHED
            runs[name] = lambda model=model: model(images, keep, info)
        seconds = interleaved({"unpruned": lambda: bare(images), **runs}, rounds, 1)
    found = []
    for name in names:
        reached = seconds["unpruned"] / seconds[name]
        what = f"depth {depth}, {schedule}, fp32, batch {batch}: {reached:.2f}x of an ideal {ideals[name]:.2f}x"
        both = {"unpruned": seconds["unpruned"], "pruned": seconds[name]}
        found.append(Ratio(f"methods/{name}/keep-{keep:g}", what, reached / ideals[name], both, goals[name]))
    return found


def crossover(depth: int, keep: float, rounds: int, batches: Sequence[int]) -> Ratio:
    """The smallest batch from which on magnitude at that ratio is faster than the unpruned model; 0 where none is."""
    device = hardware.choose_device("auto")
    vit = vit_of(depth, device)
    schedule = Schedule("after", (min(3, depth - 1),))
    bare, pruned = SparseViT(vit).eval(), SparseViT(vit, pruners.create("magnitude"), schedule).eval()
    speed: dict[int, float] = {}
    seconds: dict[str, float] = {}
    with torch.inference_mode():
        for batch in batches:
            images = torch.randn(batch, 3, 32, 32, device=device)
            both = {
                "unpruned": lambda images=images: bare(images),
                "pruned": lambda images=images: pruned(images, keep),
            }
            taken = interleaved(both, rounds, 2)
            speed[batch] = taken["unpruned"] / taken["pruned"]
            seconds |= {f"{name}, batch {batch}": each for name, each in taken.items()}
    slower = [batch for batch in batches if speed[batch] <= 1]
    first = next((batch for batch in batches if not slower or batch > max(slower)), 0)
    told = ", ".join(f"{batch}: {each:.2f}x" for batch, each in speed.items())
    what = f"least batch from which pruning pays (0: none), depth {depth}, magnitude at {keep:g}; speed-up: {told}"
    return Ratio(f"methods/batch/keep-{keep:g}", what, float(first), seconds)
