"""A convolutional network whose stages may end in attention: AlterNet, and without attention a ResNet.

Park & Kim 2022 (arXiv 2202.06709), section 4: pre-activation bottlenecks (He et al. 2016, arXiv 1603.05027); from the
end of the network blocks are replaced by self-attention in windows, each with one learned bias by relative position
that all heads share (Swin, arXiv 2103.14030).

Shapes: b images, c channels, y rows, x columns, w windows, t places of a window, h heads, d channels of a head.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from timm.layers import DropPath
from torch import Tensor, nn

from tokenprune.errors import UsageError

#: Channels of a block's output over those of its 3 x 3 convolution.
EXPANSION = 4


class Stem(nn.Module):
    """The first convolution: 3 x 3, or as large as its stride where that is larger."""

    def __init__(self, dim: int, stride: int, img_size: int) -> None:
        super().__init__()
        side = img_size // stride
        self.patch_size, self.img_size, self.grid_size = (stride, stride), (img_size, img_size), (side, side)
        self.num_patches = side * side
        self.proj = nn.Conv2d(3, dim, max(3, stride), stride, padding=int(stride < 3), bias=False)

    def forward(self, x: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        maps: Tensor = self.proj(x)
        return maps


class ConvBlock(nn.Module):
    """Batch norm and ReLU before each of three convolutions: 1 x 1, 3 x 3, 1 x 1; half the maps where `stride` is 2."""

    kind = "convolution"

    def __init__(self, entering: int, width: int, stride: int, drop_path: float) -> None:
        super().__init__()
        leaving = EXPANSION * width
        self.norm1, self.norm2, self.norm3 = (_norm(size) for size in (entering, width, width))
        self.conv1 = nn.Conv2d(entering, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width, leaving, 1, bias=False)
        changes = stride > 1 or entering != leaving
        self.shortcut = nn.Conv2d(entering, leaving, 1, stride, bias=False) if changes else None
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Float[Tensor, "b c y x"], skip: bool = False) -> Float[Tensor, "b e y2 x2"]:
        """skip: leave out the convolutions; what a shortcut changes it still changes."""
        if skip and self.shortcut is None:
            return maps
        first = F.relu(self.norm1(maps))
        kept = maps if self.shortcut is None else self.shortcut(first)
        if skip:
            return kept
        inner = self.conv2(F.relu(self.norm2(self.conv1(first))))
        return kept + self.drop_path(self.conv3(F.relu(self.norm3(inner))))


class AttentionBlock(nn.Module):
    """Batch norm, GELU, 1 x 1 convolution, batch norm, attention in windows, 1 x 1 convolution."""

    kind = "attention"
    fused_attn = False
    away: Int[Tensor, "t t"]  # the place of their bias

    def __init__(self, width: int, heads: int, kernel: int, drop_path: float) -> None:
        super().__init__()
        self.heads, self.kernel = heads, kernel
        self.norm1, self.norm2 = _norm(EXPANSION * width), _norm(width)
        self.conv1 = nn.Conv2d(EXPANSION * width, width, 1, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, EXPANSION * width)
        self.bias = nn.Parameter(torch.zeros((2 * kernel - 1) ** 2))
        self.drop_path = DropPath(drop_path)
        place = torch.cartesian_prod(torch.arange(kernel), torch.arange(kernel)).reshape(-1, 2)
        down, right = (place[:, None] - place[None] + kernel - 1).unbind(dim=2)
        self.register_buffer("away", down * (2 * kernel - 1) + right, persistent=False)

    def forward(self, maps: Float[Tensor, "b c y x"], skip: bool = False) -> Float[Tensor, "b c y x"]:
        """skip: leave out the attention."""
        if skip:
            return maps
        inner = windows(self.norm2(self.conv1(F.gelu(self.norm1(maps)))), self.kernel)
        query, key, value = self.qkv(inner).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias[self.away]
        if self.fused_attn:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        else:
            logits = query @ key.transpose(2, 3) * query.shape[3] ** -0.5 + bias
            mixed = logits.softmax(dim=-1).to(value.dtype) @ value
        out = self.proj(mixed.transpose(1, 2).flatten(2))
        return maps + self.drop_path(from_windows(out, self.kernel, maps.shape[2] // self.kernel))


class AlterNet(nn.Module):
    """Stages of blocks; each stage after the first halves the maps and doubles the channels.

    stages: blocks of each. dim: channels of the first stage's 3 x 3 convolutions; a block has four times as many at its
    end. heads: of the first stage, doubled at each. attentions: blocks that are attention (`attention_places`). kernel:
    side of the windows. patch_size: stride of the first convolution. Average pooling.

    Attributes of timm's Vision Transformer that the rest of the program reads are there under its names.

    Raises UsageError for more attentions than there are places, and for windows that do not tile a map.
    """

    pos_embed, num_prefix_tokens, global_pool = None, 0, "avg"

    def __init__(
        self,
        stages: Sequence[int],
        dim: int,
        heads: int,
        attentions: int,
        kernel: int,
        patch_size: int,
        img_size: int,
        num_classes: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        chosen = set(attention_places(stages, attentions))
        self.stages, self.in_chans, self.num_classes = tuple(stages), 3, num_classes
        self.patch_embed = Stem(dim, patch_size, img_size)
        blocks: list[nn.Module] = []
        entering, side, depth = dim, img_size // patch_size, sum(stages)
        for stage, count in enumerate(stages):
            width = dim * 2**stage
            for i in range(count):
                place, rate = len(blocks), drop_path * len(blocks) / max(1, depth - 1)
                stride = 2 if stage and not i else 1
                if side % stride:
                    raise UsageError(
                        f"model.stages: a map of {side} x {side} cannot be halved before stage {stage + 1}"
                    )
                side //= stride
                if place in chosen:
                    if side % kernel:
                        raise UsageError(f"model.kernel: windows of {kernel} do not tile maps of {side} x {side}")
                    blocks.append(AttentionBlock(width, heads * 2**stage, kernel, rate))
                else:
                    blocks.append(ConvBlock(entering, width, stride, rate))
                entering = EXPANSION * width
        self.blocks = nn.Sequential(*blocks)
        self.norm = _norm(entering)
        self.head = nn.Linear(entering, num_classes)
        self.embed_dim, self.heads = dim, heads
        self.apply(_initialise)

    def no_weight_decay(self) -> set[str]:
        """Parameters that timm's optimisers leave without weight decay."""
        return {f"blocks.{i}.bias" for i, block in enumerate(self.blocks) if isinstance(block, AttentionBlock)}

    def forward_features(self, x: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        maps: Tensor = self.blocks(self.patch_embed(x))
        return maps

    def forward_head(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b classes"]:
        return self.classify(self.norm(maps))

    def classify(self, normalised: Float[Tensor, "b c y x"]) -> Float[Tensor, "b classes"]:
        logits: Tensor = self.head(F.relu(normalised).mean(dim=(2, 3)))
        return logits

    def forward(self, x: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b classes"]:
        return self.forward_head(self.forward_features(x))


def attention_places(stages: Sequence[int], attentions: int) -> list[int]:
    """The blocks that are attention, in the order in which they replace convolutions.

    Park & Kim's rule, from the end: the last block of the last stage, then every second one before it there, then the
    last block of each stage before. The first block of a stage, which halves the maps, stays a convolution. Raises
    UsageError where there are fewer places.
    """
    first = [sum(stages[:i]) for i in range(len(stages))]
    places = list(range(first[-1] + stages[-1] - 1, first[-1], -2))
    places += [first[i] + stages[i] - 1 for i in range(len(stages) - 2, -1, -1) if stages[i] > 1]
    if attentions > len(places):
        raise UsageError(f"model.attentions: found {attentions}, stages {list(stages)} have room for {len(places)}")
    return places[:attentions]


def _norm(size: int) -> nn.BatchNorm2d:
    """Batch norm that does not count its batches, which nothing reads: weights are floating-point numbers."""
    norm = nn.BatchNorm2d(size)
    norm.num_batches_tracked = None
    return norm


def _initialise(module: nn.Module) -> None:
    """He's for convolutions, timm's truncated normal for the linear layers of attention and classifier."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def windows(maps: Float[Tensor, "b c y x"], kernel: int) -> Float[Tensor, "w t c"]:
    """The windows of all images, each row by row."""
    tiled = maps.unflatten(3, (-1, kernel)).unflatten(2, (-1, kernel))
    return tiled.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)


def from_windows(found: Float[Tensor, "w t c"], kernel: int, rows: int) -> Float[Tensor, "b c y x"]:
    """The inverse of `windows`, of square maps with so many windows a side."""
    tiled = found.unflatten(0, (-1, rows, rows)).unflatten(3, (kernel, kernel))
    return tiled.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def maps_of(tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b c y x"]:
    """Square maps from their places, row by row."""
    side = round(tokens.shape[1] ** 0.5)
    return tokens.mT.unflatten(2, (side, side))


def tokens_of(maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b n c"]:
    """Their places, row by row."""
    return maps.flatten(2).mT
