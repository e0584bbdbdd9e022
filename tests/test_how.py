"""Measurements of Park & Kim 2022, against numpy, plain loops and closed forms, before and after pruning."""

import copy
import importlib
import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer

from tokenprune import pipeline
from tokenprune.claims.readings import IMAGES
from tokenprune.data import Batch
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.measurements import association, fourier, frequency_noise, hessian, landscape, rank, variance
from tokenprune.measurements.subject import Subject
from tokenprune.measurements.through import on_grid, walk
from tokenprune.pipeline.measure import subject_of
from tokenprune.pipeline.prepare import prepare_run
from tokenprune.pruners.base import TokenState
from tokenprune.recipe import Loaded, parse_recipe, read_resolved
from tokenprune.runs import RunFolder

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 60, test_size: 40, noise: 0.2}}
model: {depth: 2, dim: 12, heads: 3}
train: {epochs: 1, batch_size: 20, precision: fp32, augment: {crop: 0, flip: false}}
evaluate: {batch_size: 25}
"""
PRUNED = {"methods": ["magnitude", "tome"], "keep": 0.5, "site": "before:1"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    loaded = Loaded(parse_recipe(TINY, "tiny"), "tiny", TINY, [])
    return pipeline.train_run(loaded, runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def subject(run: RunFolder) -> Subject:
    prepared = prepare_run(run, read_resolved(run.resolved), None, None)
    return subject_of(run, prepared, "fp32")


def measured(run: RunFolder, name: str, **options: Any) -> dict[str, Any]:
    return dict(pipeline.measure_run(run, name, options=options)[1].arrays)


def features(vit: VisionTransformer, images: torch.Tensor) -> list[torch.Tensor]:
    """Patch features at every half-block, by timm's own parts."""
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    found = [x]
    for block in vit.blocks:
        x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x))))
        found.append(x)
        x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
        found.append(x)
    return [each[:, vit.num_prefix_tokens :] for each in found]


@pytest.fixture(scope="module")
@torch.no_grad()
def maps(subject: Subject) -> list[np.ndarray]:
    """[image, patch, channel] of all test images at every half-block."""
    batches = [features(subject.model.vit, batch.images) for batch in subject.batches()]
    return [torch.cat(parts).numpy() for parts in zip(*batches, strict=True)]


def test_fourier_is_numpys(run: RunFolder, maps: list[np.ndarray]) -> None:
    array = measured(run, "fourier")["log amplitude"]
    found = np.array(array.values)
    assert array.labels["frequency"]["frequency, pi"] == (0, 0.5, 1)
    for cursor, each in enumerate(maps):
        amplitude = np.log(np.abs(np.fft.fft2(each.reshape(-1, 4, 4, 12), axes=(1, 2))) + 1e-6).mean(axis=(0, 3))
        expected = [amplitude[k, k] - amplitude[0, 0] for k in range(3)]
        assert found[0, cursor] == pytest.approx(expected, abs=1e-4)


def test_a_wave_has_its_own_frequency() -> None:
    y, x = np.mgrid[:8, :8]
    for k in range(5):
        wave = torch.from_numpy(np.cos(2 * math.pi * k * (x + y) / 8)).float().reshape(1, 64, 1)
        found = fourier.diagonal(wave, 8)[0].exp()
        height = 64 if k in (0, 4) else 32
        assert found[k] == pytest.approx(height, rel=1e-4)
        assert (found.sum() - found[k]).abs() < 1e-3


def test_variance_and_rank_are_numpys(run: RunFolder, maps: list[np.ndarray]) -> None:
    found = np.array(measured(run, "variance")["variance"].values)[0]
    assert found == pytest.approx([each.var(axis=1).mean() for each in maps], rel=1e-4)
    found = np.array(measured(run, "rank")["residual"].values)[0]
    for cursor, each in enumerate(maps):
        away = np.linalg.norm(each - each.mean(axis=1, keepdims=True), axis=(1, 2)) / np.linalg.norm(each, axis=(1, 2))
        assert found[cursor] == pytest.approx(away.mean(), rel=1e-4)


