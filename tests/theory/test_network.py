"""The batched network against one model at a time."""

import pytest
import torch
from reference_theory import cnn, hinge, vit

from tokenprune.theory.network import PatchCNN, ShallowViT

M, B, D, E, F, K, L = 3, 4, 6, 5, 7, 9, 8


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _signs(count: int = L) -> torch.Tensor:
    return (2 * torch.randint(0, 2, (M, K, count)) - 1).double() / K**0.5


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _network() -> ShallowViT:
    # Weights this large make some hinges satisfied and others not.
    return ShallowViT(2 * _normal(M, K, E), _normal(M, E, D), _normal(M, F, D), _normal(M, F, D), _signs())


def _labels() -> torch.Tensor:
    return (2 * torch.randint(0, 2, (M, B)) - 1).double()


def _check(network, names, x, y, position, forward) -> None:
    """`step` must return the reference's margins and move every parameter by its gradient."""
    before = {name: getattr(network, name).clone() for name in names}
    margins = network.step(x, y, 1.0, position)
    active = 0
    for m in range(M):
        leaves = {name: before[name][m].clone().requires_grad_() for name in names}
        places = [range(x.shape[3]) if position is None else position[m, b].tolist() for b in range(B)]
        signs = [{place: network.signs[m][:, place] for place in places[b]} for b in range(B)]
        reference = [forward(x[m, b], leaves, signs[b]) for b in range(B)]
        loss = hinge(reference, y[m])
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        torch.testing.assert_close(margins[m], torch.stack(reference).detach(), atol=1e-6, rtol=0)
        for name, gradient in zip(names, gradients, strict=True):
            moved = before[name][m] - getattr(network, name)[m]
            torch.testing.assert_close(moved, gradient, atol=1e-6, rtol=0)
            active += int(gradient.abs().max() > 1e-3)
    assert active >= M  # the gradients compared are not all zero


VIT = ("output", "value", "key", "query")


def _vit(x, leaves, signs):
    return vit(x, *(leaves[name] for name in VIT), signs)


def test_loss_and_gradients_of_the_vit_are_those_of_one_model_at_a_time() -> None:
    _check(_network(), VIT, _normal(M, B, D, L), _labels(), None, _vit)


def test_a_token_keeps_the_signs_of_its_place_when_others_were_removed() -> None:
    position = torch.rand(M, B, L).argsort(-1)[..., :5].sort(-1).values
    _check(_network(), VIT, _normal(M, B, D, 5), _labels(), position, _vit)


def test_loss_and_gradients_of_the_cnn() -> None:
    network = PatchCNN(2 * _normal(M, K, D), _signs())
    _check(network, ("weight",), _normal(M, B, D, L), _labels(), None, lambda x, leaves, a: cnn(x, leaves["weight"], a))


def test_magnitude_keeps_the_tokens_that_receive_most_attention_and_trains_on_them_alone() -> None:
    network, x, y = _network(), _normal(M, B, D, L), _labels()
    network.keep = 3
    kept = network.kept(x)
    for m in range(M):
        for b in range(B):
            scores = torch.softmax((network.key[m] @ x[m, b]).T @ (network.query[m] @ x[m, b]), 0)  # a column a query
            assert kept[m, b].tolist() == sorted(scores.sum(1).topk(3).indices.tolist())
    alone = ShallowViT(*(getattr(network, name).clone() for name in (*VIT, "signs")))
    alone.step(torch.take_along_dim(x, kept[:, :, None], 3), y, 0.1, kept)
    network.step(x, y, 0.1)
    for name in VIT:
        assert torch.equal(getattr(network, name), getattr(alone, name))


def test_a_step_with_every_hinge_satisfied_changes_nothing() -> None:
    network, x = _network(), _normal(M, B, D, L)
    y = network.margins(x).sign()
    network.output *= 1e6  # margins of the right sign, now far beyond 1
    before = [getattr(network, name).clone() for name in VIT]
    network.step(x, y, 1.0)
    assert all(torch.equal(getattr(network, name), old) for name, old in zip(VIT, before, strict=True))
