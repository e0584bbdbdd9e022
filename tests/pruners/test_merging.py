"""Methods of merging and clustering against plain loops over tokens, through whole models in float64."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import reference_merging as reference
import torch
from model_zoo import CLASSES
from timm.models.deit import VisionTransformerDistilled

from tokenprune.models import BatchInfo, SparseViT, build
from tokenprune.pruners import create
from tokenprune.recipe import Model, Schedule

SEED = 3
PREFIXES = {
    "class token": {},
    "registers": {"registers": 3},
    "no prefix": {"class_token": False},
    "registers without class token": {"class_token": False, "registers": 2},
}


def model_of(prefix: str = "class token", side: int = 16, depth: int = 3, seed: int = 0):
    """A small ViT of (side / 4)^2 patches, parameters far from their initial values, in float64."""
    keys = {"img_size": side, "patch_size": 4, "num_classes": CLASSES, "embed_dim": 12, "num_heads": 2, "depth": depth}
    if prefix == "distilled":
        vit = VisionTransformerDistilled(**keys)
    else:
        vit = build(Model(**{"depth": depth, "dim": 12, "heads": 2, "patch_size": 4} | PREFIXES[prefix]), CLASSES, side)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return vit.double().eval()


def images_of(side: int = 16, count: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed)).double()


def compare(
    name: str,
    method: reference.Method,
    vit,
    images: torch.Tensor,
    site: str,
    counts: list[int],
    weights: np.ndarray | None = None,
    options: dict[str, Any] | None = None,
    prepare: Callable[[Any], None] | None = None,
) -> None:
    """Logits of the whole model, and tokens, weights and owners at every site."""
    schedule = Schedule.parse(site)
    model = SparseViT(vit, create(name, **(options or {})), schedule).double().eval()
    if prepare is not None:
        prepare(model.pruner)
    sites = dict(zip(schedule.blocks, counts, strict=True))
    logits, found = reference.forward(vit, images, schedule.moment, sites, method, weights, SEED)
    state = model.embed(images)
    if weights is not None:
        state = replace(state, weight=torch.from_numpy(weights))
    info = BatchInfo(index=torch.arange(len(images)), seed=SEED)
    with torch.no_grad():
        trace = model.complete(state, 0, list(zip(schedule.cursors, counts, strict=True)), info)
    for state, expected in zip(trace.states, found, strict=True):
        assert state.owner.tolist() == [each.owner for each in expected]
        np.testing.assert_allclose(state.patches.numpy(), np.array([each.patches for each in expected]), 1e-9, 1e-9)
        given = [each.weights for each in expected]
        if state.weight is None:
            assert given == [None] * len(images)
        else:
            np.testing.assert_allclose(state.weight.numpy(), np.array(given), 1e-9, 1e-9)
    np.testing.assert_allclose(trace.logits.numpy(), logits, 1e-9, 1e-9)


def weights_of(side: int = 16, count: int = 2, seed: int = 2) -> np.ndarray:
    """As after an earlier merge: 1 to 4 patches each."""
    return np.random.default_rng(seed).integers(1, 5, (count, (side // 4) ** 2)).astype(float)


#: One site, of 16, 25 or 36 tokens: one leaves, half of them, more than half, all but one.
SIZES = [(16, 15), (16, 8), (16, 5), (16, 1), (20, 24), (20, 13), (20, 12), (20, 1), (24, 25), (24, 7)]


@pytest.mark.parametrize("prefix", [*PREFIXES, "distilled"])
@pytest.mark.parametrize("side", [16, 20])
def test_tome_in_every_block(prefix: str, side: int) -> None:
    """r a block, with proportional attention, through whole models: 5 of 16 or 25 tokens leave at each of 3 blocks."""
    n, blocks = (side // 4) ** 2, 3
    site = "after:0,1" if prefix in ("class token", "registers", "distilled") else "after:0,1,2"
    counts = [n - 5 * (i + 1) for i in range(blocks)][: site.count(",") + 1]
    for seed in range(3):
        compare("tome", reference.tome, model_of(prefix, side, seed=seed), images_of(side), site, counts)


@pytest.mark.parametrize("prefix", ["class token", "distilled", "no prefix"])
@pytest.mark.parametrize(("side", "keep"), SIZES)
def test_tome_at_any_count(prefix: str, side: int, keep: int) -> None:
    """Where one round is not enough, it is matched again with what was merged."""
    vit, images, then = model_of(prefix, side), images_of(side), max(1, keep - 2)
    compare("tome", reference.tome, vit, images, "before:1,2", [keep, then])
    compare("tome", reference.tome, vit, images, "after:0,1", [keep, then], weights_of(side))


@pytest.mark.parametrize("prefix", [*PREFIXES, "distilled"])
@pytest.mark.parametrize(("side", "keep"), SIZES)
def test_evit(prefix: str, side: int, keep: int) -> None:
    def method(image: reference.Image, keep: int) -> reference.Reduced:
        return reference.evit(image, keep, PREFIXES.get(prefix, {}).get("class_token", True))

    vit, images, then = model_of(prefix, side), images_of(side), max(1, keep - 2)
    compare("evit", method, vit, images, "after:0,1", [keep, then])
    compare("evit", method, vit, images, "before:0,2", [keep, then], weights_of(side))