def state(tokens: torch.Tensor, **changes: Any) -> TokenState:
    return TokenState(tokens, 0, torch.arange(tokens.shape[1]).expand(tokens.shape[:2]), **changes)


def test_tokens_that_are_all_alike_have_rank_one_and_padding_does_not_count() -> None:
    alike = torch.randn(3, 1, 5).expand(3, 4, 5)
    assert rank.residual(state(alike)) == pytest.approx(0, abs=1e-5)
    assert variance.spread(state(alike)) == pytest.approx(0, abs=1e-6)
    tokens = torch.randn(2, 3, 5)
    padded = torch.cat([tokens, 100 * torch.ones(2, 1, 5)], dim=1)
    with_padding = state(padded, weight=torch.tensor([[1.0, 2, 1, 0]] * 2))
    for measure in (rank.residual, variance.spread):
        assert measure(with_padding) == pytest.approx(measure(state(tokens)), rel=1e-5)


def test_a_patch_has_the_feature_of_its_token_and_one_that_is_gone_the_mean() -> None:
    tokens = torch.tensor([[[1.0], [4.0]]])
    found = on_grid(TokenState(tokens, 0, torch.tensor([[0, 1, 1, -1]])))
    assert found[0, :, 0].tolist() == [1, 4, 4, 3]  # the mean over patches: (1 + 4 + 4) / 3


def test_a_lesion_is_a_block_whose_half_adds_nothing(run: RunFolder, subject: Subject) -> None:
    array = measured(run, "lesion")["accuracy"]
    names = array.labels["lesion"]["without"]
    assert names[:3] == ("nothing", "attention of block 0", "MLP of block 0")
    vit = subject.model.vit
    parts = [None, *(part for block in vit.blocks for part in (block.attn.proj, block.mlp.fc2))]
    found = []
    for part in parts:
        hook = part and part.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        with torch.no_grad():
            right = [vit(batch.images).argmax(1) == batch.labels for batch in subject.batches()]
        if hook:
            hook.remove()
        found.append(torch.cat(right).float().mean().item())
    assert np.array(array.values)[0] == pytest.approx(found, abs=1e-6)
    assert found[0] == pytest.approx(run.result().test_accuracy)


def test_noise_lies_in_its_ring_and_has_the_strength_asked_for() -> None:
    like = torch.zeros(3, 3, 32, 32)
    for centre in (0.1 * math.pi, 0.5 * math.pi, 0.9 * math.pi):
        noise = frequency_noise.ring_noise(like, centre, 0).double().numpy()
        assert noise.reshape(3, -1).std(axis=1) == pytest.approx(1, rel=1e-5)
        power = np.abs(np.fft.fft2(noise)) ** 2
        frequency = 2 * np.pi * np.abs(np.fft.fftfreq(32))
        largest = np.maximum(frequency[:, None], frequency[None])
        outside = np.abs(largest - centre) > frequency_noise.HALF_WIDTH + 1e-6
        assert power[..., outside].sum() < 1e-8 * power.sum()
    assert (frequency_noise.ring_noise(like, 1.0, 0) != frequency_noise.ring_noise(like, 1.0, 1)).any()
    with pytest.raises(UsageError, match="images of 2 pixels have no such frequency"):
        frequency_noise.ring_noise(torch.zeros(1, 1, 2, 2), 1.0, 0)


