"""Whether an attention head takes tokens together, and the same ones as merging.

Of the attention head without gates, at the penalty that was chosen: W1 of its largest singular value, and the token map
X W1 X^T of all patch tokens of some test images. Merging groups them by `tome`, at a site of its own.

Shapes: b images, t patches, d channels.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from tokenprune.data import Batch
from tokenprune.heads.asked import Asked
from tokenprune.heads.clusters import adjusted_rand_index, clusters, effective_rank, energy, leading
from tokenprune.heads.features import Features, patch_tokens
from tokenprune.heads.problem import Solution
from tokenprune.measurements.subject import Pruning, Subject
from tokenprune.measurements.through import images_of
from tokenprune.runs import Values

#: Random W1 that the found one is compared with.
DRAWS = 3
#: Images that are kept to be drawn, and the pixels of their longer side, at most.
EXAMPLES, SIDE = 6, 48
MAPS = ("found", "random")


def clustered(
    subject: Subject, given: Asked, taken: Features, solution: Solution | None, place: int
) -> dict[str, Values]:
    """`effective rank` and `energy` of token maps [map]; `agreement` with merging's groups [grouping, image].

    map: of the W1 found, and of random ones (standard normal; the scale of W1 changes neither number). grouping:
    k-means of the found map and of a random one, in as many groups as merging leaves, and merging's own groups
    shuffled, which is chance. The adjusted Rand index: 1 for the same groups, 0 on average by chance.

    Of a few images also `clusters` and `groups` [example, patch], `pixels` [example, y, x, colour] and `image`.
    Nothing, with a note, where the head is 0.
    """
    if solution is None or not solution.left[place].any():
        subject.notes.append("no clusters: the attention head is 0 at the penalty chosen")
        return {}
    with torch.autocast(subject.device.type, enabled=False):
        w1 = leading(solution, place).cpu()
    made = torch.Generator().manual_seed(0)
    maps = torch.stack([w1, *(torch.randn(w1.shape, generator=made).to(w1) for _ in range(DRAWS))])
    cursor = 2 * subject.model.depth if given.cursor is None else given.cursor
    site = f"before:{max(0, min(subject.model.depth - 1, (cursor - 1) // 2))}"
    merging = subject.pruned(Pruning("tome", "{}", site, given.merged))
    numbers, agreement = [], []
    shown: dict[str, Values] = {}
    rng = np.random.default_rng(0)
    for batch in images_of(subject, given.images):
        tokens = taken.project(patch_tokens(subject.model, batch, cursor)).cpu()
        with torch.autocast(subject.device.type, enabled=False):
            mixed = [tokens @ each @ tokens.mT for each in maps]
        numbers.append(torch.stack([torch.stack([effective_rank(each), energy(each)]) for each in mixed]))
        groups = merging(batch).states[-1].owner.cpu().numpy()
        found = {name: clusters(each, int(groups.max()) + 1) for name, each in zip(MAPS, mixed, strict=False)}
        found["chance"] = np.stack([rng.permutation(each) for each in groups])
        agreement.append(
            [[adjusted_rand_index(*pair) for pair in zip(each, groups, strict=True)] for each in found.values()]
        )
        if not shown:
            shown = _shown(subject, batch, found["found"], groups)
    rank, share = torch.cat(numbers, dim=2).mean(dim=2).mT
    axes = {"map": {"map": MAPS}}
    arrays = {
        name: Values(unit=unit, axes=("map",), values=[float(each[0]), float(each[1:].mean())], labels=axes)
        for name, unit, each in (("effective rank", "1", rank), ("energy", "share", share))
    }
    indices = np.concatenate(agreement, axis=1)
    label = {"grouping": {"grouping": (*MAPS, "chance")}}
    arrays["agreement"] = Values(unit="ARI", axes=("grouping", "image"), values=indices.tolist(), labels=label)
    return arrays | shown


def _shown(
    subject: Subject, batch: Batch, found: Int[np.ndarray, "b t"], groups: Int[np.ndarray, "b t"]
) -> dict[str, Values]:
    """The first images of a batch with their groups."""
    side = subject.model.shape.grid[0]
    count = min(EXAMPLES, len(found))
    where = subject.dataset.test.images.device
    part = subject.dataset.test.take(batch.index[:count].to(where))
    images, _ = subject.dataset.presented(part.images, None)
    pixels = _small(images, side * max(1, SIDE // side)).movedim(1, 3).cpu()
    arrays = {
        "clusters": ("group", ("example", "patch"), found[:count].tolist()),
        "groups": ("group", ("example", "patch"), groups[:count].tolist()),
        "pixels": ("of 255", ("example", "y", "x", "colour"), pixels.tolist()),
        "image": ("place", ("example",), batch.index[:count].tolist()),
    }
    return {name: Values(unit=unit, axes=axes, values=values) for name, (unit, axes, values) in arrays.items()}


def _small(images: UInt8[Tensor, "b 3 h h"], side: int) -> UInt8[Tensor, "b 3 s s"]:
    shrunk: Float[Tensor, "b 3 s s"] = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return shrunk.round().clamp(0, 255).to(torch.uint8)
