"""Floors and rankings against slow re-implementations that delete tokens one by one."""

import math
from dataclasses import replace

import pytest
import reference_ranking as reference
import torch
from model_zoo import images, make
from timm.layers import PatchDropout

from tokenprune.errors import UsageError
from tokenprune.models import SparseViT, build
from tokenprune.pruners import create
from tokenprune.pruners.base import Shape, TokenState
from tokenprune.pruners.methods.downsample import coarser, shares
from tokenprune.recipe import Model, Schedule

COUNT = 3
METHODS = (
    "downsample", "l1", "l2", "linf", "topk_value", "norm", "divprune", "vispruner", "zero_tprune", "frequency",
)  # fmt: skip
#: Tokens that enter the site, of 16, and how many stay.
SIZES = [(16, 1), (16, 15), (16, 8), (15, 7), (15, 14), (11, 4), (2, 1)]


def model(method: str, name: str = "plain", site: str = "after:1", **options) -> SparseViT:
    torch.manual_seed(0)
    return SparseViT(make(name), create(method, **options), Schedule.parse(site)).double().eval()


def entering(sparse: SparseViT, tokens: int = 16, seed: int = 0, weighed: bool = False) -> TokenState:
    """At the first site: some of the tokens, merged from more if weighed."""
    generator = torch.Generator().manual_seed(seed)
    state = sparse.embed(images(COUNT, seed=seed + 1).double())
    if weighed:
        into = torch.stack([torch.randperm(16, generator=generator) % tokens for _ in range(COUNT)])
        state = state.merge(into, tokens)
    else:
        index = torch.rand(COUNT, 16, generator=generator).argsort(1)[:, :tokens].sort(1).values
        state = state.take(index)
    return sparse.advance(state, 0, sparse.schedule.cursors[0])


@torch.no_grad()
def reduced(sparse: SparseViT, state: TokenState, keep: int) -> TokenState:
    return sparse.reduce_at(state, sparse.schedule.cursors[0], keep)


@torch.no_grad()
def raw(sparse: SparseViT, state: TokenState) -> dict:
    """Signals of the site's block, by hand."""
    block = sparse.vit.blocks[sparse.schedule.cursors[0] // 2]
    x = state.tokens if state.entered is None else state.entered
    return reference.signals(block, x, state.prefix, state.weight)


def homes(state: TokenState, i: int) -> list[list[int]]:
    return [[t for t, j in enumerate(state.owner[i].tolist()) if j == token] for token in range(state.count)]


def check(found: TokenState, state: TokenState, kept: list[list[int]]) -> None:
    """The tokens at `kept` and nothing else, with all that belongs to them."""
    assert torch.equal(found.tokens[:, : state.prefix], state.tokens[:, : state.prefix])
    for i, index in enumerate(kept):
        assert torch.equal(found.patches[i], state.patches[i, index])
        assert homes(found, i) == [homes(state, i)[j] for j in index]
        if state.weight is not None:
            assert found.weight is not None
            assert torch.equal(found.weight[i], state.weight[i, index])


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize(("tokens", "keep"), SIZES)
@pytest.mark.parametrize(("method", "order"), [("l1", 1), ("l2", 2), ("linf", math.inf)])
def test_fixed_patterns(method: str, order: float, tokens: int, keep: int, weighed: bool) -> None:
    sparse = model(method)
    state = entering(sparse, tokens, weighed=weighed)
    kept = [reference.central((4, 4), order, homes(state, i), keep) for i in range(COUNT)]
    check(reduced(sparse, state, keep), state, kept)


def test_fixed_patterns_are_a_diamond_a_disc_and_a_square() -> None:
    """Drawn on a grid of 5 x 7 patches, of which 13, 21 and 9 stay."""
    state = TokenState(torch.zeros(1, 35, 1), 0, torch.arange(35)[None])
    pictures = {}
    for method, keep in (("l1", 13), ("l2", 21), ("linf", 9)):
        pruner = create(method)
        pruner.setup(Shape(depth=1, dim=1, heads=1, grid=(5, 7), prefix=0, class_token=False, classes=2, mlp=8), (0,))
        kept = set(pruner.reduce(state, keep, None).position[0].tolist())
        pictures[method] = ["".join(".#"[7 * r + c in kept] for c in range(7)) for r in range(5)]
    assert pictures["l1"] == ["...#...", "..###..", ".#####.", "..###..", "...#..."]
    assert pictures["l2"] == ["..###..", ".#####.", ".#####.", ".#####.", "..###.."]
    assert pictures["linf"] == [".......", "..###..", "..###..", "..###..", "......."]


@pytest.mark.parametrize("name", ["registers", "average pooling", "QK-norm"])
@pytest.mark.parametrize(("tokens", "keep"), SIZES)
@pytest.mark.parametrize("site", ["before:1", "after:1"])
def test_scores(site: str, tokens: int, keep: int, name: str) -> None:
    for method in ("norm", "topk_value"):
        sparse = model(method, name, site)
        state = entering(sparse, tokens)
        signals = raw(sparse, state)
        attention = signals["received" if name == "average pooling" else "class"]
        norms = (signals["values"] ** 2).sum(3) ** 0.5
        scores = {"norm": (state.patches**2).sum(2).detach().numpy(), "topk_value": attention * norms.mean(1)}
        check(reduced(sparse, state, keep), state, [reference.largest(row, keep) for row in scores[method]])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("tokens", "keep"), SIZES)
