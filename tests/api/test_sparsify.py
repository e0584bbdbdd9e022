"""A sparsified model in other people's loops: timm's own optimiser and files, torch.compile, torch.export, ONNX."""

import copy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from model_zoo import CLASSES, SIDE, images, make
from timm.models import VisionTransformer
from timm.optim import create_optimizer_v2
from torch.nn import functional as F

import tokenprune
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.models import BatchInfo
from tokenprune.pruners import BUILT_IN, create
from tokenprune.recipe import RemovedPerSite

ADAPTIVE = [name for name in BUILT_IN if create(name).adaptive]
FIXED = [name for name in BUILT_IN if name not in (*ADAPTIVE, "atc", "oracle")]
IMAGES = images(5)


def sparsified(method: str, keep: float = 0.6, sites: str | None = "before:1,2", **options) -> tokenprune.Sparsified:
    torch.manual_seed(0)
    return tokenprune.sparsify(make("plain"), method, keep, sites=sites, **options).eval()


@torch.no_grad()
@pytest.mark.parametrize("method", [name for name in BUILT_IN if name != "oracle"])
def test_it_is_the_same_model_as_on_the_command_line(method: str) -> None:
    model = sparsified(method)
    info = BatchInfo(index=torch.arange(5))
    found, expected = model(IMAGES, trace=True), model.sparse.run(IMAGES, 0.6, info)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(model(IMAGES), found.logits)
    assert torch.equal(model.forward_features(IMAGES), found.features)
    assert [state.count for state in found.states] == [state.count for state in expected.states]
    assert torch.equal(found.states[-1].owner, expected.states[-1].owner)
    if not model.pruner.fixed:
        model.keep = 1
        assert torch.equal(model(IMAGES), model.sparse.vit(IMAGES))


def test_its_files_are_those_of_the_bare_model(tmp_path: Path) -> None:
    bare = make("plain", seed=1)
    model = sparsified("tome")
    assert list(model.state_dict()) == list(bare.state_dict())
    model.load_state_dict(bare.state_dict())
    other = make("plain", seed=2)
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), bare.parameters(), strict=True))
    learned = sparsified("dynamicvit")
    own = set(learned.state_dict()) - set(bare.state_dict())
    assert own
    assert all(name.startswith("pruner.") for name in own)
    again = sparsified("dynamicvit")
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.add_(1)
    again.load_state_dict(learned.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), learned.parameters(), strict=True))
    with pytest.raises(RuntimeError, match="pruner"):
        again.load_state_dict(bare.state_dict())
    within = torch.nn.Sequential(model)
    assert list(within.state_dict()) == [f"0.{name}" for name in bare.state_dict()]
    within.load_state_dict(within.state_dict())


def test_what_is_not_its_own_is_the_models() -> None:
    model = sparsified("tome")
    assert model.num_classes == CLASSES
    model.set_grad_checkpointing()
    assert model.sparse.vit.grad_checkpointing
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(IMAGES), model(IMAGES))
    assert twin.sparse.vit is not model.sparse.vit
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = model.nothing


