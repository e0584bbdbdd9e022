"""Names of weights as HuggingFace's transformers saves them, as timm has them: ViT, DeiT, DINOv2.

timm's own readers know DINOv2's and CLIP's first names, not these.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_ONE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
    "classifier": "head",
    "cls_classifier": "head",
    "distillation_classifier": "head_dist",
}
_IN_BLOCK = {
    "attention.output.dense": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "norm1": "norm1",
    "norm2": "norm2",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.fc1",
    "mlp.weights_out": "mlp.fc2",
}
_BLOCK = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias|lambda1)")
_QUERIES = "attention.attention.query"
#: A name that all of them have.
SIGN = "embeddings.patch_embeddings.projection.weight"


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under timm's names; queries, keys and values become one layer. Others keep their names.

    As timm has them, DINOv2's registers have no position, and that of the class token is added to it. A classifier of
    the class token beside the mean of the patches, as DINOv2's, is left out: timm's models have none.
    """
    (sign,) = (name for name in state if name.endswith(SIGN))
    prefix = sign.removesuffix(SIGN)
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        short = name.removeprefix(prefix).removeprefix("module.")
        layer, _, kind = short.rpartition(".")
        block = _BLOCK.fullmatch(short)
        if short == "embeddings.mask_token" or short.startswith(("pooler.", "decoder.")):  # of pretraining
            continue
        if short in _ONE:
            found[_ONE[short]] = value
        elif layer in _ONE:
            found[f"{_ONE[layer]}.{kind}"] = value
        elif block and block[2] in _IN_BLOCK:
            found[f"blocks.{block[1]}.{_IN_BLOCK[block[2]]}.{'gamma' if block[3] == 'lambda1' else block[3]}"] = value
        elif block and block[2] == _QUERIES:
            names = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
            if all(each in state for each in names):  # else the layer is missed when the weights are loaded
                found[f"blocks.{block[1]}.attn.qkv.{block[3]}"] = torch.cat([state[each] for each in names])
        elif not (block and block[2].startswith("attention.attention.")):
            found[name] = value
    if {"reg_token", "cls_token", "pos_embed"} <= found.keys():
        position = found["pos_embed"]
        found["cls_token"], found["pos_embed"] = found["cls_token"] + position[:, :1], position[:, 1:]
    if "head.weight" in found and "norm.weight" in found and found["head.weight"].shape[1] != len(found["norm.weight"]):
        found = {name: value for name, value in found.items() if not name.startswith("head.")}
    return found