def test_divprune(tokens: int, keep: int, seed: int) -> None:
    sparse = model("divprune")
    for weighed in (False, True):
        state = entering(sparse, tokens, seed, weighed)
        kept = [reference.divprune(x, keep) for x in state.patches.detach().numpy()]
        check(reduced(sparse, state, keep), state, kept)


def test_divprune_takes_copies_when_nothing_else_is_left() -> None:
    """Four different tokens, four times each: first all four stay, then copies, none twice."""
    sparse = model("divprune")
    state = entering(sparse)
    state = replace(state, tokens=torch.cat([state.tokens[:, :1], state.patches[:, :4].repeat(1, 4, 1)], dim=1))
    for keep in (4, 5, 9, 15):
        for row in reduced(sparse, state, keep).position.tolist():
            assert len(set(row)) == keep
            assert {patch % 4 for patch in row} == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["plain", "average pooling"])
@pytest.mark.parametrize(
    "options", [{}, {"each": 2}, {"important": 0, "each": 3}, {"important": 1}, {"important": 0.7}]
)
@pytest.mark.parametrize(("tokens", "keep"), SIZES)
def test_vispruner(tokens: int, keep: int, options: dict, name: str) -> None:
    sparse = model("vispruner", name, "before:1", **options)
    state = entering(sparse, tokens)
    attention = raw(sparse, state)["received" if name == "average pooling" else "class"]
    x = state.patches.detach().numpy()
    check(
        reduced(sparse, state, keep),
        state,
        [reference.vispruner(x[i], attention[i], keep, **options) for i in range(COUNT)],
    )


@pytest.mark.parametrize(
    ("name", "similar"), [("plain", 0.5), ("plain", 0.3), ("registers", 0), ("average pooling, registers", 1)]
)
@pytest.mark.parametrize(("tokens", "keep"), SIZES)
@pytest.mark.parametrize(("site", "rounds"), [("before:0", 30), ("before:1", 5), ("after:1", 5), ("before:2", 1)])
def test_zero_tprune(site: str, rounds: int, tokens: int, keep: int, similar: float, name: str) -> None:
    sparse = model("zero_tprune", name, site, similar=similar)
    state = entering(sparse, tokens, seed=tokens)
    signals, kept = raw(sparse, state), []
    for maps, keys in zip(signals["maps"], signals["keys"], strict=True):
        by = (state.prefix, sparse.shape.class_token, rounds)
        kept.append(reference.zero_tprune(maps, keys, keep, *by, similar=similar))
    check(reduced(sparse, state, keep), state, kept)


def test_zero_tprunes_head_filter_changes_what_stays() -> None:
    """Ranges that leave in both heads, the one, the other, and none, which is as good as both."""
    answers = []
    for low, high in ((0, 100), (0, 0.8), (0.8, 100), (50, 60)):
        sparse = model("zero_tprune", variance=[low, high], rounds=[7, 4, 2])
        state = entering(sparse)
        signals, kept = raw(sparse, state), []
        for maps, keys in zip(signals["maps"], signals["keys"], strict=True):
            kept.append(reference.zero_tprune(maps, keys, 6, 1, True, 4, (low, high)))
        check(reduced(sparse, state, 6), state, kept)
        answers.append(kept)
    assert answers[0] == answers[3]
    assert answers[0] != answers[1] != answers[2] != answers[0]


