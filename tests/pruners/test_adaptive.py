"""Adaptive and learned methods against masks at full length (tests/reference_adaptive.py), and what they learn from."""

import math

import pytest
import reference_adaptive as reference
import torch
from model_zoo import CLASSES, batch_of, make

from tokenprune.errors import UsageError
from tokenprune.models import BatchInfo, SparseViT, build
from tokenprune.pruners import create
from tokenprune.pruners.base import Taught
from tokenprune.recipe import Model, Schedule

METHODS = ("ats", "avit", "dynamicvit", "ia_red2", "ltmp")
ADAPTIVE = ("ats", "avit", "ia_red2", "ltmp")
#: Options under which small random models leave different numbers of tokens.
OPTIONS = {"avit": {"scale": 1.0, "center": 1.5}}
INDEX = torch.arange(6)


def vit_of(name: str, side: int, seed: int = 0):
    if side == 16:
        return make(name, seed).double()
    keys = {"plain": {}, "average pooling": {"class_token": False}}[name]
    torch.manual_seed(seed)
    vit = build(Model(depth=3, dim=16, heads=2, patch_size=4, **keys), CLASSES, side)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return vit.double().eval()


def pixels(side: int, seed: int = 0, count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64)


def model_of(method: str, vit, site: str, seed: int = 0, **options) -> SparseViT:
    """Its parameters (if it has any) moved at random."""
    torch.manual_seed(seed)
    model = SparseViT(vit, create(method, **OPTIONS.get(method, {}) | options), Schedule.parse(site), 0.5)
    model = model.double().eval()
    with torch.no_grad():
        for name, parameter in model.pruner.named_parameters():
            if method == "ltmp":
                parameter.copy_(0.3 + 0.3 * torch.rand_like(parameter) if name == "merge" else 0.8)
            elif method != "avit":
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def rule_of(model: SparseViT, method: str):
    """The reference with the model's own parameters, and what it does at the end."""
    pruner, sites = model.pruner, model.schedule.cursors
    if method == "ats":
        return reference.ats, None
    if method == "avit":
        return reference.avit(pruner.scale.item(), pruner.center.item())
    if method == "ltmp":
        whole = model.prefix + model.patches
        prune = {site: pruner.prune[i].item() / whole for i, site in enumerate(sites)}
        return reference.ltmp({site: pruner.merge[i].item() for i, site in enumerate(sites)}, prune), None
    parts = pruner.predictors if method == "dynamicvit" else pruner.interpreters
    weights = {int(site): dict(part.named_parameters()) for site, part in parts.items()}
    if method == "dynamicvit":
        return reference.dynamicvit(weights), None
    return reference.ia_red2(weights, model.shape.heads), None


def compare(model: SparseViT, method: str, x: torch.Tensor, keep: float) -> list[list[int]]:
    """Logits, tokens, weights and owners of every image; returns the numbers of tokens left, site by site."""
    trace = model.run(x, keep, BatchInfo(index=INDEX[: len(x)]))
    sites = dict(zip(model.schedule.cursors, model.counts(keep), strict=True))
    numbers = [[] for _ in sites]
    for i, image in enumerate(x):
        rule, finish = rule_of(model, method)
        logits, history = reference.forward(model.vit, image, sites, rule, finish)
        torch.testing.assert_close(trace.logits[i], logits, rtol=1e-9, atol=1e-9)
        for site, (state, (alive, home, size, tokens)) in enumerate(zip(trace.states, history, strict=True)):
            left = [j for j, here in enumerate(alive) if here]
            numbers[site].append(len(left))
            present = state.weights[i] > 0
            assert int(present.sum()) == len(left)
            # A token is known by the patches that live in it.
            owner = state.owner[i].tolist()
            place = {home[t]: owner[t] for t in range(len(home)) if home[t] >= 0}
            assert owner == [place.get(token, -1) for token in home]
            assert present[list(place.values())].all()
            for token, column in place.items():
                assert state.weights[i, column].item() == pytest.approx(size[token])
                torch.testing.assert_close(state.patches[i, column], tokens[state.prefix + token], rtol=1e-9, atol=1e-9)
    for state, number in zip(trace.states, numbers, strict=True):
        assert state.count == max(number)  # nothing but what the fullest image needs
    return numbers


