"""The loop against facts from outside it: an uninterrupted run, a slow reference step, closed-form schedules."""

import math
import os
import signal
from dataclasses import replace

import pytest
import torch
from timm.models import VisionTransformer
from torch.nn import functional as F

from tokenprune import data, models
from tokenprune.errors import UsageError
from tokenprune.models import SparseViT
from tokenprune.pipeline.prepare import prepare
from tokenprune.recipe import Recipe, Schedule, parse_recipe
from tokenprune.runs import Epoch
from tokenprune.training import Checkpoint, Diverged, Job, Reporter, keep_ratio, train

TINY = """
data: {source: patterns, patterns: {image_size: 16, classes: 3, count: 6, train_size: 96, test_size: 32}}
model: {depth: 2, dim: 12, heads: 3, drop_path: 0.2, dropout: 0.1}
train: {epochs: 3, batch_size: 16, precision: fp32, ema_decay: 0.9, augment: {cutout: 4, mixup: 0.5}}
"""


def job(tmp_path, *overrides: str, text: str = TINY) -> Job:
    recipe = parse_recipe(text, "tiny", overrides)
    dataset = data.load(recipe.data)
    return Job(recipe, model(recipe), dataset, torch.device("cpu"), "fp32", Checkpoint(tmp_path / "resume.pt", "tiny"))


def model(recipe: Recipe) -> SparseViT:
    torch.manual_seed(recipe.run.seed)
    vit = models.build(recipe.model, recipe.data.patterns.classes, recipe.data.patterns.image_size)
    if recipe.pruner.name == "none":
        return SparseViT(vit)
    from tokenprune import pruners

    return SparseViT(vit, pruners.create(recipe.pruner.name), Schedule.parse(recipe.pruner.site))


def weights(sparse: SparseViT) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in sparse.state_dict().values()])


class StopAt(Reporter):
    """Sends this process a signal when a step is done."""

    def __init__(self, step: int, number: int) -> None:
        self.at, self.number = step, number

    def step(self, done: int, loss: float, accuracy: float | None, images_per_second: float) -> None:
        if done == self.at:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("at", [1, 6, 8, 17])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, optimizer, at, number) -> None:
    pruned = ("pruner.name=random", "pruner.keep_ratio=0.5", "pruner.anneal_epochs=2", f"train.optimizer={optimizer}")
    straight = train(job(tmp_path, *pruned), Reporter())
    (tmp_path / "resume.pt").unlink()

    with pytest.raises(KeyboardInterrupt):
        train(job(tmp_path, *pruned), StopAt(at, number))
    resumed = train(job(tmp_path, *pruned), Reporter(), resume=True)

    assert torch.equal(weights(resumed.model), weights(straight.model))

    def measured(epoch: Epoch) -> dict:
        return epoch.model_dump(exclude={"seconds", "images_per_second"})

    assert [measured(e) for e in resumed.epochs] == [measured(e) for e in straight.epochs]


@pytest.mark.parametrize("beta2", [0.999, 0.9])
def test_two_steps_equal_plain_adamw(tmp_path, beta2) -> None:
    """Two steps of the loop against textbook AdamW on the same batches (Loshchilov and Hutter, 2019)."""
    work = job(
        tmp_path,
        "train={epochs: 2, batch_size: 96, warmup_epochs: 0, learning_rate: 1e-2, final_learning_rate: 1e-2,"
        f" beta2: {beta2}, weight_decay: 0, clip_norm: null, label_smoothing: 0.1, precision: fp32}}",
        "model={depth: 1, dim: 12, heads: 3}",
    )
    reference = model(work.recipe)
    mean = [torch.zeros_like(p) for p in reference.parameters()]
    square = [torch.zeros_like(p) for p in reference.parameters()]
    for step in (1, 2):
        batch = next(iter(data.train_batches(work.dataset, work.recipe.train.augment, 96, 4, 0, step - 1)))
        logits = reference(batch.images)
        target = torch.full_like(logits, 0.1 / 3)
        target[torch.arange(96), batch.labels] += 0.9
        reference.zero_grad()
        (-(target * F.log_softmax(logits, 1)).sum(1).mean()).backward()
        with torch.no_grad():
            for p, m, v in zip(reference.parameters(), mean, square, strict=True):
                m.mul_(0.9).add_(p.grad, alpha=0.1)
                v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                p -= 1e-2 * (m / (1 - 0.9**step)) / ((v / (1 - beta2**step)).sqrt() + 1e-8)
    trained = train(work, Reporter()).model
    assert torch.allclose(weights(trained), weights(reference), atol=2e-5)