@pytest.mark.parametrize(
    ("name", "windows"), [("plain", [1]), ("average pooling", [2, 1]), ("plain", [3]), ("plain", [4])]
)
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize(("tokens", "keep"), [*SIZES, (16, 4), (16, 5), (13, 12)])
def test_frequency(tokens: int, keep: int, windows: list[int], weighed: bool, name: str) -> None:
    sparse = model("frequency", name, windows=windows)
    state = entering(sparse, tokens, seed=keep, weighed=weighed)
    found = reduced(sparse, state, keep)
    frequency_is(found, state, raw(sparse, state), windows[0], keep)


def frequency_is(found: TokenState, state: TokenState, signals: dict, side: int, keep: int) -> None:
    held = state.carried.get("frequency", torch.zeros_like(state.weights))
    for i in range(COUNT):
        weight, mean_of = state.weights[i].tolist(), held[i].tolist()
        stay, windows = reference.frequency(
            signals["maps"][i], state.prefix, weight, mean_of, homes(state, i), (4, 4), side, keep
        )
        size = [mean_of[j] or weight[j] for j in range(state.count)]
        means = [sum(size[j] * state.patches[i, j] for j in each) / sum(size[j] for j in each) for each in windows]
        expected = torch.stack([*state.patches[i, stay], *means])
        torch.testing.assert_close(found.patches[i], expected, atol=1e-12, rtol=0)
        before = homes(state, i)
        assert homes(found, i) == [
            *(before[j] for j in stay), *(sorted(t for j in each for t in before[j]) for each in windows)
        ]  # fmt: skip
        counts = [*(mean_of[j] for j in stay), *(sum(size[j] for j in each) for each in windows)]
        assert found.carried["frequency"][i].tolist() == pytest.approx(counts)
        if state.weight is not None:
            assert found.weight is not None
            assert found.weight[i].tolist() == [*(weight[j] for j in stay), *(1.0 for _ in windows)]
    assert (found.weight is None) == (state.weight is None)


@pytest.mark.parametrize("later", [1, 2])
def test_frequency_at_a_second_site_takes_dc_tokens_into_dc_tokens(later: int) -> None:
    sparse = model("frequency", site="after:0,1", windows=[2, later])
    state = sparse.advance(sparse.embed(images(COUNT).double()), 0, 1)
    with torch.no_grad():
        first = sparse.reduce_at(state, 1, 10)
        for keep in (9, 7, 3, 1):
            state = sparse.advance(first, 1, 3)
            signals = reference.signals(sparse.vit.blocks[1], state.entered, state.prefix)
            second = sparse.reduce_at(state, 3, keep)
            frequency_is(second, state, signals, later, keep)
            assert second.alive.all()
            if keep < 9:
                assert (second.carried["frequency"] > 0).sum(1).tolist() == [later**2 if later**2 < keep else 1] * COUNT


def test_the_area_that_a_coarser_grid_covers() -> None:
    """As documented for 8 x 8 patches; where it divides the grid, plain average pooling."""
    left = {most: coarser((8, 8), most) for most in (58, 45, 32, 20, 16, 7, 2, 1)}
    assert list(left.values()) == [(7, 8), (6, 7), (5, 6), (4, 5), (4, 4), (2, 3), (1, 2), (1, 1)]
    x = torch.randn(1, 3, 8, 12, dtype=torch.float64)
    pool = torch.kron(shares(8, 4, x), shares(12, 3, x))
    expected = torch.nn.functional.avg_pool2d(x, (2, 4)).flatten(2)
    torch.testing.assert_close((pool @ x.flatten(2).mT).mT, expected)
    assert torch.equal(shares(3, 2, x) * 3, torch.tensor([[2.0, 1, 0], [0, 1, 2]], dtype=torch.float64))


@pytest.mark.parametrize("grid", [(4, 4), (8, 8), (7, 7), (3, 8), (10, 4), (1, 6), (2, 13)])
def test_a_coarser_grid_is_the_best_of_all_and_known_by_its_number_of_cells(grid: tuple[int, int]) -> None:
    for most in range(1, grid[0] * grid[1] + 1):
        found = coarser(grid, most)
        assert found == reference.coarser(grid, most)
        assert coarser(grid, found[0] * found[1]) == found
    assert coarser(grid, grid[0] * grid[1]) == grid


