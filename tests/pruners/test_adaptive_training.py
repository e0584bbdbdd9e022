"""Learned adaptive methods on a toy task: an image's class is in two of its sixteen patches, the others are noise."""

import copy

import pytest
import torch
from model_zoo import batch_of
from timm.models import VisionTransformer
from torch.nn import functional as F

from tokenprune.models import BatchInfo, SparseViT, Trace, build
from tokenprune.pruners import create
from tokenprune.pruners.base import Taught
from tokenprune.recipe import Model, Schedule

PATTERNS = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def batch(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, labels, and which patches matter."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    patches = 0.7 * torch.randn(count, 16, 3, 4, 4, generator=generator)
    where = torch.rand(count, 16, generator=generator).argsort(1)[:, :2]
    for i in range(2):
        patches[torch.arange(count), where[:, i]] += 1.5 * PATTERNS[labels]
    images = patches.view(count, 4, 4, 3, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(count, 3, 16, 16)
    return images, labels, torch.zeros(count, 16).scatter(1, where, 1.0)


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    vit = build(Model(depth=3, dim=24, heads=2, patch_size=4), 4, 16)
    optimizer = torch.optim.AdamW(vit.parameters(), lr=3e-3)
    for step in range(150):
        images, labels, _ = batch(64, step)
        optimizer.zero_grad()
        F.cross_entropy(vit(images), labels).backward()
        optimizer.step()
    return vit.eval()


def tuned(vit, method: str, site: str, keep: float, rate: float, steps: int, **options) -> tuple[SparseViT, SparseViT]:
    """The method as it is made, and fine-tuned with the model as its teacher."""
    torch.manual_seed(1)
    model = SparseViT(copy.deepcopy(vit), create(method, **options), Schedule.parse(site), keep)
    before = copy.deepcopy(model).eval()
    groups = [
        {"params": list(model.pruner.parameters()), "lr": rate},
        {"params": list(model.vit.parameters()), "lr": rate * model.pruner.model_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    model.train()
    for step in range(steps):
        images, labels, _ = batch(64, step)
        trace = model.run(images, keep, BatchInfo(labels=labels, index=torch.arange(64), seed=step))
        with torch.no_grad():
            features = vit.forward_features(images)
        own = model.pruner.loss(trace, batch_of(labels), Taught(vit.forward_head(features), features))
        optimizer.zero_grad()
        (F.cross_entropy(trace.logits, labels) + own).backward()
        optimizer.step()
    return before, model.eval()


@torch.no_grad()
def measured(model: SparseViT, keep: float) -> tuple[float, float, list[float], Trace]:
    """Accuracy, share of the patches that matter that stay, mean tokens left after each site, the pass."""
    images, labels, matter = batch(400, 10_000)
    trace = model.run(images, keep, BatchInfo(index=torch.arange(400)))
    left = [(state.weights > 0).sum(1).float().mean().item() for state in trace.states]
    right = (trace.logits.argmax(1) == labels).float().mean().item()
    return right, ((matter * trace.states[-1].alive).sum() / matter.sum()).item(), left, trace


def test_dynamicvit_learns_which_tokens_matter(vit: VisionTransformer) -> None:
    before, after = (measured(each, 2 / 16) for each in tuned(vit, "dynamicvit", "before:0", 2 / 16, 3e-3, 80))
    assert before[0] < 0.7
    assert after[0] > 0.97
    assert after[1] > 0.9
    assert before[2] == after[2] == [2.0]


def test_ia_red2_learns_which_tokens_matter_and_drops_the_others(vit: VisionTransformer) -> None:
    untrained, trained = tuned(vit, "ia_red2", "before:0", 4 / 16, 3e-3, 100)
    before, after = measured(untrained, 4 / 16), measured(trained, 4 / 16)
    assert before[0] < 0.7
    assert after[0] > 0.97
    assert after[1] > 0.9
    assert measured(trained, 15 / 16)[2][0] < 3 < 8 < measured(untrained, 15 / 16)[2][0]


def test_ltmp_comes_near_its_share_of_flops_and_stays_right(vit: VisionTransformer) -> None:
    """The bound is loose: the thresholds themselves have to keep to the target."""
    target = 0.3
    pair = tuned(vit, "ltmp", "after:0,1", target, 3e-2, 60)
    assert all(torch.equal(a, b) for a, b in zip(pair[1].vit.parameters(), vit.parameters(), strict=True))
    losses = []
    for model in pair:
        right, _, left, trace = measured(model, 15 / 16)
        assert right > 0.97
        assert trace.states[0].count == trace.states[0].weights.gt(0).sum(1).max()
        shape, sites = model.pruner.shape, model.pruner.sites
        counts = (torch.tensor(left, dtype=torch.float), 16 * model.pruner.target, torch.full((2,), 16.0))
        spent, wanted, whole = (shape.products(dict(zip(sites, each, strict=True))) for each in counts)
        losses.append(((spent - wanted) / whole).abs())
    assert losses[1] < 0.1 < 0.2 < losses[0]


def test_avit_learns_to_stop_early_and_stays_right(vit: VisionTransformer) -> None:
    options = {"scale": 2.0, "center": 4.0, "ponder": 0.05}
    before, after = (
        measured(each, 15 / 16) for each in tuned(vit, "avit", "before:1,2", 15 / 16, 3e-3, 150, **options)
    )
    assert before[2] == [15.0, 15.0]
    assert after[2][1] < 8
    assert after[0] > 0.97
