from dataclasses import replace

import numpy as np
import pytest
import reference_data
import torch
from PIL import Image

from tokenprune import data
from tokenprune.data import Dataset, ImageSet, steps_per_epoch, test_batches, train_batches
from tokenprune.recipe import Augment

test_batches.__test__ = False  # batches of test images, not a test

EVERYTHING = Augment(crop=2, flip=True, cutout=4, randaugment_ops=2, mixup=0.4, cutmix=1.0)
PLAIN = Augment(crop=0, flip=False)


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8, generator=generator)
    mask = (torch.rand(50, 16, 16, generator=generator) < 0.5).to(torch.uint8)
    whole = ImageSet(images, torch.arange(50) % 5, mask)
    return Dataset(whole, whole.take(torch.arange(20)), tuple("abcde"), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def fields(batch: data.Batch) -> list[torch.Tensor | None]:
    return [batch.images, batch.labels, batch.relevance, batch.index, batch.other, batch.weight]


def same(a: data.Batch, b: data.Batch) -> bool:
    return all(x is y is None or torch.equal(x, y) for x, y in zip(fields(a), fields(b), strict=True))


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6])
def test_starting_later_gives_the_same_later_batches(dataset, start):
    whole = list(train_batches(dataset, EVERYTHING, 8, 4, seed=3, epoch=2))
    tail = list(train_batches(dataset, EVERYTHING, 8, 4, seed=3, epoch=2, start=start))
    assert len(whole) == 6
    assert len(tail) == 6 - start
    assert all(same(a, b) for a, b in zip(whole[start:], tail, strict=True))


@pytest.mark.parametrize("other", [{"seed": 4}, {"epoch": 1}])
def test_other_seeds_and_epochs_give_other_batches(dataset, other):
    first, second = (
        next(train_batches(dataset, EVERYTHING, 8, 4, **({"seed": 3, "epoch": 0} | change))) for change in ({}, other)
    )
    assert not torch.equal(first.index, second.index)
    assert not torch.equal(first.weight, second.weight)


def test_the_random_state_of_torch_is_neither_read_nor_changed(dataset):
    torch.manual_seed(1)
    first = next(train_batches(dataset, EVERYTHING, 8, 4, 0, 0))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(first, next(train_batches(dataset, EVERYTHING, 8, 4, 0, 0)))
    assert torch.equal(before, torch.get_rng_state())


def test_an_epoch_visits_each_image_at_most_once_and_drops_the_rest(dataset):
    batches = list(train_batches(dataset, PLAIN, 8, 4, 0, 0))
    index = torch.cat([batch.index for batch in batches])
    assert len(index.unique()) == len(index) == 48
    assert torch.equal(torch.cat([batch.labels for batch in batches]), dataset.train.labels[index])


@pytest.mark.parametrize(("count", "size", "steps"), [(50, 8, 6), (48, 8, 6), (5, 8, 1), (8, 8, 1), (1, 1, 1)])
def test_steps(dataset, count, size, steps):
    assert steps_per_epoch(count, size) == steps
    part = Dataset(dataset.train.take(torch.arange(count)), dataset.test, dataset.classes, dataset.mean, dataset.std)
    batches = list(train_batches(part, PLAIN, size, 4, 0, 0))
    assert len(batches) == steps
    assert len(batches[0].labels) == min(count, size)


def test_images_arrive_normalised_with_their_relevance(dataset):
    batch = next(train_batches(dataset, PLAIN, 8, 4, 0, 0))
    mean, std = torch.tensor(dataset.mean).view(3, 1, 1), torch.tensor(dataset.std).view(3, 1, 1)
    expected = (dataset.train.images[batch.index] / 255 - mean) / std
    torch.testing.assert_close(batch.images, expected, rtol=1e-5, atol=1e-6)
    assert batch.images.dtype == torch.float32
    counted = reference_data.relevance(dataset.train.mask[batch.index].numpy(), 4)
    assert torch.equal(batch.relevance, torch.tensor(counted))
    assert batch.other is batch.weight is None


def test_relevance_follows_crop_and_flip(dataset):
    """Images that show their own mask must still show it after augmentation."""
    drawn = ImageSet(dataset.train.mask[:, None].expand(-1, 3, -1, -1) * 255, dataset.train.labels, dataset.train.mask)
    marked = Dataset(drawn, dataset.test, dataset.classes, (0.0,) * 3, (1.0,) * 3)
    for batch in train_batches(marked, Augment(crop=3, flip=True), 10, 4, 0, 0):
        shown = batch.images[:, 0].round().to(torch.uint8)
        assert torch.equal(data.relevance(shown, 4), batch.relevance)