@pytest.mark.parametrize("keep", [15, 12, 9, 8, 5, 3, 2, 1])
@pytest.mark.parametrize("name", ["plain", "average pooling, registers"])
def test_downsample(name: str, keep: int) -> None:
    """At two sites: the second pools what the first left."""
    sparse = model("downsample", name, "before:1,2")
    state = entering(sparse)
    grid = (4, 4)
    for site, most in ((2, keep), (4, max(1, keep // 2))):
        with torch.no_grad():
            state = sparse.advance(state, 2, site)
            found = sparse.reduce_at(state, site, min(most, state.count))
        after = reference.coarser((4, 4), most)
        if grid == after:
            assert found is state
            continue
        for i in range(COUNT):
            expected = torch.from_numpy(reference.downsample(state.patches[i].detach().numpy(), grid, after))
            torch.testing.assert_close(found.patches[i], expected, atol=1e-12, rtol=0)
            assert found.owner[i].tolist() == reference.cells((4, 4), after)
        assert torch.equal(found.tokens[:, : state.prefix], state.tokens[:, : state.prefix])
        assert found.weight is None
        assert all(homes(found, 0))
        state, grid = found, after


def test_downsample_of_a_grid_that_is_no_square() -> None:
    vit = build(Model(depth=1, dim=12, heads=3, patch_size=4), 3, 16)
    pruner = create("downsample")
    pruner.setup(Shape(depth=1, dim=12, heads=3, grid=(3, 8), prefix=1, class_token=True, classes=3, mlp=8), (0,))
    tokens = torch.randn(2, 25, 12, dtype=torch.float64)
    state = TokenState(tokens, 1, torch.arange(24).expand(2, 24), weight=torch.ones(2, 24))
    signals = SparseViT(vit).signals(state, 0)
    for keep in range(1, 24):
        found, after = pruner.reduce(state, keep, signals), reference.coarser((3, 8), keep)
        for i in range(2):
            expected = torch.from_numpy(reference.downsample(tokens[i, 1:].numpy(), (3, 8), after))
            torch.testing.assert_close(found.patches[i], expected, atol=1e-12, rtol=0)
        assert found.owner[0].tolist() == reference.cells((3, 8), after)
        assert set(found.owner[0].tolist()) == set(range(after[0] * after[1]))
        assert found.weight is None
    gone = replace(state, owner=state.owner.masked_fill(state.owner < 2, -1))
    assert pruner.reduce(gone, 6, signals).owner[0].tolist()[:2] == [-1, -1]


def test_downsample_needs_all_patches() -> None:
    sparse = model("downsample").train()
    for share in (0.5, 0.3):
        sparse.vit.patch_drop = PatchDropout(share, num_prefix_tokens=1)
        with pytest.raises(UsageError, match=r"pruner 'downsample': \d+ tokens are not the image's 16"):
            sparse.run(images().double(), 0.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_training_reaches_the_patch_embedding_in_either_precision(method: str, precision: torch.dtype) -> None:
    sparse = model(method, site="before:1,2").float().train()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        trace = sparse.run(images(), 0.5)
    trace.logits.float().square().sum().backward()
    gradient = sparse.vit.patch_embed.proj.weight.grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
    assert {state.tokens.dtype for state in trace.states} == {torch.float32}


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("vispruner", {"important": 1.5}, "option important: found 1.5, must be a number, at least 0, at most 1"),
        ("vispruner", {"important": "half"}, "option important: found 'half', must be a number"),
        ("vispruner", {"each": 0}, "option each: found 0, must be a whole number, at least 1"),
        ("zero_tprune", {"rounds": 5}, "option rounds: found 5, must be a list of 3"),
        ("zero_tprune", {"rounds": [5, 5]}, r"option rounds: found \[5, 5\], must be a list of 3"),
        ("zero_tprune", {"rounds": [5, 5, 0]}, "option rounds: found 0, must be a whole number, at least 1"),
        ("zero_tprune", {"variance": [0.7, 0.01]}, "option variance: found 0.01, must be a number, at least 0.7"),
        ("zero_tprune", {"variance": [-1, 1]}, "option variance: found -1, must be a number, at least 0"),
        ("zero_tprune", {"similar": -0.1}, "option similar: found -0.1, must be a number, at least 0, at most 1"),
        ("frequency", {"windows": 2}, "option windows: found 2, must be a list of at least 1"),
        ("frequency", {"windows": []}, r"option windows: found \[\], must be a list of at least 1"),
        ("frequency", {"windows": [2, True]}, "option windows: found True, must be a whole number, at least 1"),
    ],
)
def test_options_out_of_range(method: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=f"^pruner '{method}': {message}"):
        create(method, **options)