def test_patch_dropout_leaves_patches_out_in_the_epochs_it_is_for_and_never_in_tests(tmp_path) -> None:
    """Half of 16 patches in the first epoch, drawn anew each step; resumed in its middle it ends the same."""
    dropped = ("train.patch_dropout=0.5", "train.patch_dropout_epochs=1", "model.class_token=false")
    work = job(tmp_path, *dropped)
    seen: list[tuple[bool, int]] = []
    work.model.vit.blocks[0].register_forward_hook(lambda block, x, y: seen.append((block.training, x[0].shape[1])))
    straight = train(work, Reporter())
    assert [count for training, count in seen if training] == [8] * 6 + [16] * 12
    assert {count for training, count in seen if not training} == {16}
    (tmp_path / "resume.pt").unlink()
    with pytest.raises(KeyboardInterrupt):
        train(job(tmp_path, *dropped), StopAt(4, signal.SIGINT))
    resumed = train(job(tmp_path, *dropped), Reporter(), resume=True)
    assert torch.equal(weights(resumed.model), weights(straight.model))


def test_small_images_in_the_epochs_they_are_for_are_what_timm_sees_at_that_size(tmp_path) -> None:
    """A step is one of timm's own model of any size on images shrunk by torch; later ones are of whole images."""
    work = job(
        tmp_path,
        "model={depth: 2, dim: 12, heads: 3}",
        "train={epochs: 3, batch_size: 96, precision: fp32, image_size: 8, image_size_epochs: 1}",
    )
    reference = VisionTransformer(
        img_size=16, patch_size=4, num_classes=3, embed_dim=12, depth=2, num_heads=3, dynamic_img_size=True
    )
    reference.load_state_dict(work.model.vit.state_dict())
    batch = next(iter(data.train_batches(work.dataset, work.recipe.train.augment, 96, 4, 0, 0)))
    images = F.interpolate(batch.images, size=(8, 8), mode="bilinear", antialias=True)
    expected = F.cross_entropy(reference(images), batch.labels)
    seen: list[tuple[bool, int]] = []
    work.model.vit.blocks[0].register_forward_hook(lambda block, x, y: seen.append((block.training, x[0].shape[1])))
    trained = train(work, Reporter())
    assert trained.epochs[1].train_loss == pytest.approx(expected.item(), abs=1e-5)
    assert [count for training, count in seen if training] == [5, 17, 17]
    assert {count for training, count in seen if not training} == {17}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("train.image_size=16", "found 16, must be less than the 16 pixels"),
        ("train.image_size=6", "multiple of the model's patches of 4"),
        ("pruner.name=random", "only without a pruner"),
    ],
)
def test_small_images_that_cannot_be_are_refused(tmp_path, change, says) -> None:
    with pytest.raises(UsageError, match=rf"^train\.image_size: .*{says}"):
        prepare(parse_recipe(TINY, "tiny", ["train.image_size=8", "pruner.keep_ratio=0.5", change]), None)


def test_learning_rate_warms_up_and_ends_on_the_cosine(tmp_path) -> None:
    """10 warm-up steps, then half a cosine over the other 20: closed form at the end of each epoch."""
    text = TINY.replace("batch_size: 16", "batch_size: 9, learning_rate: 0.1, final_learning_rate: 0.01")
    epochs = train(replace(job(tmp_path, text=text), observe=False, checkpoint=None), Reporter()).epochs
    assert [e.step for e in epochs] == [0, 10, 20, 30]
    expected = [0.01 + 0.09 * 0.5 * (1 + math.cos(math.pi * done / 20)) for done in (0, 10, 20)]
    assert [e.learning_rate for e in epochs[1:]] == pytest.approx(expected)