def test_without_a_mask_there_is_no_relevance(dataset):
    bare = ImageSet(dataset.train.images, dataset.train.labels)
    unknown = Dataset(bare, bare, dataset.classes, dataset.mean, dataset.std)
    assert next(train_batches(unknown, EVERYTHING, 8, 4, 0, 0)).relevance is None
    assert next(test_batches(unknown, 8, 4)).relevance is None


def test_test_batches_are_all_images_in_order(dataset):
    batches = list(test_batches(dataset, 8, 4))
    assert [len(batch.labels) for batch in batches] == [8, 8, 4]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(20))
    again = torch.cat([batch.images for batch in test_batches(dataset, 20, 4)])
    assert torch.equal(torch.cat([batch.images for batch in batches]), again)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_batches(dataset):
    spec = Augment(crop=2, flip=True, cutout=4, mixup=0.4, cutmix=1.0)
    here, there = (next(train_batches(part, spec, 8, 4, 0, 0)) for part in (dataset, dataset.to("cuda")))
    assert there.images.is_cuda
    for a, b in zip(fields(here), fields(there), strict=True):
        torch.testing.assert_close(a, b.cpu())


@pytest.mark.parametrize(
    ("how", "pil"), [("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)]
)
@pytest.mark.parametrize("side", [8, 16, 40])
def test_images_brought_to_another_size_are_those_of_pil(dataset, side, how, pil):
    sized = replace(dataset, image_size=side, interpolation=how)
    (batch,) = test_batches(sized, 20, 4)
    for i, image in enumerate(dataset.test.images):
        wanted = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((side, side), pil))
        mean, std = (torch.tensor(each)[:, None, None] for each in (dataset.mean, dataset.std))
        found = (batch.images[i] * std + mean) * 255
        assert (found - torch.from_numpy(wanted.copy()).permute(2, 0, 1)).abs().max() < 2.01  # rounded twice
    assert batch.relevance.shape == (20, (side // 4) ** 2)
    fine = dataset.test.mask.repeat_interleave(side, 1).repeat_interleave(side, 2).double()  # 16 * side pixels a side
    exact = fine.unflatten(1, (side // 4, -1)).unflatten(3, (side // 4, -1)).mean(dim=(2, 4)).flatten(1)
    assert torch.allclose(batch.relevance.double(), exact, atol=1e-6)


def test_training_images_brought_to_another_size_are_augmented_before(dataset):
    moved = Augment(crop=2, flip=True)
    sized = replace(dataset, image_size=32)
    for small, large in zip(
        train_batches(dataset, moved, 8, 4, 0, 0), train_batches(sized, moved, 8, 8, 0, 0), strict=True
    ):
        assert torch.equal(small.index, large.index)
        assert large.images.shape[-1] == 32
        assert torch.equal(small.relevance, large.relevance)  # twice the size, twice the patch
        again = large.images.unflatten(2, (16, 2)).unflatten(4, (16, 2)).mean(dim=(3, 5))
        both = torch.stack([again.flatten(), small.images.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.95
    (batch,) = list(train_batches(sized, Augment(crop=0, flip=False, cutout=32), 50, 8, 0, 0))
    assert (
        (batch.images == 0).any(dim=3).any(dim=2).all()
    )  # a hole is as large as it is said, in pixels that the model sees


@pytest.mark.parametrize("grid", [2, 4, 16])
def test_tiles_of_all_images_are_moved_alike_and_masks_with_them(dataset, grid):
    order = torch.randperm(grid * grid, generator=torch.Generator().manual_seed(3))
    moved = replace(dataset, tiles=order)
    (plain,), (found,) = (test_batches(each, 20, 16 // grid) for each in (dataset, moved))
    edge = 16 // grid
    for i, source in enumerate(order.tolist()):
        (y, x), (from_y, from_x) = divmod(i, grid), divmod(source, grid)
        here = found.images[:, :, y * edge : (y + 1) * edge, x * edge : (x + 1) * edge]
        there = plain.images[:, :, from_y * edge : (from_y + 1) * edge, from_x * edge : (from_x + 1) * edge]
        assert torch.equal(here, there)
    assert torch.equal(found.relevance, plain.relevance[:, order])
    flipped = [next(train_batches(each, Augment(crop=0, flip=True), 8, 4, 0, 0)) for each in (dataset, moved)]
    again = data.shuffled((flipped[1].images * 1000).int(), order.argsort())
    assert torch.equal(again, (flipped[0].images * 1000).int())  # moved after the flip