@pytest.mark.parametrize("method", ["magnitude", "random", "tome", "dynamicvit", "cropr"])
def test_it_learns_in_a_plain_loop_with_timms_optimiser(method: str) -> None:
    """The class is the colour of the image: the loss falls by half in sixty steps."""
    torch.manual_seed(0)
    vit = VisionTransformer(img_size=SIDE, patch_size=4, num_classes=3, embed_dim=16, depth=2, num_heads=2)
    model = tokenprune.sparsify(vit, method, 0.5, sites="before:1")
    optimizer = create_optimizer_v2(model, "adamw", lr=3e-3, weight_decay=0.05)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert id(vit.pos_embed) not in decayed
    losses = []
    for _ in range(60):
        labels = torch.randint(3, (32,))
        batch = 0.5 * torch.randn(32, 3, SIDE, SIDE) + F.one_hot(labels, 3)[:, :, None, None]
        trace = model.train()(batch, trace=True)
        loss = F.cross_entropy(trace.logits, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        (loss + model.loss(trace, batch, labels)).backward()
        optimizer.step()
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("kind", ["plain", "registers", "distilled", "rotary, mixed"])
def test_layer_decay_gives_each_parameter_the_rate_that_it_has_in_the_bare_model(kind: str) -> None:
    def rates(model: torch.nn.Module) -> dict[int, float]:
        groups = create_optimizer_v2(model, "sgd", lr=1.0, layer_decay=0.5).param_groups
        return {id(each): group["lr_scale"] for group in groups for each in group["params"]}

    vit = make(kind)
    bare = rates(vit)
    assert len(set(bare.values())) > 3
    model = tokenprune.sparsify(vit, "dynamicvit", 0.5, sites="before:1")
    found = rates(model)
    assert {name: found[name] for name in bare} == bare
    assert {found[id(each)] for each in model.pruner.parameters()} == {1.0}


def test_a_distilled_model_in_distilled_training_has_a_loss_of_its_pruner() -> None:
    vit = make("distilled").train()
    vit.set_distilled_training(True)
    model = tokenprune.sparsify(vit, "tome", 0.5, sites="before:1").train()
    assert model.loss(model(IMAGES, trace=True), IMAGES, torch.zeros(5, dtype=torch.long)) == 0


def test_random_tokens_are_drawn_anew_in_training_and_not_in_evaluation() -> None:
    model = sparsified("random")
    owners = [model(IMAGES, trace=True).states[0].owner for _ in range(2)]
    assert torch.equal(*owners)
    model.train()
    owners = [model(IMAGES, trace=True).states[0].owner for _ in range(2)]
    assert not torch.equal(*owners)


def test_features_in_training_hold_the_tokens_that_are_left() -> None:
    model = sparsified("magnitude", 0.5, "before:1")
    model.sparse.vit.requires_grad_(False)
    trained = model.train().forward_features(IMAGES)
    assert trained.shape == (5, 1 + 8, 16)
    torch.testing.assert_close(trained, model.eval().forward_features(IMAGES))


@pytest.mark.parametrize("method", ["mctf", "cropr", "dynamicvit", "ltmp", "tome"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_pruner_has_the_dtype_of_the_model(method: str, dtype: torch.dtype) -> None:
    model = tokenprune.sparsify(make("plain").to(dtype), method, 0.5, sites="before:1").eval()
    assert model(IMAGES.to(dtype)).dtype == dtype


def test_images_of_another_size_are_refused() -> None:
    vit = VisionTransformer(img_size=32, patch_size=4, embed_dim=8, depth=2, num_heads=1, dynamic_img_size=True)
    with pytest.raises(UsageError, match="images of 16 patches: the pruner is made for the model's own size, 64"):
        tokenprune.sparsify(vit, "gtp", 0.5, sites="before:1")(images(2, side=16))


def test_what_stays_can_be_changed_at_any_time() -> None:
    model = sparsified("tome")
    for keep, counts in ((0.5, [8, 4]), ((0.75, 0.5), [12, 6]), (RemovedPerSite(3), [13, 10])):
        model.keep = keep
        assert [state.count for state in model(IMAGES, trace=True).states] == counts
    assert [state.count for state in sparsified("tome", r=3)(IMAGES, trace=True).states] == [13, 10]
    depth = {12: "after:3,6,9", 6: "after:1,3,4", 3: "after:0,1", 2: "after:0", 1: "after:0"}
    for blocks, sites in depth.items():
        vit = VisionTransformer(
            img_size=SIDE, patch_size=4, embed_dim=8, depth=blocks, num_heads=1, global_pool="avg", class_token=False
        )
        assert str(tokenprune.sparsify(vit, "random").sparse.schedule) == sites


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"keep": 0}, "keep 0: must be above 0"),
        ({"keep": 2}, "keep 2: must be above 0 and at most 1"),
        ({"keep": (0.5, 2.0)}, r"keep 2\.0: must be"),
        ({"keep": True}, "keep True: must be"),
        ({"keep": float("nan")}, "keep nan: must be"),
        ({"keep": (0.5, 0.5, 0.5), "sites": "before:1"}, "3 ratios for 1 site"),
        ({"r": 0}, "r 0: must be a whole number"),
        ({"r": 20, "sites": "before:1"}, "only 16 patch tokens enter site 1"),
        ({"sites": "before:7"}, "beyond the model's depth 3"),
        ({"sites": "after:2"}, "nothing reads patch tokens"),
        ({"method": "tomee"}, "unknown pruner 'tomee'"),
        ({"method": create("tome"), "alpha": 1}, "options alpha: only for a pruner by name"),
        ({"alpha": 1}, "alpha"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(arguments, says) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        tokenprune.sparsify(make("plain"), **{"method": "tome", **arguments})
    assert "\n" not in str(refused.value)


def test_other_models_are_refused_first() -> None:
    with pytest.raises(UsageError, match="cannot prune Linear"):
        tokenprune.sparsify(torch.nn.Linear(2, 2), "tome")


def test_keep_is_checked_when_it_is_set() -> None:
    model = sparsified("tome")
    with pytest.raises(UsageError, match="keep 0: must be above 0"):
        model.keep = 0
    assert model.keep == 0.6
    with pytest.raises(UsageError, match=r"keep 0\.3: this pruner has parameters made for 0\.6"):
        sparsified("patchmerger").keep = 0.3


@pytest.mark.parametrize("method", FIXED)
def test_it_compiles_as_one_graph_and_exports_for_any_number_of_images(method: str) -> None:
    model = sparsified(method)
    expected = model(IMAGES)
    torch.compiler.reset()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(IMAGES), expected)
    exported = torch.export.export(model, (IMAGES,), dynamic_shapes={"images": {0: torch.export.Dim("b")}})
    for count in (1, 3):
        torch.testing.assert_close(exported.module()(IMAGES[:count]), model(IMAGES[:count]))


def onnx_file(model: tokenprune.Sparsified, path: Path) -> None:
    pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenprune.to_onnx(model, IMAGES, path)


@pytest.mark.parametrize("method", ["magnitude", "evit", "tome", "dynamicvit", "divprune"])
def test_its_onnx_answers_alike_in_onnxruntime(method: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = sparsified(method)
    onnx_file(model, tmp_path / "model.onnx")
    assert not model.training
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        (logits,) = session.run(["logits"], {"images": IMAGES[:count].numpy()})
        np.testing.assert_allclose(logits, model(IMAGES[:count]).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("method", [*ADAPTIVE, "atc"])
def test_what_no_graph_can_hold_is_not_exported(method: str, tmp_path: Path) -> None:
    with pytest.raises(TokenpruneError, match=r"^\w+ cannot be exported") as refused:
        onnx_file(sparsified(method), tmp_path / "model.onnx")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "model.onnx").exists()


def test_tokenprune_is_imported_without_torch() -> None:
    code = (
        "import sys, tokenprune; assert 'torch' not in sys.modules; tokenprune.sparsify; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tokenprune.nothing
