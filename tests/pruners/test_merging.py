"""Methods of merging and clustering against plain loops over tokens, through whole models in float64."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference_merging as reference
import torch
from model_zoo import CLASSES
from timm.models.deit import VisionTransformerDistilled

from tokenprune.errors import UsageError
from tokenprune.models import BatchInfo, SparseViT, build
from tokenprune.pruners import TokenState, create
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
    **options: Any,
) -> None:
    """Logits of the whole model, and tokens, weights and owners at every site. options: of the pruner."""
    schedule = Schedule.parse(site)
    model = SparseViT(vit, create(name, **options), schedule).double().eval()
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


METHODS = {
    "tofu": reference.tofu,
    "pitome": reference.pitome,
    "mctf": reference.mctf,
    "gtp": reference.gtp,
    "dpcknn": reference.dpcknn,
    "kmedoids": reference.kmedoids,
    "atc": reference.atc,
}


@pytest.mark.parametrize(("side", "keep"), SIZES)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_equals_its_loops(name: str, side: int, keep: int) -> None:
    """Twice in a model of three blocks, the first and the second half of it, without weights and with."""
    images, then, method = images_of(side), max(1, keep - 2), METHODS[name]
    compare(name, method, model_of("class token", side), images, "after:0,1", [keep, then])
    compare(name, method, model_of("registers", side), images, "before:1,2", [keep, then], weights_of(side))
    compare(name, method, model_of("no prefix", side), images, "before:0,2", [keep, then])


@pytest.mark.parametrize("prefix", [*PREFIXES, "distilled"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_in_every_block(name: str, prefix: str) -> None:
    """Four tokens leave at each of the blocks, on several models."""
    for seed in range(3):
        compare(name, METHODS[name], model_of(prefix, seed=seed), images_of(seed=seed), "before:0,1,2", [12, 8, 4])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pitome", {"margin": 0.9}),
        ("pitome", {"margin": 0}),
        ("mctf", {"similarity": 0}),
        ("mctf", {"information": 0, "size": 1}),
        ("mctf", {"size": 0, "information": 1.5, "similarity": 3}),
        ("gtp", {"graph": "semantic", "alpha": 0.4}),
        ("gtp", {"graph": "semantic", "neighbours": 100}),
        ("gtp", {"graph": "mixed", "neighbours": 3}),
        ("gtp", {"alpha": 0}),
        ("dpcknn", {"neighbours": 1}),
        ("dpcknn", {"neighbours": 100}),
        ("kmedoids", {"rounds": 0}),
        ("kmedoids", {"rounds": 6}),
        ("atc", {"linkage": "complete", "proportional": False}),
        ("atc", {"linkage": "single"}),
    ],
)
def test_options_against_the_same_loops(name: str, options: dict[str, Any]) -> None:
    method = partial(METHODS[name], **options)
    for seed in range(2):
        vit, images = model_of("class token", 20, seed=seed), images_of(20, seed=seed)
        compare(name, method, vit, images, "after:0,1", [14, 9], weights_of(20), **options)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("pitome", "margin", 1.5),
        ("pitome", "margin", "high"),
        ("mctf", "similarity", -1),
        ("mctf", "information", True),
        ("mctf", "size", float("nan")),
        ("gtp", "graph", "complete"),
        ("gtp", "neighbours", 0),
        ("gtp", "neighbours", 2.5),
        ("gtp", "alpha", -0.1),
        ("gtp", "alpha", float("inf")),
        ("dpcknn", "neighbours", 0),
        ("dpcknn", "weights", "random"),
        ("kmedoids", "rounds", -1),
        ("atc", "linkage", "ward"),
        ("atc", "proportional", "no"),
    ],
)
def test_options_out_of_range_are_named(name: str, option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^pruner '{name}': option {option}: found .*, must be [^\\n]*$"):
        create(name, **{option: value})


def learned(model: SparseViT) -> torch.nn.ModuleDict:
    return model.pruner.importance


def test_learned_weights_of_clusters() -> None:
    """exp(Linear x) weighs a token in the mean of its cluster, a layer per site; nothing else changes."""
    vit, images, schedule = model_of(), images_of(), Schedule.parse("before:0,2")
    model = SparseViT(vit, create("dpcknn", weights="learned"), schedule).double().eval()
    assert set(learned(model)) == {"0", "4"}
    trace = model.run(images, (0.5, 0.5), BatchInfo(index=torch.arange(2), seed=SEED))

    def method(image: reference.Image, keep: int) -> reference.Reduced:
        layer = learned(model)[str(2 * image.block)]
        weight, bias = layer.weight.detach().numpy()[0], layer.bias.item()
        return reference.dpcknn(image, keep, importance=lambda token: weight @ token + bias)

    logits, found = reference.forward(vit, images, "before", {0: 8, 2: 4}, method, None, SEED)
    np.testing.assert_allclose(trace.logits.detach().numpy(), logits, 1e-9, 1e-9)
    assert trace.states[1].owner.tolist() == [each.owner for each in found[1]]
    trace.logits.sum().backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in learned(model).values())


def test_learned_weights_of_clusters_learn() -> None:
    """One token of each image tells its class, others mislead: the layer learns which to weigh."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    tokens = 0.1 * torch.randn(200, 16, 12, generator=generator)
    marked = torch.arange(200) % 16
    tokens[torch.arange(200), marked, 0] += 1
    tokens[torch.arange(200), marked, 1] += 2.0 * labels - 1
    others = torch.randint(0, 2, (200, 16), generator=generator) * 2.0 - 1
    tokens[:, :, 1] += others.scatter(1, marked[:, None], 0.0)
    pruner = create("dpcknn", weights="learned")
    pruner.setup(SparseViT(model_of()).shape, (0,))
    torch.nn.init.zeros_(pruner.importance["0"].weight)
    state = TokenState(tokens, 0, torch.arange(16).expand(200, -1))
    signals = type("Drawn", (), {"site": 0, "uniform": lambda self: torch.zeros(200, 16)})()

    def accuracy_and_loss() -> tuple[float, torch.Tensor]:
        mean = pruner.reduce(state, 1, signals).patches[:, 0, 1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(4 * mean, labels.float())
        return ((mean > 0) == labels.bool()).float().mean().item(), loss

    before, _ = accuracy_and_loss()
    optimizer = torch.optim.Adam(pruner.parameters(), 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        accuracy_and_loss()[1].backward()
        optimizer.step()
    after, _ = accuracy_and_loss()
    assert before < 0.75
    assert after > 0.95


def state_of(tokens: torch.Tensor) -> TokenState:
    return TokenState(tokens, 0, torch.arange(tokens.shape[1]).expand(len(tokens), -1))


def test_mean_norms_are_the_largest_of_the_group_in_tofu() -> None:
    """Orthogonal unit vectors have a mean of norm 1 / sqrt 2; MLERP keeps 1, and three times it 3."""
    pruner = create("tofu")
    x = torch.tensor([[[1.0, 0], [0, 1]], [[3, 0], [0, 1]]])
    merged = pruner.join(state_of(x), torch.zeros(2, 2, dtype=torch.long), 1, None)
    torch.testing.assert_close(merged.patches[:, 0].norm(dim=1), torch.tensor([1.0, 3.0]))
    assert merged.weight.tolist() == [[2], [2]]


def test_coinciding_tokens_stay_finite() -> None:
    """All tokens alike, all zero, all but one alike: every count is left, and every number is finite."""
    vit = model_of(side=16)
    embed = SparseViT(vit).embed(images_of())
    alike = embed.tokens.clone()
    alike[:, 1:-1] = alike[:, 1:2]
    for tokens in (alike, torch.zeros_like(embed.tokens)):
        for name in [*METHODS, "tome", "evit"]:
            model = SparseViT(vit, create(name), Schedule.parse("before:0")).double().eval()
            for keep in (15, 8, 3, 1):
                info = BatchInfo(index=torch.arange(2))
                with torch.no_grad():
                    trace = model.complete(replace(embed, tokens=tokens), 0, [(0, keep)], info)
                assert trace.states[0].count == keep, name
                assert torch.isfinite(trace.logits).all(), name
                assert (trace.states[0].weights > 0).all(), name


@pytest.mark.parametrize("name", [*METHODS, "tome", "evit"])
def test_it_runs_in_half_precision_and_passes_gradients(name: str) -> None:
    vit, images = model_of().float(), images_of().float()
    model = SparseViT(vit, create(name), Schedule.parse("after:0,1")).train()
    with torch.autocast("cpu", torch.bfloat16):
        trace = model.run(images, 0.4, BatchInfo(index=torch.arange(2)))
    assert [state.count for state in trace.states] == [7, 3]
    trace.logits.float().square().sum().backward()
    gradient = vit.patch_embed.proj.weight.grad
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
