"""Convolutional networks with attention: against plain loops, the order of the paper, and what they are refused."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tokenprune import cost, pipeline
from tokenprune.errors import UsageError
from tokenprune.models import architecture_of, build, runnable, set_attention
from tokenprune.models.alternet import AlterNet, AttentionBlock, ConvBlock, attention_places
from tokenprune.pruners import create
from tokenprune.recipe import Evaluate, Loaded, Model, RecipeError, parse_recipe, read_resolved

SMALL = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 60, test_size: 40, noise: 0.2}}
model: {stages: [1, 2, 3], depth: 6, dim: 8, heads: 2, attentions: 2, kernel: 2, class_token: false, patch_size: 2}
train: {epochs: 2, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
evaluate: {batch_size: 25}
"""


def shaken(module: nn.Module) -> nn.Module:
    """In eval mode, parameters and statistics far from their first values."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in (*module.parameters(), *module.buffers()):
            if value.is_floating_point():
                value.add_(0.3 * torch.rand(value.shape))
    return module.eval()


def normal(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    mean, scale = norm.running_mean[:, None, None], (norm.running_var[:, None, None] + norm.eps).sqrt()
    return (x - mean) / scale * norm.weight[:, None, None] + norm.bias[:, None, None]


def test_a_convolution_block_is_a_pre_activation_bottleneck() -> None:
    block, x = shaken(ConvBlock(6, 4, 2, 0.0)), torch.randn(2, 6, 8, 8)
    first = normal(block.norm1, x).relu()
    inner = F.conv2d(normal(block.norm2, F.conv2d(first, block.conv1.weight)).relu(), block.conv2.weight, None, 2, 1)
    expected = F.conv2d(first, block.shortcut.weight, None, 2)
    torch.testing.assert_close(block(x, skip=True), expected)
    expected = expected + F.conv2d(normal(block.norm3, inner).relu(), block.conv3.weight)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("fused", [False, True])
def test_attention_sees_its_window_and_knows_relative_places(fused: bool) -> None:
    block, x = shaken(AttentionBlock(6, 3, 4, 0.0)), torch.randn(2, 24, 8, 8)
    block.fused_attn = fused
    inner = normal(block.norm2, F.conv2d(F.gelu(normal(block.norm1, x)), block.conv1.weight))
    q, k, v = F.linear(inner.permute(0, 2, 3, 1), block.qkv.weight).chunk(3, dim=-1)
    mixed = torch.zeros_like(q)
    places = [(row, column) for row in range(8) for column in range(8)]
    for row, column in places:
        window = [(a, b) for a, b in places if (a // 4, b // 4) == (row // 4, column // 4)]
        for head in range(3):
            part = slice(2 * head, 2 * head + 2)
            logits = torch.stack(
                [
                    (q[:, row, column, part] * k[:, a, b, part]).sum(1) / 2**0.5
                    + block.bias[(row - a + 3) * 7 + column - b + 3]
                    for a, b in window
                ],
                dim=1,
            )
            for share, (a, b) in zip(logits.softmax(dim=1).unbind(1), window, strict=True):
                mixed[:, row, column, part] += share[:, None] * v[:, a, b, part]
    expected = x + block.proj(mixed).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(block(x, skip=True), x)


def test_attention_replaces_convolutions_in_the_papers_order() -> None:
    """Park & Kim 2022, section 4: Conv x3 | Conv x3, MSA | Conv x5, MSA | Conv, MSA, Conv, MSA."""
    vit = build(
        Model(stages=(3, 4, 6, 4), depth=17, dim=8, heads=1, attentions=4, class_token=False, patch_size=1), 7, 32
    )
    drawn = "".join("A" if block.kind == "attention" else "C" for block in vit.blocks)
    assert drawn == "CCC" + "CCCA" + "CCCCCA" + "CACA"
    assert attention_places((3, 4, 6, 4), 4) == [16, 14, 12, 6]
    assert [block.conv3.weight.shape[0] for block in vit.blocks if block.kind == "convolution"][-1] == 4 * 64


def test_its_flops_are_torchs_and_its_pieces_the_whole() -> None:
    recipe = parse_recipe(SMALL, "small")
    vit = shaken(build(recipe.model, 3, 16))
    model, x = runnable(vit), torch.randn(2, 3, 16, 16)
    with FlopCounterMode(display=False) as counter:
        expected = vit(x)
    assert 2 * cost.flops(architecture_of(vit)).flops == counter.get_total_flops()
    torch.testing.assert_close(model.run(x).logits, expected)
    torch.testing.assert_close(model.head(model.advance(model.advance(model.embed(x), 0, 3), 3, 6)), expected)
    torch.testing.assert_close(model.head(model.advance(model.embed(x), 0, 6, skip={5})), _without(vit, x, 5))
    set_attention(vit, fused=True)
    torch.testing.assert_close(model.run(x).logits, expected)
    assert model.parts == ("stem", *["convolution"] * 2, "attention", *["convolution"] * 2, "attention")


def _without(vit: AlterNet, x: torch.Tensor, place: int) -> torch.Tensor:
    maps = vit.patch_embed(x)
    for i, block in enumerate(vit.blocks):
        maps = maps if i == place else block(maps)
    return vit.forward_head(maps)


def test_it_trains_goes_on_and_is_measured(tmp_path: Path) -> None:
    recipe = parse_recipe(SMALL, "small")
    loaded = Loaded(recipe, "small", SMALL, [])
    run = pipeline.train_run(loaded, runs_dir=tmp_path)
    result = run.result()
    assert (result.model.name, result.model.depth, result.model.prefix) == ("alternet", 6, 0)
    assert run.epochs()[-1].attention_on_relevant is None  # no attention of all tokens to all
    measured = {
        name: dict(pipeline.measure_run(run, name, options=options)[1].arrays)
        for name, options in {
            "fourier": {"images": 20},
            "variance": {"images": 20},
            "rank": {"images": 20},
            "lesion": {"images": 20},
            "frequency-noise": {"images": 20},
            "hessian": {"images": 20, "batch": 10, "top": 2, "steps": 20},
            "landscape": {"images": 20, "size": 2},
        }.items()
    }
    fourier = measured["fourier"]["log amplitude"]
    assert fourier.labels["frequency"]["frequency, pi"] == (0.0, 1.0)  # the last maps are 2 x 2
    assert fourier.labels["half-block"]["after"][3] == "attention"
    assert measured["lesion"]["accuracy"].labels["lesion"]["without"][3] == "attention of block 2"
    assert len(measured["lesion"]["accuracy"].values[0]) == 7
    with pytest.raises(UsageError, match="cannot prune AlterNet"):
        pipeline.prune_run(run, Evaluate(methods=("magnitude",)))
    with pytest.raises(UsageError, match="cannot prune AlterNet"):
        pipeline.measure_run(run, "fourier", options={"methods": "magnitude"})
    with pytest.raises(UsageError, match="not for a convolutional network"):
        pipeline.measure_run(run, "attention")
    with pytest.raises(UsageError, match="no tokens to prune, nor heads on them"):
        pipeline.measure_run(run, "heads")
    assert read_resolved(run.resolved).model.stages == (1, 2, 3)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("stages: [2, 2], depth: 5, class_token: false", r"depth: stages \[2, 2\] make 4, not 5"),
        ("stages: [2, 2], depth: 4", "class_token: a convolutional network"),
        ("stages: [2, 2], depth: 4, class_token: false, registers: 2", "registers: not for a convolutional network"),
        ("attentions: 2", "attentions: only in a convolutional network"),
        ("kernel: 3", "kernel: local attention needs it"),
        ("attention: local", "kernel: local attention needs it"),
        ("attention: local, kernel: 3, init: mimetic", "attention: local is for a model of the keys above"),
    ],
)
def test_what_does_not_fit_together_is_said(model: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        parse_recipe(f"model: {{{model}}}", "small")


def test_what_convolutions_cannot_do_is_said() -> None:
    model = "model: {stages: [2, 2], depth: 4, class_token: false, dim: 8, heads: 2}"
    with pytest.raises(RecipeError, match=r"pruner.name: not for a convolutional network"):
        parse_recipe(f"{model}\npruner: {{name: magnitude, keep_ratio: 0.5}}", "small")
    with pytest.raises(RecipeError, match=r"train.patch_dropout: not for a convolutional network"):
        parse_recipe(f"{model}\ntrain: {{patch_dropout: 0.5}}", "small")
    spec = Model(stages=(2, 2), depth=4, class_token=False, dim=8, heads=2, patch_size=1)
    with pytest.raises(UsageError, match="room for 2"):
        build(spec.model_copy(update={"attentions": 3}), 3, 32)
    with pytest.raises(UsageError, match="windows of 3 do not tile maps of 16 x 16"):
        build(spec.model_copy(update={"attentions": 1, "kernel": 3}), 3, 32)
    with pytest.raises(UsageError, match="a map of 9 x 9 cannot be halved"):
        build(spec, 3, 9)
    with pytest.raises(UsageError, match="cannot prune AlterNet"):
        runnable(build(spec, 3, 32), create("magnitude"))