@pytest.mark.parametrize("site", ["after:0,1", "before:1,2"])
@pytest.mark.parametrize("name", ["plain", "registers", "QK-norm", "average pooling"])
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_it_equals_a_masked_run_at_full_length(method: str, name: str, site: str) -> None:
    if method == "avit" and name == "average pooling":
        with pytest.raises(UsageError, match="'avit': averages the class token over depth, and the model has none"):
            model_of(method, vit_of(name, 16), site)
        return
    spread = 0
    for seed, keep in ((0, 0.6), (1, 0.9)):
        numbers = compare(model_of(method, vit_of(name, 16, seed), site, seed), method, pixels(16, seed), keep)
        spread += sum(len(set(number)) > 1 for number in numbers)
        assert all(left < 16 for number in numbers for left in number)
    assert (spread > 0) == (method in ADAPTIVE)


@pytest.mark.parametrize("side", [12, 20])
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_odd_numbers_of_tokens_one_and_all_but_one(method: str, side: int) -> None:
    n = (side // 4) ** 2
    model = model_of(method, vit_of("plain", side), "after:0")
    for stay in (1, 2, n // 2, n - 1):
        numbers = compare(model, method, pixels(side, stay, 4), stay / n)
        assert all(1 <= left <= stay for left in numbers[0])


@pytest.mark.parametrize("site", ["input:last", "input:rollout"])
@torch.no_grad()
def test_ats_at_the_input_samples_the_scores_of_the_unpruned_pass(site: str) -> None:
    model = model_of("ats", vit_of("plain", 16), site)
    trace = model.run(pixels(16), 0.5)
    signals = model.signals(model.embed(pixels(16)), 0)
    score = (signals.attention_by_head() * signals.values().norm(dim=3)).sum(1)
    for i in range(6):
        cdf = score[i].cumsum(0) / score[i].sum()
        expected = {int((cdf < (2 * k + 1) / 16).sum()) for k in range(8)}
        assert set(trace.states[0].alive[i].nonzero()[:, 0].tolist()) == expected


@pytest.mark.parametrize("method", ADAPTIVE)
@torch.no_grad()
def test_fewer_tokens_than_the_bound_pass_a_site_alike_in_every_batch(method: str) -> None:
    """Three sites whose bound falls slowly, so that most images have fewer tokens than it."""
    model = model_of(method, vit_of("plain", 16), "before:0,1,2")
    x, ratios = pixels(16), (0.9, 0.9, 0.99)
    together = model.run(x, ratios, BatchInfo(index=INDEX))
    for i in range(len(x)):
        alone = model.run(x[i : i + 1], ratios, BatchInfo(index=INDEX[i : i + 1]))
        torch.testing.assert_close(alone.logits[0], together.logits[i], rtol=1e-9, atol=1e-9)
        for a, b in zip(alone.states, together.states, strict=True):
            assert a.alive[0].tolist() == b.alive[i].tolist()
            assert a.count == int((b.weights[i] > 0).sum())


def test_avit_adds_its_ponder_and_prior_losses() -> None:
    vit, x, options = vit_of("registers", 16), pixels(16), {"ponder": 0.7, "prior": 0.3, "target": 0.6}
    for keep in (0.9, 0.4):
        model = model_of("avit", vit, "before:1,2", **options).train()
        model.vit.eval()
        trace = model.run(x, keep)
        found = model.pruner.loss(trace, batch_of(INDEX % CLASSES), None)
        images = []
        for i, image in enumerate(x):
            rule, finish = rule_of(model, "avit")
            seen = []
            sites = dict(zip((2, 4), model.counts(keep), strict=True))
            with torch.no_grad():
                logits, _ = reference.forward(
                    vit, image, sites, rule, lambda image, seen=seen, finish=finish: (finish(image), seen.append(image))
                )
            images += seen
            torch.testing.assert_close(trace.logits[i].detach(), logits, rtol=1e-9, atol=1e-9)  # as in evaluation
        ponder, away = reference.avit_loss(images, [2, 4], 3, 0.6)
        assert found.item() == pytest.approx(0.7 * ponder + 0.3 * away, rel=1e-6)
        assert [state.count for state in trace.states] == list(model.counts(keep))  # tokens leave in training too


def test_avit_without_a_bound_is_the_model_and_adds_nothing() -> None:
    model = model_of("avit", vit_of("plain", 16), "before:1,2").train()
    trace = model.run(pixels(16), 1.0)
    torch.testing.assert_close(trace.logits, SparseViT(model.vit).run(pixels(16)).logits, rtol=1e-12, atol=1e-12)
    assert model.pruner.loss(trace, None, None) is None


def test_ltmp_trains_on_what_it_evaluates_and_adds_its_share_of_flops() -> None:
    vit, x = vit_of("plain", 16), pixels(16)
    model = model_of("ltmp", vit, "after:1")
    sparse = model.run(x, 15 / 16)
    model.train()
    trace = model.run(x, 15 / 16)
    torch.testing.assert_close(trace.logits, sparse.logits, rtol=1e-3, atol=1e-3)  # closed gates let 1e-6 in
    assert trace.states[0].count == 16
    left = (sparse.states[0].weights > 0).double().mean(1) * sparse.states[0].count / 16
    assert trace.states[0].memory["left"][:, 0].tolist() == pytest.approx(left.tolist())
    shares = [reference.ltmp_flops([share], [3], 3, 16, 16, 1) for share in (left.mean().item(), 0.5)]
    found = model.pruner.loss(trace, None, None)
    assert found.item() == pytest.approx(10 * (shares[0] - shares[1]) ** 2, rel=1e-6)


def test_dynamicvit_gates_are_draws_of_its_keep_probability_and_multiply() -> None:
    x = pixels(16).repeat(50, 1, 1, 1)[:300]
    model = model_of("dynamicvit", vit_of("plain", 16), "before:1,2").train()
    info = BatchInfo(index=torch.arange(300), seed=3)
    with torch.no_grad():
        first, second = (state.carried["kept"] for state in model.run(x, 0.5, info).states)
        again = model.run(x, 0.5, info).states[1].carried["kept"]
        state = model.advance(model.embed(x[:6]), 0, 2)
    assert torch.equal(second, again)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert (second <= first).all()
    chance = model.pruner.score(state, model.signals(state, 2)).sigmoid()
    drawn = first.view(50, 6, 16).mean(0)
    assert ((drawn - chance).abs() < 4.5 * (chance * (1 - chance) / 50).sqrt() + 1e-9).all()


def test_dynamicvit_adds_ratio_and_distillation() -> None:
    model = model_of("dynamicvit", vit_of("plain", 16), "before:1,2").train()
    trace = model.run(pixels(16), 0.5, BatchInfo(index=INDEX))
    teacher = Taught(torch.randn(6, CLASSES).double(), torch.randn(6, 17, 16).double())
    ratio = 0.0
    for state, target in zip(trace.states, (0.5, 0.25), strict=True):
        ratio += sum((row.mean().item() - target) ** 2 for row in state.carried["kept"]) / 6 / 2
    p, q = teacher.logits.softmax(1), trace.logits.softmax(1)
    kl = (p * (p / q).log()).sum().item() / 6
    kept = trace.states[1].carried["kept"]
    differences = [
        (trace.features[i, 1 + j] - teacher.features[i, 1 + j]).square().mean().item()
        for i in range(6)
        for j in range(16)
        if kept[i, j] > 0.5
    ]
    taught = 0.5 * kl + 0.5 * sum(differences) / len(differences)
    assert model.pruner.loss(trace, None, None).item() == pytest.approx(2 * ratio)
    assert model.pruner.loss(trace, None, teacher).item() == pytest.approx(2 * ratio + taught)


def test_dynamicvit_trains_on_what_the_gates_leave() -> None:
    """Closed gates let next to nothing in: the logits are those of the tokens behind open ones."""
    model = model_of("dynamicvit", vit_of("plain", 16), "before:1").train()
    x = pixels(16)
    trace = model.run(x, 0.5, BatchInfo(index=INDEX))
    kept = trace.states[0].carried["kept"]

    def rule(image: reference.Image, site: reference.Site) -> None:
        for j in range(16):
            if gates[j] == 0:
                image.drop(j)

    for i in range(6):
        gates = kept[i].tolist()
        with torch.no_grad():
            logits, _ = reference.forward(model.vit, x[i], {2: 16}, rule)
        torch.testing.assert_close(trace.logits[i].detach(), logits, rtol=1e-3, atol=1e-3)


def test_ia_red2_rewards_right_answers_from_few_tokens() -> None:
    model = model_of("ia_red2", vit_of("plain", 16), "before:1,2", penalty=0.25).train()
    trace = model.run(pixels(16), 0.5, BatchInfo(index=INDEX))
    labels = trace.logits.argmax(1)
    labels[::2] = (labels[::2] + 1) % CLASSES
    memory = trace.states[-1].memory
    expected = 0.0
    for site in range(2):
        left = [(state.weights[i] > 0).sum().item() / 16 for i in range(6) for state in (trace.states[site],)]
        assert memory["left"][:, site].tolist() == pytest.approx(left)
        reward = [1 - left[i] ** 2 if i % 2 else -0.25 for i in range(6)]
        for i in range(6):
            others = [reward[j] for j in range(6) if j != i]
            expected -= (reward[i] - sum(others) / 5) * memory["log"][i, site].item() / 6
    assert model.pruner.loss(trace, batch_of(labels), None).item() == pytest.approx(expected)
    # The first site's draw: the probability of what was drawn, by the interpreter again.
    weights = dict(model.pruner.interpreters["2"].named_parameters())
    state = model.advance(model.embed(pixels(16)), 0, 2)
    alive = trace.states[0].alive
    for i in range(6):
        chance = [reference.interpret(token, weights, 2) for token in state.patches[i]]
        log = sum(math.log(p if here else 1 - p) for p, here in zip(chance, alive[i].tolist(), strict=True))
        assert memory["log"][i, 0].item() == pytest.approx(log / 16)


def test_ia_red2_is_as_right_as_either_label_of_a_mixed_image() -> None:
    model = model_of("ia_red2", vit_of("plain", 16), "before:1").train()
    trace = model.run(pixels(16), 0.5, BatchInfo(index=INDEX))
    answer = trace.logits.argmax(1)
    wrong = (answer + 1) % CLASSES
    share = torch.rand(6).double()

    def loss(**batch) -> float:
        return model.pruner.loss(trace, batch_of(**batch), None).item()

    both = loss(labels=answer, other=answer, weight=share)
    assert both == pytest.approx(loss(labels=answer))
    assert loss(labels=answer, other=wrong, weight=torch.ones(6)) == pytest.approx(loss(labels=answer))
    assert loss(labels=wrong, other=answer, weight=share) == pytest.approx(
        loss(labels=answer, other=wrong, weight=1 - share)
    )


@pytest.mark.parametrize("method", METHODS)
def test_it_runs_in_bf16(method: str) -> None:
    model = model_of(method, vit_of("plain", 16), "after:0,1").float()
    info = BatchInfo(index=INDEX)
    for training in (False, True):
        model.train(training)
        with torch.autocast("cpu", torch.bfloat16):
            trace = model.run(pixels(16).float(), 0.6, info)
        own = model.pruner.loss(trace, batch_of(INDEX % CLASSES), None) if training else None
        (trace.logits.float().sum() + (0 if own is None else own)).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        (
            "avit",
            {"epsilon": 0.7},
            r"pruner 'avit': option epsilon: found 0\.7, must be a number, at least 0, at most 0\.5",
        ),
        ("avit", {"scale": -1}, r"option scale: found -1, must be a number, at least 0"),
        ("avit", {"center": "low"}, r"option center: found 'low', must be a number"),
        ("avit", {"target": True}, r"option target: found True, must be a number, at least 0, at most 1"),
        ("avit", {"ponder": math.inf}, r"option ponder: found inf, must be a number, at least 0"),
        ("dynamicvit", {"ratio": -2}, r"pruner 'dynamicvit': option ratio: found -2, must be a number, at least 0"),
        ("dynamicvit", {"tokens": [1]}, r"option tokens: found \[1\]"),
        ("ltmp", {"temperature": 0}, r"pruner 'ltmp': option temperature: found 0, must be a number, at least 1e-06"),
        ("ltmp", {"flops": None}, r"option flops: found None"),
        ("ia_red2", {"penalty": "1"}, r"pruner 'ia_red2': option penalty: found '1'"),
        ("ats", {"samples": 3}, r"unknown option of pruner 'ats' 'samples'"),
    ],
)
def test_options_out_of_range_are_named(method: str, options: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        create(method, **options)
