"""Methods that learn, against slow re-implementations, and on a toy task that only a trained one solves."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import reference_learned as reference
import torch
from model_zoo import batch_of, images, make
from reference_models import attention_map, patch_scores
from torch import Tensor
from torch.nn import functional as F

from tokenprune.errors import UsageError
from tokenprune.models import SparseViT, build
from tokenprune.models.signals import SiteSignals
from tokenprune.pruners import TokenState, create
from tokenprune.recipe import Model, Schedule

IMAGES = images(3).double()
MODELS = ("plain", "average pooling, registers", "registers")
SITES = ("before:1", "after:1")
#: Of 16 patches: one, an odd number, nearly all.
KEEP = (1, 5, 8, 15)


def model_of(
    method: str, site: str, keep: float | tuple[float, ...], name: str = "plain", seed: int = 0, **options: Any
):
    """A method with parameters drawn at random in a model of float64."""
    torch.manual_seed(seed)
    model = SparseViT(make(name, seed), create(method, **options), Schedule.parse(site), keep).double().eval()
    assert model.pruner is not None
    with torch.no_grad():
        for parameter in model.pruner.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


def at_site(model: SparseViT, place: int = 0, state: TokenState | None = None) -> tuple[TokenState, SiteSignals]:
    cursor = model.schedule.cursors[place]
    state = model.embed(IMAGES) if state is None else state
    state = model.advance(state, 0, cursor)
    return state, model.signals(state, cursor)


def merged_before(model: SparseViT, count: int = 13) -> TokenState:
    """Tokens of which some were merged: weights of one, two and three."""
    into = torch.arange(16).clamp(max=count - 1).expand(3, 16)
    return model.embed(IMAGES).merge(into, count)


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


def same(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found.detach(), torch.as_tensor(np.asarray(expected)), rtol=1e-9, atol=1e-9)


def raw_attention(model: SparseViT, state: TokenState, cursor: int) -> Tensor:
    """[b, h, s, s] of the block at a cursor, by hand; its columns count by weight."""
    block = model.vit.blocks[cursor // 2]
    x = state.tokens if state.entered is None else state.entered
    plain = attention_map(block.attn, block.norm1(x), torch.ones(x.shape[:2], dtype=torch.bool))
    weighed = plain * F.pad(state.weights, (state.prefix, 0), value=1.0)[:, None, None]
    return weighed / weighed.sum(-1, keepdim=True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("keep", KEEP)
def test_patchmerger(keep: int, site: str, name: str) -> None:
    model = model_of("patchmerger", site, keep / 16, name, seed=keep)
    state, signals = at_site(model)
    found = model.pruner.reduce(state, keep, signals)
    key = str(signals.site)
    norm = arrays(model.pruner.norms[key].weight, model.pruner.norms[key].bias)
    for i in range(3):
        x, weight, queries = arrays(state.patches[i], state.weights[i], model.pruner.vectors[key])
        tokens, into = reference.patchmerger(x, weight, queries, *norm)
        same(found.patches[i], tokens)
        assert found.owner[i].tolist() == into
    assert found.weight is None
    assert torch.equal(found.tokens[:, : state.prefix], state.tokens[:, : state.prefix])


@pytest.mark.parametrize("options", [{}, {"eps": 0.3, "iterations": 7}])
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("keep", KEEP)
def test_sinkhorn(keep: int, site: str, options: dict) -> None:
    model = model_of("sinkhorn", site, keep / 16, seed=keep, **options)
    state, signals = at_site(model)
    found = model.pruner.reduce(state, keep, signals)
    for i in range(3):
        x, weight, centres = arrays(state.patches[i], state.weights[i], model.pruner.vectors[str(signals.site)])
        tokens, into = reference.sinkhorn(x, weight, centres, model.pruner.eps, model.pruner.iterations)
        same(found.patches[i], tokens)
        assert found.owner[i].tolist() == into
    assert found.weight is None


@pytest.mark.parametrize("method", ["patchmerger", "sinkhorn"])
def test_a_mixture_takes_merged_tokens_as_often_as_they_count(method: str) -> None:
    """A token of weight 3 is three of the same."""
    model = model_of(method, "before:1", 0.25)
    state = merged_before(model, 14)
    single = state.take(torch.tensor([[*range(14), 13, 13]]).expand(3, 16))
    single = replace(single, weight=None, owner=state.owner.new_tensor([range(16)]).expand(3, 16))
    signals = model.signals(state, 2)
    first, second = (model.pruner.reduce(each, 4, signals) for each in (state, single))
    same(first.patches, second.patches.detach())
    assert torch.equal(first.owner, second.owner)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("keep", KEEP)
def test_cropr(keep: int, site: str) -> None:
    model = model_of("cropr", site, keep / 16, seed=keep)
    state, signals = at_site(model)
    found = model.pruner.reduce(state, keep, signals)
    for i in range(3):
        x, query = arrays(state.patches[i], model.pruner.query[str(signals.site)])
        assert found.position[i].tolist() == reference.cropr(x, query, keep)
    assert not signals.asked


def test_what_teaches_cropr_sees_every_token_and_moves_nothing_else() -> None:
    model = model_of("cropr", "before:1,2", 0.5)
    model.train()
    trace = model.run(IMAGES, 0.5)
    batch = batch_of(torch.tensor([0, 1, 2]))
    loss = model.pruner.loss(trace, batch, None)
    loss.backward()
    assert all(parameter.grad is None for parameter in model.vit.parameters())
    expected, state = 0.0, model.embed(IMAGES)
    for cursor, keep in ((2, 8), (4, 4)):
        state = model.advance(state, cursor - 2, cursor)
        query, teacher = model.pruner.query[str(cursor)], model.pruner.teacher[str(cursor)]
        parts = [arrays(layer.weight, layer.bias) for layer in (*teacher.mlp[:2], teacher.mlp[3], *teacher.head)]
        for i in range(3):
            x, q = arrays(state.patches[i], query)
            answer = reference.cropr_answer(x, q, parts[1], parts[2], parts[0], parts[3], parts[4])
            expected -= np.log(reference.softmax(answer)[i]) / 3
        state = state.take(torch.tensor([reference.cropr(*arrays(state.patches[i], query), keep) for i in range(3)]))
    same(loss, expected)


def test_cropr_takes_mixed_labels() -> None:
    model = model_of("cropr", "before:1", 0.5)
    model.train()
    first, second = torch.tensor([0, 1, 2]), torch.tensor([3, 0, 1])
    share = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    trace = model.run(IMAGES, 0.5)
    (answer,) = trace.states[-1].memory["answers"].unbind(1)
    found = model.pruner.loss(trace, batch_of(first, other=second, weight=share), None)
    each = [F.cross_entropy(answer, labels, reduction="none") for labels in (first, second)]
    torch.testing.assert_close(found, (share * each[0] + (1 - share) * each[1]).mean())


@pytest.mark.parametrize("name", ["plain", "average pooling, registers"])
def test_tokens_that_rejoin_are_those_that_left_in_the_order_of_the_image(name: str) -> None:
    """Two sites: patches that the first drops come back from there, those of the second from there."""
    model = model_of("cropr", "before:1,2", 0.5, name, rejoin=True)
    without = SparseViT(model.vit, create("cropr"), model.schedule, 0.5).double().eval()
    without.pruner.load_state_dict(model.pruner.state_dict())
    with torch.no_grad():
        found, bare = model.run(IMAGES, 0.5), without.run(IMAGES, 0.5)
        first = model.advance(model.embed(IMAGES), 0, 2)
        second = model.advance(bare.states[0], 2, 4)
        last = model.advance(bare.states[1], 4, 6)
    assert [state.count for state in found.states] == [8, 4]
    for before, after in zip(bare.states, found.states, strict=True):
        assert torch.equal(before.tokens, after.tokens)
    expected = first.patches.clone()
    for state in (second, last):
        for i in range(3):
            for place, patch in enumerate(state.position[i].tolist()):
                expected[i, patch] = state.patches[i, place]
    whole = torch.cat([last.tokens[:, : last.prefix], expected], dim=1)
    same(found.features, model.vit.norm(whole).detach())
    same(found.logits, model.vit.forward_head(model.vit.norm(whole)).detach())
    assert torch.equal(found.logits, bare.logits) == (name == "plain")


def metric_by_hand(model: SparseViT, state: TokenState, cursor: int) -> Tensor:
    x = (state.tokens if state.entered is None else state.entered)[:, state.prefix :]
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    linear = model.pruner.projection[str(cursor)]
    return normed @ linear.weight.T + linear.bias


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("count", [13, 16])
@pytest.mark.parametrize("keep", [1, 3, 8, 12])
def test_dtem_merges_by_what_it_learned(keep: int, count: int, site: str, name: str) -> None:
    model = model_of("dtem", site, 0.5, name, seed=keep)
    state, signals = at_site(model, state=merged_before(model, count))
    found = model.pruner.reduce(state, keep, signals)
    metric = metric_by_hand(model, state, signals.site)
    for i in range(3):
        x, weight, by = arrays(state.patches[i], state.weights[i], metric[i])
        tokens, weights, into = reference.bipartite(x, weight, by, state.prefix, keep)
        same(found.patches[i], tokens)
        same(found.weights[i], weights)
        assert found.owner[i].tolist() == [into[j] for j in state.owner[i].tolist()]


@pytest.mark.parametrize("name", ["plain", "average pooling, registers"])
@pytest.mark.parametrize("options", [{}, {"partners": 20, "similarity_temperature": 0.5, "choice_temperature": 1.0}])
@pytest.mark.parametrize("keeps", [(15, 8), (9, 5), (4, 1), (16, 7)])
def test_dtem_merges_softly_in_training(keeps: tuple[int, int], options: dict, name: str) -> None:
    """Two sites: the second merges among the tokens that are heaviest after the first."""
    ratios = (keeps[0] / 16, keeps[1] / keeps[0])
    model = model_of("dtem", "after:0,1", ratios, name, **options)
    model.pruner.train()
    part = 16
    state = model.embed(IMAGES)
    for place, keep in enumerate(keeps):
        cursor = model.schedule.cursors[place]
        state = model.advance(state, max(0, cursor - 2), cursor)
        found = model.pruner.reduce(state, keep, model.signals(state, cursor))
        assert found.count == 16
        metric = metric_by_hand(model, state, cursor)
        for i in range(3):
            x, weight, by = arrays(state.patches[i], state.weights[i], metric[i])
            pruner = model.pruner
            temperatures = (pruner.similarity_temperature, pruner.choice_temperature)
            tokens, weights, source = reference.soft_bipartite(
                x, weight, by, state.prefix, part, keep, pruner.partners, *temperatures
            )
            same(found.patches[i], tokens)
            same(found.weights[i], weights)
            assert found.owner[i].tolist() == [source.index(j) for j in state.owner[i].tolist()]
        part, state = keep, found


def test_soft_merging_gets_hard_as_temperatures_fall() -> None:
    model = model_of("dtem", "after:1", 0.5, partners=16, choice_temperature=0.001)
    state, signals = at_site(model)
    hard = model.pruner.reduce(state, 13, signals)
    model.pruner.train()
    soft = model.pruner.reduce(state, 13, signals)
    assert (soft.weights > 0.5).sum(1).tolist() == [13, 13, 13]
    for i in range(3):
        heavy = soft.patches[i][soft.weights[i] > 0.5]
        distance = torch.cdist(hard.patches[i], heavy)
        assert distance.min(1).values.max() < 0.1


def site_of_diffrate(count: int, name: str, **options: Any):
    model = model_of("diffrate", "after:1", 0.5, name, **options)
    with torch.no_grad():  # steep enough to have an opinion
        for number, target in ((model.pruner.cut, 12), (model.pruner.merge, 7)):
            number["3"].add_(-0.3 * (torch.arange(16) + 1 - target).abs())
    state, signals = at_site(model, state=merged_before(model, count))
    learned = [
        reference.expected_number(logits["3"].detach().numpy()) for logits in (model.pruner.cut, model.pruner.merge)
    ]
    full = raw_attention(model, state, 3)
    score = patch_scores(model.vit, full, torch.ones(full.shape[0], full.shape[2], dtype=torch.bool))
    if model.vit.cls_token is None:  # queries count by weight too
        weight = F.pad(state.weights, (state.prefix, 0), value=1.0)
        score = ((full.mean(1) * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True))[:, state.prefix :]
    return model, state, signals, learned, score


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("count", [13, 16])
@pytest.mark.parametrize("keep", [1, 4, 8, 11, 12])
def test_diffrate(keep: int, count: int, name: str) -> None:
    model, state, signals, learned, score = site_of_diffrate(count, name, seed=keep)
    assert learned[0] > learned[1]
    found = model.pruner.reduce(state, keep, signals)
    assert found.count == keep
    for i in range(3):
        x, weight, by = arrays(state.patches[i], state.weights[i], score[i])
        tokens, weights, into = reference.diffrate(x, weight, list(by), keep, *learned)
        same(found.patches[i], tokens)
        same(found.weights[i], weights)
        assert found.owner[i].tolist() == [into[j] for j in state.owner[i].tolist()]


@pytest.mark.parametrize("count", [13, 16])
def test_diffrate_leaves_the_learned_number_if_asked(count: int) -> None:
    model, state, signals, learned, score = site_of_diffrate(count, "plain", counts="learned")
    assert model.pruner.fixed
    for keep in (2, 12):
        found = model.pruner.reduce(state, keep, signals)
        assert found.count == learned[1]
        for i in range(3):
            x, weight, by = arrays(state.patches[i], state.weights[i], score[i])
            tokens, weights, _ = reference.diffrate(x, weight, list(by), learned[1], *learned)
            same(found.patches[i], tokens)
            same(found.weights[i], weights)
    few = state.take(torch.arange(learned[1] - 1).expand(3, -1))
    assert model.pruner.reduce(few, learned[1] - 1, model.signals(few, 3)) is few


@pytest.mark.parametrize("name", ["plain", "average pooling, registers"])
def test_diffrate_closes_in_training_what_it_would_remove(name: str) -> None:
    """At two sites, whose learned numbers differ; and its FLOPs are those of the blocks with these numbers."""
    model = model_of("diffrate", "after:0,1", 0.5, name, gflops=None)
    numbers = ((12, 8), (10, 5))
    with torch.no_grad():
        for cursor, both in zip(model.schedule.cursors, numbers, strict=True):
            for logits, number in zip((model.pruner.cut, model.pruner.merge), both, strict=True):
                logits[str(cursor)].copy_(-20.0 * (torch.arange(16) + 1 - number).abs())
    model.train()
    state, before = model.embed(IMAGES), 16
    for place, (cut, merge) in enumerate(numbers):
        cursor = model.schedule.cursors[place]
        state = model.advance(state, max(0, cursor - 2), cursor)
        found = model.pruner.reduce(state, 8, model.signals(state, cursor))
        full = raw_attention(model, state, cursor)
        score = full.mean(1)[:, 0, 1:]
        if model.vit.cls_token is None:
            weight = F.pad(state.weights, (state.prefix, 0), value=1.0)
            score = ((full.mean(1) * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True))[:, state.prefix :]
        for i in range(3):
            x, weight, by = arrays(state.patches[i], state.weights[i], score[i])
            tokens, weights = reference.diffrate_training(x, weight, list(by), before, cut, merge)
            same(found.patches[i], tokens)
            same(found.weights[i], weights)
        assert torch.equal(found.owner, state.owner)
        assert (found.weights > 0.5).sum(1).tolist() == [min(before, cut, merge)] * 3
        before, state = min(before, cut, merge), found
    trace = SimpleNamespace(logits=torch.zeros(1))
    p = model.prefix
    spent, target = (reference.block_flops(3, 16, p, 16, [1, 3], left) for left in ([8, 5], [8, 4]))
    expected = 5 * ((spent - target) / 1e9) ** 2
    assert model.pruner.loss(trace, None, None).item() == pytest.approx(expected, rel=1e-5)
    model.pruner.gflops = 4.6
    expected = 5 * (4.6 * (spent - target) / reference.block_flops(3, 16, p, 16, [1, 3], [16, 16])) ** 2
    assert model.pruner.loss(trace, None, None).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["plain", "average pooling, registers"])
@pytest.mark.parametrize("site", ["before:0,1,2", "after:0,1"])
def test_patch_slimming(site: str, name: str) -> None:
    model = model_of("patch_slimming", site, 0.6, name, gather=2)
    sites, counts = model.schedule.cursors, model.counts(0.6)
    model.train()
    trace = model.run(IMAGES, 0.6)
    model.pruner.loss(trace, None, None)
    assert [state.count for state in trace.states] == [16] * len(sites)
    maps, entered, state = [], [], model.embed(IMAGES)
    for cursor in sites:
        state = model.advance(model.embed(IMAGES), 0, cursor)
        maps.append(arrays(*raw_attention(model, state, cursor)))
        entered.append(arrays(*(state.tokens if state.entered is None else state.entered)))
    scores, masks = reference.slimming(maps, entered, model.prefix, 16, counts, model.vit.cls_token is not None)
    same(model.pruner.total / model.pruner.seen, scores)
    model.eval()
    states = model.run(IMAGES, 0.6).states
    for deeper, mask in zip(masks[1:], masks, strict=False):
        assert deeper < mask
    for found, mask in zip(states, masks, strict=True):
        assert found.position.tolist() == [sorted(mask)] * 3
    smaller = model.run(IMAGES, 0.4).states
    assert set(smaller[0].position[0].tolist()) > set(smaller[1].position[0].tolist())


def test_patch_slimming_stops_gathering_even_when_training_was_resumed() -> None:
    model, other = (model_of("patch_slimming", "before:1", 0.5, gather=2, seed=seed) for seed in (0, 0))
    model.train()
    for step in range(4):
        trace = model.run(IMAGES + step, 0.5)
        model.pruner.loss(trace, None, None)
        assert trace.states[0].count == (16 if step < 2 else 8)
        if step == 1:
            scores = model.pruner.total.clone()
            other.load_state_dict(model.state_dict())
    assert torch.equal(model.pruner.total, scores)
    other.train()
    assert other.run(IMAGES, 0.5).states[0].count == 8


def test_a_patch_that_dropout_left_out_does_not_count() -> None:
    """Patches present in one image of two have the mean over that one."""
    model = model_of("patch_slimming", "before:1", 0.5)
    model.train()
    whole, half = (model.embed(IMAGES[:2]).take(torch.arange(n).expand(2, n)) for n in (16, 8))
    for state in (whole, half):
        signals = model.signals(state, 2)
        gathered = model.pruner.reduce(state, 8, signals)
        model.pruner.loss(SimpleNamespace(states=(gathered,)), None, None)
    assert model.pruner.seen[0].tolist() == [4.0] * 8 + [2.0] * 8


@pytest.mark.parametrize("method", ["patchmerger", "sinkhorn"])
def test_a_mixture_at_another_count_is_refused(method: str) -> None:
    model = model_of(method, "before:1", 0.5)
    with pytest.raises(UsageError, match=rf"pruner '{method}': made for 8 tokens at a site where 4 are to stay"):
        model.run(IMAGES, 0.25)


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("sinkhorn", {"eps": 0}, "option eps: found 0, must be a number, at least 0.001"),
        ("sinkhorn", {"eps": float("nan")}, "option eps: found nan"),
        ("sinkhorn", {"eps": "1"}, "option eps: found '1', must be a number"),
        ("sinkhorn", {"iterations": 2.5}, "option iterations: found 2.5, must be a whole number, at least 1"),
        ("sinkhorn", {"iterations": True}, "option iterations: found True"),
        ("cropr", {"rejoin": "yes"}, "option rejoin: found 'yes', must be true or false"),
        ("dtem", {"features": 0}, "option features: found 0"),
        ("dtem", {"partners": None}, "option partners: found None"),
        ("dtem", {"similarity_temperature": -1}, "option similarity_temperature: found -1"),
        ("dtem", {"choice_temperature": float("inf")}, "option choice_temperature: found inf"),
        ("dtem", {"modular": 1}, "option modular: found 1, must be true or false"),
        ("diffrate", {"counts": "mine"}, "option counts: found 'mine', must be given or learned"),
        ("diffrate", {"factor": -1}, "option factor: found -1, must be a number, at least 0"),
        ("diffrate", {"gflops": 0}, "option gflops: found 0"),
        ("patch_slimming", {"gather": 0}, "option gather: found 0, must be a whole number, at least 1"),
    ],
)
def test_options_out_of_range(method: str, options: dict, says: str) -> None:
    with pytest.raises(UsageError, match=f"pruner '{method}': {says}") as caught:
        create(method, **options)
    assert "\n" not in str(caught.value)


CLASSES = torch.randn(3, 48, generator=torch.Generator().manual_seed(5))
TEXTURES = 2 * torch.randn(4, 48, generator=torch.Generator().manual_seed(6))


def toy(count: int, seed: int, where: str) -> tuple[Tensor, Tensor]:
    """Images of 16 patches with their classes.

    where: which patches show the class: two (`anywhere`), four (`centre`), or each a little, so that whoever averages
    most knows best (`all`).
    """
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=draw)
    patches = torch.randn(count, 16, 48, generator=draw)
    if where == "anywhere":  # textures make patches alike that have nothing in common
        patches = patches + TEXTURES[torch.randint(4, (count, 16), generator=draw)]
        shown = torch.rand(count, 16, generator=draw).argsort(1) < 2
    elif where == "centre":
        shown = torch.isin(torch.arange(16), torch.tensor([5, 6, 9, 10])).expand(count, 16)
    else:
        shown = torch.ones(count, 16, dtype=torch.bool)
    strength = 0.15 if where == "all" else 1.0
    patches = patches + strength * CLASSES[labels][:, None] * shown[:, :, None]
    pixels = patches.view(count, 4, 4, 3, 4, 4).permute(0, 3, 1, 4, 2, 5)
    return pixels.reshape(count, 3, 16, 16), labels


def train(model: SparseViT, where: str, keep: float, steps: int, rate: float = 3e-3) -> None:
    model.train()
    pruner = model.pruner
    frozen = pruner is not None and pruner.model_rate == 0
    optimizer = torch.optim.Adam((pruner if frozen else model).parameters(), rate, betas=(0.9, 0.95))
    for step in range(steps):
        x, labels = toy(48, step, where)
        trace = model.run(x, keep)
        loss = F.cross_entropy(trace.logits, labels)
        own = None if pruner is None else pruner.loss(trace, batch_of(labels), None)
        optimizer.zero_grad()
        (loss if own is None else loss + own).backward()
        optimizer.step()
    model.eval()


@torch.no_grad()
def error(model: SparseViT, where: str, keep: float) -> float:
    """Cross-entropy on images it has not seen."""
    x, labels = toy(400, 10**6, where)
    return F.cross_entropy(model.run(x, keep).logits, labels).item()


@pytest.mark.parametrize(
    ("method", "where", "site", "keep", "options"),
    [
        ("patchmerger", "anywhere", "before:0", 0.125, {}),
        ("sinkhorn", "anywhere", "before:0", 0.125, {"eps": 0.05}),
        ("cropr", "anywhere", "before:0", 0.125, {}),
        ("dtem", "anywhere", "before:0", 0.25, {"features": 2}),
        ("diffrate", "all", "after:0", 0.25, {}),
        ("patch_slimming", "centre", "before:0,1", 0.5, {"gather": 40}),
    ],
)
def test_a_trained_one_beats_the_same_model_with_an_untrained_one(
    method: str, where: str, site: str, keep: float, options: dict
) -> None:
    torch.manual_seed(1)
    pooled = {"class_token": False} if method == "diffrate" else {}
    vit = build(Model(depth=2, dim=16, heads=2, patch_size=4, **pooled), 3, 16)
    if method == "diffrate":  # which does not train the model
        train(SparseViT(vit), where, 1.0, 60)
    model, other = (SparseViT(vit, create(method, **options), Schedule.parse(site), keep) for _ in range(2))
    train(model, where, keep, *((250, 0.1) if method == "diffrate" else (150,)))
    trained, untrained = error(model, where, keep), error(other.eval(), where, keep)
    assert trained < 0.8 * untrained
