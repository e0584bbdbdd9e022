"""Convex heads: against cvxpy's optimum, two-layer heads by plain loops, and properties of bounds and clusters."""

import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch import Tensor

from tokenprune import pipeline
from tokenprune.claims import judge, read_runs, studies
from tokenprune.cli import main
from tokenprune.drawing.style import style
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.experiments import heads as experiment
from tokenprune.heads import factored, proximal, two_layer
from tokenprune.heads.clusters import adjusted_rand_index, clusters, effective_rank, energy, leading
from tokenprune.heads.forms import forms, shifts
from tokenprune.heads.names import HEADS
from tokenprune.heads.problem import Problem, Solution
from tokenprune.recipe import Loaded, parse_recipe
from tokenprune.runs import MeasureResult, RunFolder

N, S, D, C, GATES, GROUPS = 12, 4, 4, 3, 2, 2
SHARES = (0.5, 0.05)
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
            drawn(2, form.blocks, form.rows, 2, seed=seed),
            drawn(2, form.blocks, 2, form.columns * C, seed=seed),
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


@pytest.mark.parametrize("name", two_layer.TWO_LAYER)
def test_a_two_layer_head_is_its_formula_with_relu(name: str) -> None:
    """The gates are those that the weights themselves open."""
    units, groups = 3, GROUPS if name == "block-fno" else 1
    start = two_layer.train(
        name, TOKENS, LABELS, C, torch.ones(2, dtype=torch.float64), units=units, groups=groups, epochs=1, seed=0
    )
    first, second = start.first[1], start.second[1]
    for i in range(3):
        expected = sum(unit(name, TOKENS[i], *each, groups) for each in zip(first, second, strict=True))
        assert start.logits(TOKENS)[1, i].tolist() == pytest.approx(expected.tolist())


def unit(name: str, x: Tensor, first: Tensor, second: Tensor, groups: int) -> Tensor:
    """One unit, its ReLU as the gate that its own weights open."""
    if name == "block-fno":
        parts = x.chunk(groups, dim=1)
        return sum(unit("fno", *each, 1) for each in zip(parts, first, second, strict=True))
    gates: dict[str, Callable[..., bool]] = {
        "attention": lambda t, u: bool(x[t] @ first @ x[u] > 0),
        "mixer": lambda t, channel: bool((first @ x)[t, channel] > 0),
        "fno": lambda t: bool(sum(x[shifts(S)[t, k]] @ first[k] for k in range(S)) > 0),
        "mlp": lambda t: bool(x[t] @ first > 0),
    }
    return two_layer_logits(name, x, gates[name], first, second)


def test_what_clusters_are() -> None:
    assert adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2])) == 1
    assert adjusted_rand_index(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])) == pytest.approx(4 / 7)  # scikit-learn's
    shuffled = np.random.default_rng(0)
    one = np.repeat(np.arange(8), 8)
    assert abs(np.mean([adjusted_rand_index(one, shuffled.permutation(one)) for _ in range(300)])) < 0.01
    blocks = torch.block_diag(torch.ones(2, 2), torch.ones(3, 3))[None]
    assert adjusted_rand_index(clusters(blocks, 2)[0], np.array([0, 0, 1, 1, 1])) == 1
    maps = torch.stack([torch.eye(4), torch.ones(4, 4)])
    assert effective_rank(maps).tolist() == pytest.approx([4, 1], abs=1e-4)
    assert energy(maps).tolist() == pytest.approx([0.25, 1])
    z = drawn(16, 3) @ torch.diag(torch.tensor([3.0, 1, 0.1]).double()) @ drawn(3, 12, seed=1)
    left = torch.linalg.svd(z).U[:, 0].view(4, 4)
    found = leading(
        Solution(z[None, None] @ drawn(12, 12, seed=2), torch.linalg.inv(drawn(12, 12, seed=2))[None, None], LABELS), 0
    )
    assert abs((found * left).sum().item()) == pytest.approx(1)


TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 120, test_size: 40, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
train: {epochs: 1, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
evaluate: {batch_size: 25}
"""
SMALL = {"dim": 6, "groups": 2, "gates": 2, "rank": 4, "steps": 80, "epochs": 2, "images": 10}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    loaded = Loaded(parse_recipe(TINY, "tiny"), "tiny", TINY, [])
    return pipeline.train_run(loaded, runs_dir=tmp_path_factory.mktemp("runs"))


def measured(run: RunFolder, **options: Any) -> MeasureResult:
    return pipeline.measure_run(run, "heads", options=SMALL | options, force=True)[1]


def test_all_heads_of_a_run(run: RunFolder) -> None:
    _, found = pipeline.measure_run(run, "heads", options=SMALL)
    heads = found.arrays["accuracy"].labels["head"]
    pairs = [f"{head} {kind}" for head, kind in zip(heads["head"], heads["kind"], strict=True)]
    assert pairs == [*NAMES, *(f"{name} two-layer" for name in two_layer.TWO_LAYER)]
    gap, share = np.array(found.arrays["certificate"].values), found.arrays["certificate"].labels["penalty"]["share"]
    assert (gap[:, share.index(0.3)] < 0.01).all()
    uncertified = [note for note in found.notes if note.startswith("not certified: ")]
    assert len(uncertified) == (gap > 0.01).sum()
    chosen, held = np.array(found.arrays["chosen"].values), np.array(found.arrays["held-out accuracy"].values)
    assert (held[np.arange(len(held)), chosen] == held.max(axis=1)).all()
    test = np.array(found.arrays["accuracy"].values)
    assert found.arrays["chosen accuracy"].values == pytest.approx(test[np.arange(len(test)), chosen].tolist())
    assert np.array(found.arrays["agreement"].values).shape == (3, 10)
    assert found.arrays == measured(run).arrays  # nothing is drawn anew


def test_both_solvers_agree_on_a_run(run: RunFolder) -> None:
    few = {"heads": ["linear", "block-fno"], "penalties": [0.3, 0.1], "steps": 400, "epochs": 0}
    first, second = (measured(run, solver=name, **few).arrays for name in ("factored", "fista"))
    for found in (first, second):
        assert np.array(found["certificate"].values).max() < 1e-3
    assert np.array(first["objective"].values) == pytest.approx(np.array(second["objective"].values), rel=1e-3)


def test_a_head_whose_rank_does_not_suffice_is_named(run: RunFolder) -> None:
    found = measured(run, heads="linear", rank=1, penalties=0.03, epochs=0)
    assert found.notes[0].startswith("not certified: linear (linear) at 0.03: gap at most ")
    assert found.notes[0].endswith("its rank may not suffice: --rank")


def test_features_are_kept_and_are_of_one_model(run: RunFolder, tmp_path: Path) -> None:
    few = {"heads": "linear", "penalties": 0.3, "epochs": 0, "features": str(tmp_path / "kept.safetensors")}
    first = measured(run, **few)
    assert measured(run, **few).arrays == first.arrays
    text = TINY.replace("depth: 2", "depth: 1")
    loaded = Loaded(parse_recipe(text, "tiny"), "tiny", text, [])
    other = pipeline.train_run(loaded, runs_dir=tmp_path)
    with pytest.raises(TokenpruneError, match=r"kept.safetensors: features of another model; remove it"):
        measured(other, **few)
    with pytest.raises(TokenpruneError, match="features of another dim"):
        measured(run, **few | {"dim": 4})
    (tmp_path / "kept.safetensors").write_bytes(b"damaged")
    with pytest.raises(TokenpruneError, match="cannot be read as features"):
        measured(run, **few)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"penalties": 0}, "penalty 0: must be above 0; without one there is no certificate"),
        ({"penalties": [0.1, 1]}, "penalty 1: leaves nothing: it is a share of the least penalty that does"),
        ({"penalties": "much"}, "option penalties: found 'much', must be a number"),
        ({"penalties": []}, "option penalties: an empty list"),
        ({"heads": "atention"}, "unknown head 'atention': did you mean 'attention'"),
        ({"solver": "adam"}, "unknown solver 'adam'"),
        ({"data": "imagenet"}, "unknown data set for heads 'imagenet'"),
        ({"rank": 0}, "option rank: found 0, must be a whole number, 1 or more"),
        ({"tokens": 5}, "option tokens: found 5, must be a square of at most 4 x 4"),
        ({"tokens": 64}, "option tokens: found 64, must be a square of at most 4 x 4"),
        ({"dim": 13}, "option dim: found 13, the model has 12 channels"),
        ({"groups": 4}, "option groups: found 4, must divide dim, which is 6"),
        ({"cursor": 5}, "option cursor: found 5, the model ends at 4"),
        ({"merged": 1}, "option merged: found 1, must be between 0 and 1"),
        ({"penalty": 1}, "unknown option of measurement 'heads' 'penalty': did you mean 'penalties'"),
    ],
)
def test_bad_input_is_one_line(run: RunFolder, options: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as refused:
        measured(run, **options)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_too_little_memory_leaves_a_head_out_and_says_so(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenprune.heads.problem.available_memory", lambda: 2**14)
    found = measured(run, heads=["linear", "attention"], epochs=0)
    assert found.arrays["accuracy"].labels["head"]["head"] == ("linear",)
    assert any(note.startswith("attention (gated) is left out: ") and "MiB are free" in note for note in found.notes)
    monkeypatch.setattr("tokenprune.heads.problem.available_memory", lambda: 0)
    with pytest.raises(TokenpruneError, match=r"nothing measured: .*linear \(linear\) is left out"):
        measured(run, heads="linear", epochs=0)


def test_the_verb(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["heads", "--run", run.name, "--runs-dir", str(run.path.parent), "--quiet", "--head", "attention"]
    words += ["--penalty", "0.3", "--penalty", "0.1", "--rank", "4"]
    for option in ("dim=6", "gates=2", "epochs=1", "images=8"):
        words += ["--option", option]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(tmp_path / "clusters.png")])
    assert ended.value.code == 0
    table = capsys.readouterr().out
    assert all(len(line) <= 80 for line in table.splitlines() if not line.startswith("/"))
    assert "adjusted Rand index" in " ".join(table.split())
    assert (tmp_path / "clusters.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["arrays"]["accuracy"]["labels"]["penalty"]["share"] == [0.3, 0.1]
    for wrong, line in ((["--penalty", "2"], "penalty 2: leaves nothing"), (["--out", "a.gif"], "--out a.gif: one of")):
        with pytest.raises(SystemExit) as ended:
            main([*words, *wrong])
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith(f"error: {line}")


def test_claims_read_what_was_measured(run: RunFolder) -> None:
    folder, result = pipeline.measure_run(run, "heads", options=SMALL)
    whole = result.arrays
    for path in run.measurements.glob("heads-*"):
        if path != folder:
            shutil.rmtree(path)
    found = studies(read_runs(run.path.parent)[0])
    verdicts = {(each.claim, each.variant): each.values.get(0) for each in judge(found, experiment.EXPERIMENT.claims)}
    labels, accuracy = whole["chosen accuracy"].labels["head"], whole["chosen accuracy"].values
    of = dict(zip(zip(labels["head"], labels["kind"], strict=True), accuracy, strict=True))
    agreement = np.array(whole["agreement"].values).mean(axis=1)
    gap, enough = (np.array(whole[name].values) for name in ("certificate", "rank suffices"))
    rank = whole["effective rank"].values
    expected = {
        ("attention-heads-beat-simple-heads", "without gates"): of["attention", "linear"] - of["linear", "linear"],
        ("attention-heads-beat-simple-heads", "gated"): of["attention", "gated"]
        - max(of["mlp", "gated"], of["linear", "linear"]),
        ("gated-heads-beat-linear-heads", "fno"): of["fno", "gated"] - of["linear", "linear"],
        ("gated-heads-beat-linear-heads", "mixer"): of["mixer", "gated"] - of["mixer", "linear"],
        ("heads-are-certified", None): gap[enough == 1].max(),
        ("attention-heads-are-low-rank-in-tokens", None): math.log(rank[0] / rank[1]),
        ("attention-clusters-as-merging-does", None): agreement[0] - agreement[2],
        ("attention-clusters-more-than-random-maps", None): agreement[0] - agreement[1],
    }
    assert {key: verdicts[key] for key in expected} == pytest.approx(expected)
    assert len(verdicts) == 11
    with style():
        accuracies, drawing = (figure() for figure in experiment.EXPERIMENT.figures(found, []))
    assert "attention gated" in accuracies.alt
    assert drawing.png.startswith(b"\x89PNG")
