"""The closed form against torch's own counter, to the last FLOP, on the meta device (no arithmetic is done)."""

import pytest
import torch
from timm.models import VisionTransformer
from timm.models.deit import VisionTransformerDistilled
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from tokenprune.cost import Architecture, Passed, flops, measured
from tokenprune.models import BatchInfo, SparseViT, architecture_of, build, set_attention
from tokenprune.pruners import create
from tokenprune.pruners.base import Pruner, ScorePruner
from tokenprune.recipe import Model, Schedule

B = 2  # images counted at once
IMAGES = torch.empty(B, 3, 32, 32, device="meta")


def model(**keys) -> VisionTransformer:
    with torch.device("meta"):
        vit = build(Model(**{"depth": 4, "dim": 24, "heads": 3} | keys), classes=10, image_size=32)
    set_attention(vit, fused=False)  # autograd's kernels of the fused form are counted otherwise
    return vit.eval()


def distilled() -> VisionTransformer:
    with torch.device("meta"):
        vit = VisionTransformerDistilled(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
    return vit.eval()


def named(name: str) -> VisionTransformer:
    with torch.device("meta"):
        return build(Model(name=name), classes=7, image_size=224).eval()


@pytest.mark.parametrize(
    "make",
    [
        model,
        lambda: model(depth=1, dim=32, heads=2, mlp_ratio=2.0),
        lambda: model(patch_size=8, registers=4, class_token=False, qk_norm=True, layer_scale=0.1),
        distilled,
        lambda: named("vit_tiny_patch16_224"),
        lambda: named("vit_giant_patch14_reg4_dinov2"),
        lambda: named("vit_small_patch16_dinov3"),
        lambda: named("eva02_tiny_patch14_224"),
        lambda: named("vit_pe_core_tiny_patch16_384"),
        lambda: named("vit_base_patch16_siglip_224"),
        lambda: named("vit_tiny_r_s16_p8_224"),
    ],
    ids=[
        "plain",
        "depth 1",
        "registers",
        "distilled",
        "ViT-Ti",
        "gated MLP",
        "DINOv3",
        "EVA-02",
        "PE",
        "SigLIP",
        "hybrid",
    ],
)
def test_the_bare_model(make) -> None:
    vit = make()
    side = vit.patch_embed.img_size[0]
    with FlopCounterMode(display=False) as counter:
        vit(torch.empty(1, 3, side, side, device="meta"))
    assert flops(architecture_of(vit)).flops == counter.get_total_flops()


def test_the_published_number() -> None:
    """DeiT-Ti: 1.3 GFLOPs, DeiT-S: 4.6, in multiply-adds (Touvron et al., 2021; Rao et al., 2021, table 1)."""
    for name, giga in (("deit_tiny_patch16_224", 1.3), ("deit_small_patch16_224", 4.6)):
        assert round(flops(architecture_of(named(name))).flops / 2e9, 1) == giga


@pytest.mark.parametrize(
    "site", ["input", "input:mean", "input:rollout", "before:0", "after:0", "before:1,3", "after:1,2,3"]
)
@pytest.mark.parametrize("keys", [{}, {"qk_norm": True}, {"class_token": False, "registers": 2}])
def test_the_pruned_model_scores_included(site: str, keys: dict) -> None:
    vit = model(**keys)
    schedule, architecture = Schedule.parse(site), architecture_of(vit)
    info = BatchInfo(
        torch.empty(B, 64, device="meta"), torch.empty(B, dtype=torch.long, device="meta"),
        torch.arange(B, device="meta"), 0,
    )  # fmt: skip
    for pruner in ("magnitude", "random", "oracle"):
        sparse = SparseViT(vit, create(pruner), schedule)
        for keep in (1.0, 0.4):
            with FlopCounterMode(display=False) as counter:
                asked = sparse.run(IMAGES, keep, info).asked[0]
            cost = flops(architecture, schedule, keep, asked)
            assert cost.flops == counter.get_total_flops() // B
            if pruner == "magnitude":
                assert cost == flops(architecture, schedule, keep, ["attention"])
            else:
                assert cost.scoring == 0


class Products(TorchDispatchMode):
    """Torch's formulas without its hooks on modules, which do not bear autograd.grad."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        self.flops += formula(*args, **(kwargs or {}), out_val=out) if formula else 0
        return out


class Everything(ScorePruner):
    """Asks for every signal that costs products."""

    def score(self, state, signals):
        scores = signals.received_attention() + signals.class_attention() + signals.value_norms()
        scores = scores + signals.attention_by_head().sum(1) + signals.attention_maps()[:, 0, 0, state.prefix :]
        return scores + signals.keys().sum((1, 3)) + signals.values().sum((1, 3)) + signals.gradient_times_token()


class Pairs(Pruner):
    """Merges neighbours, whatever is asked: half of the tokens are left."""

    def reduce(self, state, keep, signals):
        signals.keys()
        pair = torch.arange(state.count, device=state.tokens.device) // 2
        return state.merge(pair.expand(len(state.tokens), -1), (state.count + 1) // 2)


def test_what_was_passed_is_counted_not_what_was_asked() -> None:
    vit, schedule = model(), Schedule.parse("after:0,2")
    with Products() as counter:
        trace = SparseViT(vit, Pairs(), schedule).run(IMAGES, 0.9)
    passed = [
        Passed(cursor, state.count, ("keys",)) for cursor, state in zip(schedule.cursors, trace.states, strict=True)
    ]
    assert [site.left for site in passed] == [32, 16]
    assert measured(architecture_of(vit), passed).flops == counter.flops // B


@pytest.mark.parametrize("site", ["input", "before:0", "before:2", "after:0", "after:3"])
def test_every_signal(site: str) -> None:
    vit, schedule = model(), Schedule.parse(site)
    info = BatchInfo(labels=torch.zeros(B, dtype=torch.long, device="meta"))
    with Products() as counter:
        asked = SparseViT(vit, Everything(), schedule).run(IMAGES, 0.5, info).asked[0]
    assert asked == (
        "attention_by_head",
        "attention_maps",
        "class_attention",
        "gradient_times_token",
        "keys",
        "received_attention",
        "value_norms",
        "values",
    )
    assert flops(architecture_of(vit), schedule, 0.5, asked).flops == counter.flops // B


def test_what_is_realised() -> None:
    """10 patches at keep .7 twice: 7, then 5; `before` tells at once, `after` from the MLP on."""
    sizes = Architecture(depth=3, dim=8, heads=2, mlp_hidden=32, patches=10, prefix=1, patch_size=4, classes=10)
    before = flops(sizes, Schedule("before", (0, 2)), 0.7)
    assert before.realised_mean == pytest.approx(19 / 30)
    after = flops(sizes, Schedule("after", (0, 2)), 0.7)
    assert after.realised_mean == pytest.approx(19 / 30)
    assert flops(sizes).realised_mean == 1


def test_a_cut_after_block_3_of_12_is_ideally_2_28_times_faster_at_a_quarter() -> None:
    """The speed-ups of docs and bench: 1.29, 1.61, 2.28 at keep .7, .5, .25 on 32 x 32 images in patches of 4."""
    sizes = Architecture(depth=12, dim=192, heads=3, mlp_hidden=768, patches=64, prefix=1, patch_size=4, classes=10)
    whole = flops(sizes).flops
    gains = [whole / flops(sizes, Schedule("before", (3,)), keep).flops for keep in (0.7, 0.5, 0.25)]
    assert gains == pytest.approx([1.29, 1.61, 2.28], abs=0.01)