def test_noise_changes_what_the_model_sees_by_that_strength(run: RunFolder, subject: Subject) -> None:
    array = measured(run, "frequency-noise", strength=0.2)["accuracy"]
    found = np.array(array.values)[0]
    assert found[0] == pytest.approx(run.result().test_accuracy)
    std = torch.tensor(subject.dataset.std)[:, None, None]
    right = []
    for number, batch in enumerate(
        subject.batches_at(torch.randperm(40, generator=torch.Generator().manual_seed(0)).split(25))
    ):
        noise = frequency_noise.ring_noise(batch.images, 0.3 * math.pi, number)
        with torch.no_grad():
            right.append(subject.model.vit(batch.images + 0.2 * noise / std).argmax(1) == batch.labels)
    assert found[3] == pytest.approx(torch.cat(right).float().mean().item())


@pytest.mark.parametrize("name", ["fourier", "variance", "rank", "lesion", "frequency-noise", "hessian", "landscape"])
def test_before_and_after_pruning(run: RunFolder, name: str) -> None:
    few = {"hessian": {"images": 8, "batch": 4, "top": 2}, "landscape": {"size": 3, "images": 40}}.get(name, {})
    array = next(iter(measured(run, name, **PRUNED, **few).values()))
    assert array.labels["point"]["method"] == ("none", "magnitude", "tome")
    plain = next(iter(measured(run, name, **few).values()))
    found = np.array(array.values)
    assert found[0] == pytest.approx(np.array(plain.values)[0], rel=1e-4, abs=1e-5)
    assert np.isfinite(found).all()
    if name in ("fourier", "variance", "rank"):
        assert found[1:, :2] == pytest.approx(np.stack([found[0, :2]] * 2), abs=1e-5)  # before the site
        assert (np.abs(found[1:, 2] - found[0, 2]) > 1e-6).any()


def whole_hessian(vit: VisionTransformer, batch: Batch, smoothing: float) -> np.ndarray:
    """Every entry, by torch's own loop over parameters, in float64."""
    vit = copy.deepcopy(vit).double()
    names, weights = zip(*vit.named_parameters(), strict=True)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([each.numel() for each in weights])
        given = {name: part.view_as(each) for name, part, each in zip(names, parts, weights, strict=True)}
        out = torch.func.functional_call(vit, given, (batch.images.double(),))
        return torch.nn.functional.cross_entropy(out, batch.labels, label_smoothing=smoothing)

    flat = torch.cat([each.detach().flatten() for each in weights])
    return torch.autograd.functional.hessian(loss, flat).numpy()


def test_eigenvalues_are_those_of_the_whole_hessian(run: RunFolder, subject: Subject) -> None:
    arrays = measured(run, "hessian", images=12, batch=6, top=4)
    found = np.array(arrays["eigenvalues"].values)
    assert found.shape == (1, 2, 4)
    with hessian.exact(subject):
        for values, batch in zip(found[0], hessian.training_batches(subject, 12, 6), strict=True):
            every = np.linalg.eigvalsh(whole_hessian(subject.model.vit, batch, 0.0))
            wanted = every[np.argsort(-np.abs(every))][:4]
            assert values == pytest.approx(wanted, rel=1e-2, abs=2e-3 * abs(wanted[0]))
    assert arrays["below 0"].values == [pytest.approx((found < 0).mean())]
    assert arrays["positive"].values == [pytest.approx(found[found > 0].mean())]


def test_products_are_curvlinops(subject: Subject) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    vit = subject.model.vit
    weights = list(vit.parameters())
    with hessian.exact(subject):
        (batch,) = hessian.training_batches(subject, 6, 6)
        theirs = curvlinops.HessianLinearOperator(
            vit, torch.nn.CrossEntropyLoss(), weights, [(batch.images, batch.labels)], check_deterministic=False
        )
        values, enough = hessian.largest(subject.unpruned(), batch, 0.0, 3, 60)
        size = sum(each.numel() for each in weights)

        def product(vector: torch.Tensor) -> torch.Tensor:
            return theirs @ vector

        expected, _ = hessian.lanczos(product, torch.randn(size, generator=torch.Generator().manual_seed(5)), 3, 60)
    assert enough
    assert values == pytest.approx(expected, rel=1e-2, abs=2e-3 * abs(expected[0]))


