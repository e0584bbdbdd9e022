"""Convex heads: against cvxpy's optimum, two-layer heads by plain loops, and properties of bounds and clusters."""

import itertools
import math
from collections.abc import Callable

import cvxpy as cp
import pytest
import torch
from torch import Tensor

from tokenprune.heads import factored, proximal
from tokenprune.heads.forms import forms, shifts
from tokenprune.heads.names import HEADS
from tokenprune.heads.problem import Problem, Solution

N, S, D, C, GATES, GROUPS = 12, 4, 4, 3, 2, 2
SHARES = (0.5, 0.1, 0.02)
NAMES = [
    "attention linear", "attention gated", "mixer linear", "mixer gated", "linear linear", "fno gated",
    "block-fno linear", "block-fno gated", "mlp gated",
]  # fmt: skip


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TOKENS, LABELS = drawn(N, S, D), torch.arange(N) % C
FORMS = {
    f"{form.name} {form.kind}": form
    for form in forms(list(HEADS), S, D, gates=GATES, groups=GROUPS, seed=0, like=TOKENS)
}


@pytest.fixture(scope="module", params=NAMES)
def problem(request: pytest.FixtureRequest) -> Problem:
    return Problem(FORMS[request.param], TOKENS, LABELS, C)


def beta_of(problem: Problem, *shares: float) -> Tensor:
    return problem.largest_penalty() * torch.tensor(shares, dtype=torch.float64)


def optimum(problem: Problem, beta: float) -> float:
    """By Clarabel, an interior-point method, on the terms of each image one by one."""
    form = problem.form
    terms = form.terms(*form.prepare(TOKENS)).numpy()
    blocks = [cp.Variable((form.rows, form.columns * C)) for _ in range(form.blocks)]
    loss = 0
    for i, label in enumerate(LABELS.tolist()):
        logits = sum(
            cp.hstack([cp.sum(cp.multiply(terms[i, j], z[:, c::C])) for c in range(C)]) for j, z in enumerate(blocks)
        )
        loss += (cp.log_sum_exp(logits) - logits[label]) / N
    found = cp.Problem(cp.Minimize(loss + beta * sum(cp.normNuc(z) for z in blocks)))
    return float(found.solve(solver="CLARABEL"))


def test_every_head_is_there() -> None:
    assert sorted(FORMS) == sorted(NAMES)


def test_factors_reach_the_optimum_of_an_interior_point_method(problem: Problem) -> None:
    beta = beta_of(problem, *SHARES)
    expected = [optimum(problem, float(each)) for each in beta]
    solution = factored.solve(problem, beta, rank=12, steps=400, tolerance=1e-13)
    certificate = problem.certify(solution, beta)
    assert certificate.objective.tolist() == pytest.approx(expected, rel=1e-6)
    assert (certificate.gap < 1e-6).all()


def test_fista_reaches_the_same_optimum(problem: Problem) -> None:
    beta = beta_of(problem, SHARES[0])
    certificate = problem.certify(proximal.solve(problem, beta, steps=500, tolerance=1e-9), beta)
    assert certificate.objective.item() == pytest.approx(optimum(problem, float(beta)), rel=1e-6)
    assert certificate.gap.item() < 1e-6


def test_the_certificate_is_never_less_than_the_gap(problem: Problem) -> None:
    beta = beta_of(problem, *SHARES)
    best = problem.certify(factored.solve(problem, beta, rank=12, steps=300, tolerance=1e-13), beta).objective
    for steps, rank in itertools.product((1, 3, 10), (1, 4)):
        found = problem.certify(factored.solve(problem, beta, rank=rank, steps=steps), beta)
        assert (found.gap >= found.objective / best - 1 - 1e-9).all()
    for seed in range(5):  # nothing like a solution
        form = problem.form
        left, right = (
            drawn(3, form.blocks, form.rows, 2, seed=seed),
            drawn(3, form.blocks, 2, form.columns * C, seed=seed),
        )
        found = problem.certify(Solution(left, right, beta), beta)
        assert (found.gap >= found.objective / best - 1).all()


