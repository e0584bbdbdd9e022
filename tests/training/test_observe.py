"""Scores and attention in one pass, against each computed by itself."""

import pytest
import torch
from torch.nn import functional as F

from tokenprune import data, models, pruners
from tokenprune.models import BatchInfo, SparseViT
from tokenprune.recipe import Schedule, parse_recipe
from tokenprune.training import observe

SMALL = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 10, test_size: 60}}
model: {depth: 2, dim: 12, heads: 3}
"""
WATCHED = 25


@pytest.fixture
def images(monkeypatch):
    monkeypatch.setattr(observe, "WATCHED", WATCHED)
    return data.load(parse_recipe(SMALL, "small").data)


@pytest.mark.parametrize("name", [None, "oracle"])
def test_one_pass_says_what_separate_ones_say(images, name) -> None:
    torch.manual_seed(0)
    vit = models.build(parse_recipe(SMALL, "small").model, 3, 16).eval()
    sparse = SparseViT(vit, pruners.create(name) if name else None, Schedule("before", (1,)))
    keep = 0.5 if name else 1.0
    found = observe.score(sparse, data.test_batches(images, 16, 4), keep, seed=3)

    (whole,) = data.test_batches(images, 60, 4)
    info = BatchInfo(whole.relevance, whole.labels, whole.index, seed=3)
    with torch.no_grad():
        logits = sparse(whole.images, keep, info)
        rows = SparseViT(vit).attention_by_block(whole.images[:WATCHED])
    assert found.loss == pytest.approx(F.cross_entropy(logits, whole.labels).item(), rel=1e-5)
    assert torch.equal(found.predictions, logits.argmax(1))
    by_hand = [
        sum(float(row @ relevance / row.sum()) for row, relevance in zip(block, whole.relevance, strict=False))
        / WATCHED
        for block in rows
    ]
    assert found.attention == pytest.approx(by_hand, rel=1e-5)
    alone = observe.attention_on_relevant(SparseViT(vit), data.test_batches(images, 16, 4))
    assert alone == pytest.approx(by_hand, rel=1e-5)