@pytest.mark.parametrize("size", [1, 3, 40])
def test_lanczos_finds_both_ends_of_a_known_spectrum(size: int) -> None:
    draw = torch.Generator().manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=draw, dtype=torch.float64))
    spectrum = torch.linspace(-3, 5, size, dtype=torch.float64) if size > 1 else torch.tensor([-2.0]).double()
    matrix = turn @ torch.diag(spectrum) @ turn.T
    wanted = sorted(spectrum.tolist(), key=abs, reverse=True)[:4]
    found, enough = hessian.lanczos(lambda v: matrix @ v, torch.randn(size, generator=draw).double(), 4, size)
    assert found[: len(wanted)] == pytest.approx(wanted, rel=1e-3)
    assert enough == (size >= 4)


def test_too_few_steps_are_said(run: RunFolder) -> None:
    notes = pipeline.measure_run(run, "hessian", options={"images": 12, "batch": 6, "top": 4, "steps": 5})[1].notes
    assert any("2 of 2 spectra are not exact to 0.001" in note for note in notes)


def test_a_run_that_was_compiled_is_measured_as_any_other(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled code has no second derivatives: the model itself is measured."""
    monkeypatch.setattr(torch, "compile", lambda step: step)
    text = f"{TINY}run: {{compile: true}}\n"
    compiled = pipeline.train_run(Loaded(parse_recipe(text, "tiny"), "tiny", text, []), runs_dir=tmp_path)
    asked = {"images": 20, "batch": 10, "top": 2, "steps": 30}
    found, expected = (measured(each, "hessian", **asked)["eigenvalues"].values for each in (compiled, run))
    assert np.array(found) == pytest.approx(np.array(expected), rel=1e-3)


def test_smaller_batches_where_memory_is_short(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    own = hessian.largest

    def largest(pruned: Any, batch: Batch, *rest: Any) -> Any:
        if len(batch.labels) > 3:
            raise MemoryError
        return own(pruned, batch, *rest)

    monkeypatch.setattr(hessian, "largest", largest)
    _, result = pipeline.measure_run(run, "hessian", options={"images": 12, "batch": 12, "top": 1})
    assert result.arrays["images a batch"].values == 3
    assert "out of memory: mini-batches of 3 images" in result.notes
    monkeypatch.setattr(hessian, "largest", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(TokenpruneError, match="out of memory with one image"):
        pipeline.measure_run(run, "hessian", options={"images": 12, "batch": 2, "top": 1})


def test_the_plane_holds_the_models_own_loss_and_that_of_its_neighbours(run: RunFolder, subject: Subject) -> None:
    arrays = measured(run, "landscape", size=3, images=60)
    losses, penalty = (np.array(arrays[name].values) for name in ("cross-entropy", "L2"))
    vit = copy.deepcopy(subject.model.vit)
    batches = list(hessian.training_batches(subject, 60, 25))
    own = {name: value.detach().clone() for name, value in vit.named_parameters()}
    first, second = (landscape.directions(own, seed) for seed in (0, 1))
    for name, value in own.items():
        flat = value.ndim < 2 or name == "pos_embed"
        wanted = torch.zeros(len(value)) if flat else value.flatten(1).norm(dim=1)
        assert first[name].reshape(len(value), -1).norm(dim=1) == pytest.approx(wanted, rel=1e-4)
    for (row, column), (a, b) in {(1, 1): (0, 0), (0, 2): (1, -1), (2, 1): (0, 1)}.items():
        with torch.no_grad():
            for name, value in vit.named_parameters():
                value.copy_(own[name] + a * first[name] + b * second[name])
            loss = [torch.nn.functional.cross_entropy(vit(each.images), each.labels).item() for each in batches]
        assert losses[0, row, column] == pytest.approx(np.mean(loss), rel=1e-4)
        squares = sum(value.square().sum().item() for value in vit.parameters())
        assert penalty[row, column] == pytest.approx(subject.recipe.train.weight_decay / 2 * squares, rel=1e-4)
    after = dict(subject.model.vit.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in own.items())  # put back


@torch.no_grad()
@pytest.mark.parametrize("method", ["magnitude", "tome", "ats", "evit"])
@pytest.mark.parametrize("site", ["before:0,1", "after:0", "input"])
def test_a_walk_ends_where_the_pruned_model_does(subject: Subject, method: str, site: str) -> None:
    (pruning,) = subject.prunings(method, 0.5, site)
    pruned = subject.pruned(pruning)
    for batch in subject.batches():
        *_, (cursor, last) = walk(pruned, batch)
        assert cursor == 4
        assert pruned.model.head(last) == pytest.approx(pruned(batch).logits, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("fourier", {"images": 0}, "option images: found 0"),
        ("lesion", {"images": 1.5}, "option images: found 1.5"),
        ("frequency-noise", {"strength": 0}, "option strength: found 0"),
        ("frequency-noise", {"strength": True}, "option strength: found True"),
        ("variance", {"methods": "magnitud"}, "magnitude"),
        ("rank", {"depth": 2}, "unknown option of measurement 'rank' 'depth'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(run: RunFolder, name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        pipeline.measure_run(run, name, options=options)
    assert "\n" not in str(refused.value)


def _codes(subject: Subject, codes: torch.Tensor, tiles: torch.Tensor | None = None) -> Subject:
    model = copy.deepcopy(subject.model)
    prefix = model.vit.pos_embed.shape[1] - len(codes)
    with torch.no_grad():
        model.vit.pos_embed[0, prefix:, :] = 0
        model.vit.pos_embed[0, prefix:, : codes.shape[1]] = codes
    return replace(subject, model=model, dataset=replace(subject.dataset, tiles=tiles))


def test_codes_of_neighbours_that_are_alike_are_associated(subject: Subject) -> None:
    """Codes on a paraboloid have the larger products the nearer they are: <p, q> = x x' + y y' - (r + r') / 2."""
    y, x = (each.flatten().float() for each in torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"))
    ones = torch.ones(16)
    squares = x * x + y * y
    codes = torch.stack([x, y, squares, ones], dim=1)
    products = codes[:, :2] @ codes[:, :2].T - (squares[:, None] + squares[None]) / 2  # minus half the squared distance
    shares, chance = association.overlap(products, 4)
    assert (shares == 1).all()
    assert sorted(set((15 * chance).round().tolist())) == [3, 5, 8]
    far, _ = association.overlap(-products, 4)
    assert far.mean() < chance.mean()


def test_association_of_a_model_is_of_its_positions_in_the_image_before_shuffling(subject: Subject) -> None:
    codes = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
    plain = association.measure_run(_codes(subject, codes))
    expected = [
        np.isin(np.argsort(-np.delete(row, i))[:n], [j - (j > i) for j in near]).mean()
        for i, row in enumerate((codes @ codes.T).numpy())
        for near in [[j for j in range(16) if j != i and max(abs(j // 4 - i // 4), abs(j % 4 - i % 4)) == 1]]
        for n in [len(near)]
    ]
    assert plain["overlap"].values == pytest.approx(expected)
    assert plain["mean overlap"].values == pytest.approx(np.mean(expected))
    tiles = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    moved = association.measure_run(_codes(subject, codes[tiles], tiles))  # the same code for the same content
    assert moved["overlap"].values == plain["overlap"].values
    with pytest.raises(UsageError, match="moves 4 tiles, and there are 16 patches"):
        association.measure_run(_codes(subject, codes, torch.arange(4)))


def test_claims_know_how_many_images_are_looked_at() -> None:
    for name, count in IMAGES.items():
        module = importlib.import_module(f"tokenprune.measurements.{name.replace('-', '_')}")
        assert inspect.signature(module.measure_run).parameters["images"].default == count