def test_from_the_largest_penalty_on_nothing_is_left(problem: Problem) -> None:
    beta = beta_of(problem, 1.0, 1.7, 0.99)
    for solution in (factored.solve(problem, beta, 3, steps=50), proximal.solve(problem, beta, steps=100)):
        z = solution.left @ solution.right
        assert not z[:2].any()
        assert z[2].any()  # just below it something is
        found = problem.certify(solution, beta)
        assert found.objective[:2].tolist() == pytest.approx([math.log(C)] * 2)
        assert found.rank[:2].tolist() == [0, 0]
        assert found.gap[:2].tolist() == pytest.approx([0, 0], abs=1e-9)


def two_layer_logits(name: str, x: Tensor, gate: Callable[..., bool], first: Tensor, second: Tensor) -> Tensor:
    """One unit of a head on one image, by the paper's formulas and plain loops, pooled. gate: which terms are open."""
    found = torch.zeros(C, dtype=torch.float64)
    for t in range(S):
        if name == "attention":
            for u in range(S):
                if gate(t, u):
                    found += (x[t] @ first @ x[u]) * (x[u] @ second) / S / S
        elif name == "mixer":
            mixed = first @ x
            found += sum(mixed[t, ch] * second[ch] for ch in range(D) if gate(t, ch)) / S
        elif name == "mlp" and gate(t):
            found += (x[t] @ first) * second / S
        elif name == "fno" and gate(t):
            found += sum(x[shifts(S)[t, k]] @ first[k] for k in range(S)) * second / S
    return found


@pytest.mark.parametrize("name", ["attention", "mixer", "fno", "mlp"])
def test_a_unit_is_a_matrix_of_rank_one_whose_nuclear_norm_is_its_weights(name: str) -> None:
    sizes = {"attention": ((D, D), (D, C)), "mixer": ((S, S), (D, C)), "fno": ((S, D), (C,)), "mlp": ((D,), (C,))}
    first, second = (drawn(*size, seed=i) for i, size in enumerate(sizes[name]))
    second *= first.norm() / second.norm()  # balanced, as where the sum of squares is least
    z = first.flatten()[:, None] * second.flatten()
    half = (first.square().sum() + second.square().sum()) / 2
    assert torch.linalg.svdvals(z).sum() == pytest.approx(half.item())
    form, x = FORMS[f"{name} gated"], TOKENS[0]
    terms = form.terms(*form.prepare(TOKENS))[0]
    gates = gates_of(name, x)
    for j, gate in enumerate(gates):
        found = torch.einsum("az,azc->c", terms[j], z.view(form.rows, form.columns, C))
        assert found.tolist() == pytest.approx(two_layer_logits(name, x, gate, first, second).tolist())
    if name in ("attention", "mixer"):  # the others are the linear head
        plain = FORMS[f"{name} linear"]
        terms = plain.terms(*plain.prepare(TOKENS))[0, 0]
        if name == "mixer":  # all rows alike: the same norm of the mean over t, times sqrt(S)
            alike = first.mean(0).expand(S, -1)
            assert torch.linalg.matrix_norm(alike) == pytest.approx((math.sqrt(S) * first.mean(0).norm()).item())
            z = math.sqrt(S) * first.mean(0)[:, None] * second.flatten()
        found = torch.einsum("az,azc->c", terms, z.view(plain.rows, plain.columns, C))
        assert found.tolist() == pytest.approx(two_layer_logits(name, x, lambda *_: True, first, second).tolist())


def gates_of(name: str, x: Tensor) -> list[Callable[..., bool]]:
    """The gates on an image, from the same draws."""
    made = torch.Generator().manual_seed(list(HEADS).index(name))

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=made, dtype=torch.float64)

    if name == "attention":
        u, v = draw(GATES, D), draw(GATES, D)
        return [lambda t, o, j=j: bool((x[t] @ u[j]) * (x[o] @ v[j]) >= 0) for j in range(GATES)]
    if name == "mixer":
        h = draw(GATES, S, S)
        return [lambda t, ch, j=j: bool((h[j] @ x)[t, ch] >= 0) for j in range(GATES)]
    if name == "mlp":
        h = draw(GATES, D)
        return [lambda t, j=j: bool(x[t] @ h[j] >= 0) for j in range(GATES)]
    h = draw(GATES, 1, S, D)[:, 0]
    return [lambda t, j=j: bool(sum(x[shifts(S)[t, k]] @ h[j, k] for k in range(S)) >= 0) for j in range(GATES)]
