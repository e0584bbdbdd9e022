"""Slow, obvious re-implementation of Jelassi et al.'s simplified ViT: one model, one sample at a time, plain loops."""

import math

import torch
from torch import Tensor


def margin(scores: Tensor, value: Tensor, sample: Tensor, power: int, linear: float) -> Tensor:
    """F(X) = sum_i phi(d sum_j S_ij <v, X_j>), S = softmax(A) by row, phi(t) = t^p + linear t. sample: [d, k]"""
    d = len(sample)
    total = torch.zeros((), dtype=sample.dtype)
    for i in range(d):
        weights = [torch.exp(scores[i, j]) for j in range(d)]
        mixed = d * sum(weights[j] * (value @ sample[j]) for j in range(d)) / sum(weights)
        total = total + mixed**power + linear * mixed
    return total


def loss(scores: Tensor, value: Tensor, samples: Tensor, labels: Tensor, power: int, linear: float) -> Tensor:
    """Mean of log(1 + exp(-y F))."""
    each = [torch.log1p(torch.exp(-y * margin(scores, value, x, power, linear))) for x, y in zip(samples, labels)]  # noqa: B905
    return torch.stack(each).mean()


def gradients(
    scores: Tensor, value: Tensor, samples: Tensor, labels: Tensor, power: int, linear: float
) -> tuple[Tensor, Tensor]:
    """Gradients of the loss in A, its diagonal left out, and in v, by autograd."""
    scores, value = scores.clone().requires_grad_(), value.clone().requires_grad_()
    by_scores, by_value = torch.autograd.grad(loss(scores, value, samples, labels, power, linear), (scores, value))
    return by_scores - torch.diag(torch.diag(by_scores)), by_value


def association(scores: list[list[float]], sets: list[int]) -> tuple[float, float]:
    """Mean overlap and exact-match rate of one model."""
    overlaps = []
    for i, row in enumerate(scores):
        others = [j for j in range(len(row)) if j != i]
        members = {j for j in others if sets[j] == sets[i]}
        best = set(sorted(others, key=lambda j: -row[j])[: len(members)])
        overlaps.append(len(best & members) / len(members))
    return math.fsum(overlaps) / len(overlaps), sum(x == 1 for x in overlaps) / len(overlaps)
