"""SparseViT against the bare timm model, against masking, and against what pruning must never change."""

from dataclasses import replace

import pytest
import timm
import torch
from model_zoo import CLASSES, NAMES, images, make
from reference_models import masked_forward
from timm.layers import DropPath
from timm.models import VisionTransformer
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock
from torch import nn

from tokenprune.errors import UsageError
from tokenprune.models import BatchInfo, SparseViT, set_attention
from tokenprune.pruners import create
from tokenprune.pruners.base import Pruner, TokenState
from tokenprune.recipe import Schedule, kept

T = 16  # patches of the zoo's images
SITES = ("input", "before:0", "after:0")


def info(count: int = 4, seed: int = 0, relevance: torch.Tensor | None = None) -> BatchInfo:
    return BatchInfo(relevance, torch.arange(count) % CLASSES, torch.arange(100, 100 + count), seed)


@pytest.mark.parametrize("name", NAMES)
def test_keep_ratio_one_equals_the_bare_model(name: str) -> None:
    vit, x = make(name), images()
    for site in (*SITES, f"before:{len(vit.blocks) - 1}", f"after:{len(vit.blocks) - 1}"):
        for pruner in ("magnitude", "random", "oracle"):
            model = SparseViT(vit, create(pruner), Schedule.parse(site))
            torch.testing.assert_close(model(x, 1.0, info()), vit(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(SparseViT(vit)(x), vit(x), atol=0, rtol=0)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", NAMES)
def test_gather_equals_masking(name: str, moment: str) -> None:
    vit, x = make(name), images()
    depth = len(vit.blocks)
    for blocks in {(0,), (depth - 1,), tuple(range(depth))}:
        counts = [k := T] and [k := kept(0.6, k) for _ in blocks]
        model = SparseViT(vit, create("magnitude"), Schedule(moment, blocks))
        trace = model.run(x, 0.6)
        logits, alive = masked_forward(vit, x, moment, blocks, counts)
        for state, mask in zip(trace.states, alive, strict=True):
            assert state.position.tolist() == [row.nonzero()[:, 0].tolist() for row in mask]
        torch.testing.assert_close(trace.logits, logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_after_the_last_attention_only_pooling_over_patches_reads_them(name: str) -> None:
    vit, x = make(name), images()
    model = SparseViT(vit, create("magnitude"), Schedule("after", (len(vit.blocks) - 1,)))
    assert torch.allclose(model(x, 0.5), vit(x), atol=1e-5) == model.class_pooled == (vit.global_pool == "token")


@pytest.mark.parametrize("name", ["plain", "average pooling, registers"])
def test_gather_equals_masking_for_scores_that_are_no_attention(name: str) -> None:
    vit, x = make(name), images()
    relevance = torch.rand(4, T, generator=torch.Generator().manual_seed(3))
    for moment in ("before", "after"):
        trace = SparseViT(vit, create("oracle"), Schedule(moment, (0, 2))).run(x, 0.5, info(relevance=relevance))
        logits, _ = masked_forward(vit, x, moment, (0, 2), [8, 4], relevance)
        torch.testing.assert_close(trace.logits, logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("pruner", ["magnitude", "random", "oracle"])
@pytest.mark.parametrize("site", [*SITES, "after:0,2"])
def test_batch_mates_change_nothing(pruner: str, site: str) -> None:
    x, index = images(6), torch.tensor([4, 0, 9, 2, 7, 5])
    model = SparseViT(make("plain"), create(pruner), Schedule.parse(site))
    together = model.run(x, 0.4, BatchInfo(labels=index % CLASSES, index=index))
    for i in range(6):
        alone = model.run(x[i : i + 1], 0.4, BatchInfo(labels=index[i : i + 1] % CLASSES, index=index[i : i + 1]))
        torch.testing.assert_close(alone.logits[0], together.logits[i], atol=1e-5, rtol=1e-5)
        assert torch.equal(alone.states[-1].position[0], together.states[-1].position[i])


@pytest.mark.parametrize("name", ["registers", "distilled", "average pooling, registers"])
def test_prefix_stays_and_patches_keep_their_order(name: str) -> None:
    vit, x = make(name), images()
    model = SparseViT(vit, create("random"), Schedule("before", (0,)))
    whole = model.embed(x)
    (state,) = model.run(x, 0.3, info()).states
    p = vit.num_prefix_tokens
    assert torch.equal(state.tokens[:, :p], whole.tokens[:, :p])
    assert (state.position.diff(dim=1) > 0).all()
    for i in range(len(x)):
        assert torch.equal(state.tokens[i, p:], whole.tokens[i, p:][state.position[i]])


def test_pruned_patches_get_exactly_no_gradient() -> None:
    x = images().requires_grad_()
    model = SparseViT(make("plain").train(), create("magnitude"))
    trace = model.run(x, 0.5)
    trace.logits.square().sum().backward()
    pixels = x.grad.abs().unfold(2, 4, 4).unfold(3, 4, 4).sum(dim=(1, 4, 5)).flatten(1)
    assert [row.nonzero()[:, 0].tolist() for row in pixels] == trace.states[0].position.tolist()


def test_a_split_at_any_cursor_is_the_same_model() -> None:
    model, x = SparseViT(make("LayerScale")), images()
    end = 2 * model.depth
    for cursor in range(end + 1):
        state = model.advance(model.advance(model.embed(x), 0, cursor), cursor, end)
        torch.testing.assert_close(model.head(state), model(x), atol=1e-6, rtol=1e-6)


def test_features_are_what_hooks_see() -> None:
    """Before each block, and at the end, what timm's own forward pass hands on."""
    vit, x, seen = make("registers"), images(), []
    for block in vit.blocks:
        block.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    vit(x)
    expected = [given for given, _ in seen] + [seen[-1][1]]
    for block, tokens in enumerate(expected):
        torch.testing.assert_close(SparseViT(vit).features(x, 2 * block), tokens, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("skip", [(2,), (3,), (0, 1), (1, 4, 5)])
@pytest.mark.parametrize("name", ["LayerScale", "QK-norm", "average pooling"])
def test_a_half_block_that_is_skipped_adds_nothing(name: str, skip: tuple[int, ...]) -> None:
    """The same as a model whose output projection there is zero."""
    x, vit = images(), make(name)
    model, end = SparseViT(vit), 2 * len(vit.blocks)
    found = model.head(model.advance(model.embed(x), 0, end, skip))
    half = model.advance(model.embed(x), 0, 3, skip)
    with torch.no_grad():
        for cursor in skip:
            block = vit.blocks[cursor // 2]
            for parameter in (block.mlp.fc2 if cursor % 2 else block.attn.proj).parameters():
                parameter.zero_()
    torch.testing.assert_close(found, vit(x), atol=1e-6, rtol=1e-6)
    without = model.advance(model.embed(x), 0, 3)
    torch.testing.assert_close(half.tokens, without.tokens, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(half.entered, without.entered, atol=1e-6, rtol=1e-6)


def test_one_ranking_serves_all_ratios() -> None:
    from tokenprune.pruners.base import select

    model, x = SparseViT(make("plain"), create("magnitude"), Schedule("after", (1,))), images()
    state = model.advance(model.embed(x), 0, 3)
    score = model.score_at(state, 3)
    for keep in (1, 5, 16):
        assert torch.equal(select(state, score, keep).tokens, model.reduce_at(state, 3, keep).tokens)


def _from(model: SparseViT, state: TokenState, cursor: int) -> torch.Tensor:
    return model.head(model.advance(state, cursor, 2 * model.depth))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_weights_of_tokens(name: str, fused: bool) -> None:
    """1 everywhere changes nothing, 0 is absence, 2 is the same token twice (the softmax of two equal logits)."""
    vit, x = make(name), images()
    set_attention(vit, fused)
    model = SparseViT(vit)
    for cursor in range(2 * model.depth):
        state = model.advance(model.embed(x), 0, cursor)
        ones = torch.ones(4, T)
        torch.testing.assert_close(
            _from(model, replace(state, weight=ones), cursor), _from(model, state, cursor), atol=1e-5, rtol=1e-5
        )
        stay = torch.tensor([[0, 2, 3, 7], [1, 2, 3, 4], [0, 5, 10, 15], [12, 13, 14, 15]])
        absent = replace(state, weight=torch.zeros(4, T).scatter(1, stay, 1.0))
        left = _from(model, state.take(stay), cursor)
        torch.testing.assert_close(_from(model, absent, cursor), left, atol=1e-5, rtol=1e-5)
        twice = torch.cat([torch.arange(T), torch.tensor([3, 11])]).expand(4, T + 2)
        double = replace(state, weight=ones.index_fill(1, torch.tensor([3, 11]), 2.0))
        torch.testing.assert_close(
            _from(model, double, cursor), _from(model, _with_twins(state, twice), cursor), atol=1e-5, rtol=1e-5
        )


def _with_twins(state: TokenState, index: torch.Tensor) -> TokenState:
    """The patch tokens at `index`, some of them twice, each with its own rotary code."""
    taken = state.take(index.expand(4, -1))
    if state.rotary is None:
        return taken
    patches = torch.arange(index.shape[1]).expand(4, -1)  # as if the twins were patches of a larger image
    first = state.rotary.shape[-2] - T  # rows of prefix tokens in a table of positional attention
    rows = torch.cat([torch.arange(first), first + index[0]])
    return replace(taken, whole=True, owner=patches, rotary=state.rotary[..., rows, :])


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_a_token_of_weight_two_are_those_of_two_tokens(name: str) -> None:
    vit, x = make(name), images()
    model = SparseViT(vit)
    for cursor in range(2 * model.depth):
        state = model.embed(x)
        twin = model.advance(_with_twins(state, torch.cat([torch.arange(T), torch.tensor([5])])[None]), 0, cursor)
        one = model.advance(replace(state, weight=torch.ones(4, T).index_fill(1, torch.tensor([5]), 2.0)), 0, cursor)
        for signal in ("attention", "received_attention"):
            apart = getattr(model.signals(twin, cursor), signal)()
            together = getattr(model.signals(one, cursor), signal)()
            apart = apart[:, :T].index_add(1, torch.tensor([5]), apart[:, T:])
            torch.testing.assert_close(together, apart, atol=1e-6, rtol=1e-5)


def test_a_soft_gate_learns_and_padding_does_not_spoil_it() -> None:
    gate = torch.tensor([[1.0, 0.5, 0.0, 1e-6] + [1.0] * 12]).requires_grad_()
    model, x = SparseViT(make("average pooling")), images(1)
    _from(model, replace(model.embed(x), weight=gate), 0).square().sum().backward()
    assert gate.grad is not None
    assert gate.grad.isfinite().all()
    assert (gate.grad[0, [0, 1, 3]] != 0).all()


def test_unequal_weights_are_pooled_by_average_alone() -> None:
    vit = make("average pooling")
    vit.global_pool = "max"
    model = SparseViT(vit)
    with pytest.raises(ValueError, match="pooled by average or attention, not by 'max'"):
        model.head(replace(model.embed(images()), weight=torch.ones(4, T)))


def test_patch_dropout_in_training_knows_what_it_dropped() -> None:
    vit = VisionTransformer(img_size=16, patch_size=4, embed_dim=8, depth=1, num_heads=2, patch_drop_rate=0.5)
    model, x = SparseViT(vit, create("magnitude")), images()
    whole, state = model.eval().embed(x), model.train().embed(x)
    assert state.count == 8
    for i in range(len(x)):
        assert torch.equal(state.tokens[i, 1:], whole.tokens[i, 1:][state.position[i]])


@pytest.mark.parametrize("site", ["before:1", "after:1", "input"])
def test_inference_mode_and_bf16_autocast(site: str) -> None:
    """bf16 moves logits a little, not the shape of what is done; the gradient works where autograd is switched off."""
    x = images()
    for pruner in ("magnitude", "oracle"):
        model = SparseViT(make("plain"), create(pruner), Schedule.parse(site))
        exact = model.run(x, 0.5, info())
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            model(x)  # fills autocast's cache of weights
            trace = model.run(x, 0.5, info())
        assert trace.states[0].count == 8
        overlap = sum(
            len(set(a) & set(b))
            for a, b in zip(trace.states[0].position.tolist(), exact.states[0].position.tolist(), strict=True)
        )
        assert overlap >= 0.9 * 4 * 8
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("site", ["before:1", "after:0,1", "input"])
def test_compiles_in_one_graph(site: str) -> None:
    torch._dynamo.reset()
    model, x = SparseViT(make("plain"), create("magnitude"), Schedule.parse(site)), images()
    compiled = torch.compile(model.run, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, 0.5).logits, model(x, 0.5), atol=1e-5, rtol=1e-5)


def test_plain_and_fused_attention_agree() -> None:
    vit, x = make("QK-norm"), images()
    set_attention(vit, fused=False)
    plain = vit(x)
    set_attention(vit, fused=True)
    torch.testing.assert_close(plain, vit(x), atol=1e-5, rtol=1e-5)


def test_a_ratio_without_a_pruner_is_refused() -> None:
    with pytest.raises(ValueError, match="without"):
        SparseViT(make("plain"))(images(), 0.5)


def test_a_site_beyond_the_depth_is_refused() -> None:
    with pytest.raises(UsageError, match="block 3 is beyond the model's depth 3"):
        SparseViT(make("plain"), create("magnitude"), Schedule("before", (3,)))


def test_a_pruner_that_does_not_rank_has_no_scores() -> None:
    class Half(Pruner):
        def reduce(self, state: TokenState, keep: int, signals: object) -> TokenState:
            return state

    model = SparseViT(make("plain"), Half())
    with pytest.raises(TypeError, match="Half does not rank tokens"):
        model.score_at(model.embed(images()), 0)


_SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}


class Stem(timm.layers.PatchEmbed):
    pass


class Custom(VisionTransformer):
    pass


class Watched(timm.layers.Attention):
    pass


def pooled_by_position() -> VisionTransformer:
    vit = VisionTransformer(**_SMALL, global_pool="map", class_token=False)
    vit.attn_pool.pos_embed = torch.nn.Parameter(torch.zeros(16, 16))
    return vit


@pytest.mark.parametrize(
    ("make_model", "named"),
    [
        (lambda: timm.create_model("vit_relpos_small_patch16_224"), "VisionTransformerRelPos"),
        (lambda: Eva(**_SMALL, use_post_norm=True), "EvaBlockPostNorm"),
        (lambda: timm.create_model("resnet18"), "ResNet"),
        (lambda: Custom(**_SMALL), "Custom"),
        (pooled_by_position, "attention pooling has position embeddings"),
        (lambda: VisionTransformer(**_SMALL, block_fn=ResPostBlock), "ResPostBlock"),
        (lambda: VisionTransformer(**_SMALL, block_fn=ParallelScalingBlock), "ParallelScalingBlock"),
        (lambda: VisionTransformer(**_SMALL, attn_layer=Watched), "Watched"),
        (lambda: VisionTransformer(**_SMALL, embed_layer=Stem), "Stem"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_models_it_cannot_run_faithfully_are_refused_by_name(make_model, named: str) -> None:
    with torch.device("meta"):
        model = make_model()
    with pytest.raises(UsageError, match=named):
        SparseViT(model)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pruned", [False, True])
def test_in_training_the_last_block_is_spared_what_nothing_reads(name: str, pruned: bool) -> None:
    """Logits and gradients are those of all tokens (compared without dropout, which draws otherwise)."""
    info = BatchInfo(index=torch.arange(4))
    found = {}
    for whole in (False, True):
        torch.manual_seed(0)
        vit = make(name).double()
        for module in vit.modules():
            if isinstance(module, nn.Dropout | DropPath):
                module.train(False)
                module.p = module.drop_prob = 0.0
        model = SparseViT(vit, create("tome") if pruned else None, Schedule.parse("before:0"))
        vit.training = True
        if whole:
            model._through = lambda state, cursor, whole, model=model: model.advance(state, cursor, 2 * model.depth)
        trace = model.run(images().double(), 0.5 if pruned else 1.0, info)
        logits = trace.logits
        (logits * torch.arange(1, 6)).square().sum().backward()
        found[whole] = logits, {key: value.grad for key, value in vit.named_parameters()}
        spared = model.class_pooled and not name.startswith(("rotary", "positional", "local"))
        assert whole or not spared or trace.features.shape[1] == model.prefix
    torch.testing.assert_close(found[False][0], found[True][0], rtol=1e-9, atol=1e-9)
    for key, grad in found[True][1].items():
        other = found[False][1][key]
        torch.testing.assert_close(torch.zeros_like(grad) if other is None else other, grad, rtol=1e-8, atol=1e-8)
