"""A classifier on the frozen features of a model that has none for these classes: linear, or nearest neighbours.

Shapes: n images, c channels, k classes.
"""

from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from tokenprune import models
from tokenprune.data import test_batches
from tokenprune.errors import UsageError
from tokenprune.pipeline.prepare import Prepared

#: Penalties that are tried, on features of unit deviation.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
#: One training image of so many is held out to choose among them.
HELD_OUT = 10


def fit_head(prepared: Prepared) -> str:
    """Give the model the classifier of `model.head`, made of its features of all training images; says how.

    Features are what the classifier reads (pooled, after its norm), of images without augmentation, computed once.
    `linear` is multinomial logistic regression with an L2 penalty on its weights, chosen by the loss on a tenth of the
    training images, then fitted to all; `knn` are the nearest neighbours among them (`models.Neighbours`).

    Raises UsageError where a class has no training images beside those held out.
    """
    if isinstance(prepared.model.vit, VisionTransformerDistilled):
        raise UsageError("model.head: distilled models have two classifiers; only the checkpoint's own are taken")
    x, labels = _features(prepared)
    classes = len(prepared.dataset.classes)
    if prepared.recipe.model.head == "knn":
        prepared.model.vit.head = cast(nn.Linear, models.Neighbours(x, labels, classes))
        return f"nearest neighbours among the features of {len(labels):,} training images"
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(prepared.recipe.run.seed))
    held = (order % HELD_OUT == 0).to(labels.device)
    if len(labels[~held].unique()) < classes:
        raise UsageError(f"model.head: linear takes some training images of every class, and {HELD_OUT} in all")
    mean, deviation = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
    x = (x - mean) / deviation
    losses = {}
    for penalty in PENALTIES:
        weight, bias = logistic(x[~held], labels[~held], classes, penalty)
        losses[penalty] = F.cross_entropy(x[held] @ weight.T + bias, labels[held]).item()
    best = min(losses, key=losses.__getitem__)
    weight, bias = logistic(x, labels, classes, best)
    head = cast(nn.Linear, prepared.model.vit.head)
    with torch.no_grad():
        head.weight.copy_(weight / deviation)
        head.bias.copy_(bias - (weight / deviation) @ mean)
    return f"linear classifier on the features of {len(labels):,} training images, penalty {best:g}"


def logistic(
    x: Float[Tensor, "n c"], labels: Int[Tensor, " n"], classes: int, penalty: float
) -> tuple[Float[Tensor, "k c"], Float[Tensor, " k"]]:
    """Weights and biases that minimise mean cross-entropy + penalty / 2 |weights|^2, by L-BFGS."""
    weight = x.new_zeros(classes, x.shape[1], requires_grad=True)
    bias = x.new_zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=300, tolerance_grad=1e-6, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        found = F.cross_entropy(x @ weight.T + bias, labels) + penalty / 2 * weight.square().sum()
        found.backward()
        return found

    solver.step(loss)
    return weight.detach(), bias.detach()


@torch.no_grad()
def _features(prepared: Prepared) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"]]:
    vit, found, labels = prepared.model.vit.eval(), [], []
    images = replace(prepared.dataset, test=prepared.dataset.train)
    precise = torch.autocast(prepared.device.type, torch.bfloat16, enabled=prepared.precision == "bf16")
    with precise:
        for batch in test_batches(images, prepared.recipe.evaluate.batch_size, prepared.model.patch_size):
            features = vit.forward_head(vit.forward_features(batch.images), pre_logits=True)
            found.append(features.float())
            labels.append(batch.labels)
    return torch.cat(found), torch.cat(labels)