def test_annealing_is_a_cosine_from_one() -> None:
    recipe = parse_recipe("pruner: {name: random, keep_ratio: 0.4, anneal_epochs: 4}\ntrain: {epochs: 6}", "r")
    expected = [1, 0.4 + 0.6 * 0.5 * (1 + math.sqrt(0.5)), 0.7, 0.4 + 0.6 * 0.5 * (1 - math.sqrt(0.5)), 0.4, 0.4]
    assert [keep_ratio(recipe, epoch) for epoch in range(6)] == pytest.approx(expected)
    assert keep_ratio(parse_recipe("pruner: {name: none, keep_ratio: 0.4}", "r"), 9) == 1


class Poison(Reporter):
    """Spoils the first weights after a step."""

    def __init__(self, sparse: SparseViT, step: int) -> None:
        self.sparse, self.at = sparse, step

    def step(self, done: int, loss: float, accuracy: float | None, images_per_second: float) -> None:
        if done == self.at:
            with torch.no_grad():
                next(self.sparse.parameters()).fill_(math.nan)


def test_divergence_names_its_step_and_keeps_the_last_good_checkpoint(tmp_path) -> None:
    work = job(tmp_path)
    with pytest.raises(Diverged, match="not finite at step 10 "):
        train(work, Poison(work.model, 9))
    kept = work.checkpoint.load(torch.device("cpu"))
    assert kept["steps"] == 6
    assert all(value.isfinite().all() for value in kept["model"].values() if value.is_floating_point())


def test_weights_spoilt_by_the_last_step_of_an_epoch_are_a_divergence(tmp_path) -> None:
    work = job(tmp_path, "train.ema_decay=null")
    with pytest.raises(Diverged, match="the test loss is not finite after epoch 2; the last good checkpoint is"):
        train(work, Poison(work.model, 12))
    assert work.checkpoint.load(torch.device("cpu"))["steps"] == 6


def test_it_learns_the_patterns_and_attends_to_them(tmp_path) -> None:
    """The paper's setting in small: one block, majority vote of discriminative patterns; chance is 1/3."""
    text = """
data:
  source: patterns
  patterns: {image_size: 16, classes: 3, count: 6, train_size: 2000, test_size: 300, noise: 0.3, relevant: 0.4}
model: {depth: 1, dim: 24, heads: 3, mlp_ratio: 2}
train: {epochs: 8, batch_size: 50, learning_rate: 5e-3, precision: fp32, augment: {crop: 0, flip: false}}
"""
    outcome = train(replace(job(tmp_path, text=text), checkpoint=None), Reporter())
    assert outcome.scores.accuracy > 0.9
    first, last = (outcome.epochs[at].attention_on_relevant for at in (0, -1))
    assert first == pytest.approx([0.4], abs=0.03)  # near uniform before training: alpha_*
    assert last[0] > 1.1 * first[0]


def test_observing_seldom_changes_no_weight_and_measures_first_and_last(tmp_path) -> None:
    four = "train.epochs=4"
    always = train(job(tmp_path, four), Reporter())
    seldom = train(job(tmp_path, four, "run.observe_every=3"), Reporter())
    measured = [epoch.epoch for epoch in seldom.epochs if epoch.test_accuracy is not None]
    assert measured == [3, 4]
    watched = [epoch.epoch for epoch in seldom.epochs if epoch.attention_on_relevant]
    assert watched == [0, 3, 4]
    for epoch in watched:
        assert seldom.epochs[epoch].attention_on_relevant == pytest.approx(
            always.epochs[epoch].attention_on_relevant, abs=1e-6
        )
    assert torch.equal(weights(seldom.model), weights(always.model))
    assert torch.equal(seldom.scores.predictions, always.scores.predictions)


def test_kept_relevance_is_alpha_of_the_tokens_that_the_pruner_leaves(tmp_path) -> None:
    """The oracle at ratio 1/4 of 16 patches: the mean of each image's four most relevant ones, by hand."""
    spec = ("pruner.name=oracle", "pruner.keep_ratio=0.25", "train.epochs=1", "train.warmup_epochs=1")
    made = job(tmp_path, *spec)
    relevance = made.dataset.test.relevance(4)
    best = relevance.sort(dim=1, descending=True).values[:, :4].mean().item()
    assert train(made, Reporter()).scores.kept_relevance == pytest.approx(best, abs=1e-6)
    assert train(job(tmp_path, "train.epochs=1", "train.warmup_epochs=1"), Reporter()).scores.kept_relevance is None
