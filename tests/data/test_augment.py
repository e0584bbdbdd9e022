import numpy as np
import pytest
import reference_data
import torch

from tokenprune.data import augment, randaugment
from tokenprune.recipe import Augment

SIDE = 32


def pictures(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random images, as photographs are, and the mask of a random square."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator) * 255
    images = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 255).to(torch.uint8)
    mask = torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)
    for i, corner in enumerate(torch.randint(0, 7, (count,), generator=generator).tolist()):
        mask[i, corner : corner + 26, 6 - corner : 32 - corner] = 1
    return images, mask


@pytest.mark.parametrize(
    "spec",
    [
        Augment(crop=4, flip=True),
        Augment(crop=0, flip=True),
        Augment(crop=6, flip=False),
        Augment(crop=4, flip=True, randaugment_ops=2, randaugment_magnitude=9),
        Augment(crop=0, flip=False, randaugment_ops=3, randaugment_magnitude=17),
    ],
)
def test_a_batch_equals_a_loop_over_its_images(spec):
    images, mask = pictures(96)
    draws = augment.draw(spec, len(images), SIDE, np.random.default_rng(1))
    found, marked = augment.apply(spec, images, mask, draws)
    expected, expected_mask = reference_data.augment(spec, images, mask, draws)
    assert torch.equal(found, expected)
    assert torch.equal(marked, expected_mask)
    assert not torch.equal(found, images)


@pytest.mark.parametrize("operation", range(14), ids=[kind.name for kind in randaugment.OPERATIONS])
@pytest.mark.parametrize("magnitude", [1, 9, 30])
def test_every_operation_equals_torchvisions(operation, magnitude):
    images, mask = pictures(6)
    negative = np.arange(6) % 2 == 1
    found, marked = randaugment.apply(images, mask, np.full(6, operation), negative, magnitude)
    for i in range(6):
        expected, expected_mask = reference_data.rand_augment(
            images[i], mask[i][None], operation, bool(negative[i]), magnitude
        )
        assert torch.equal(found[i], expected)
        assert torch.equal(marked[i], expected_mask[0])


def test_augmenting_leaves_the_data_set_alone():
    images, mask = pictures(32)
    before = images.clone(), mask.clone()
    spec = Augment(crop=0, flip=False, randaugment_ops=2)
    augment.apply(spec, images, mask, augment.draw(spec, 32, SIDE, np.random.default_rng(0)))
    assert torch.equal(images, before[0])
    assert torch.equal(mask, before[1])


def test_images_draw_apart_and_every_place_occurs():
    draws = augment.draw(Augment(crop=4, flip=True), 8100, SIDE, np.random.default_rng(0))
    counts = (draws.down * 9 + draws.right).bincount(minlength=81)
    assert len(counts) == 81
    assert ((counts - 100) ** 2 / 100).sum() < 137  # chi-square, 80 degrees of freedom: p > 1e-4
    assert abs(draws.flip.float().mean() - 0.5) < 5 * 0.5 / 8100**0.5


def test_nothing_asked_for_changes_nothing():
    spec = Augment(crop=0, flip=False)
    images, mask = pictures(4)
    draws = augment.draw(spec, 4, SIDE, np.random.default_rng(0))
    assert draws == augment.Draws()
    assert torch.equal(augment.apply(spec, images, mask, draws)[0], images)


@pytest.mark.parametrize("side", [1, 8, 9])
def test_cutout_sets_a_square_to_the_mean(side):
    spec = Augment(crop=0, flip=False, cutout=side)
    draws = augment.draw(spec, 50, SIDE, np.random.default_rng(0))
    found = augment.cutout(torch.ones(50, 3, SIDE, SIDE), spec, draws)
    for image, (row, column) in zip(found, draws.hole.tolist(), strict=True):
        expected = torch.ones(SIDE, SIDE)
        top, left = row - side // 2, column - side // 2
        expected[max(top, 0) : top + side, max(left, 0) : left + side] = 0
        assert torch.equal(image, expected.expand(3, -1, -1))


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixing_equals_a_loop_and_weights_are_shares_of_the_image(mixup, cutmix):
    spec = Augment(mixup=mixup, cutmix=cutmix)
    draws = augment.draw(spec, 64, SIDE, np.random.default_rng(0))
    images = torch.randn(64, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64) % 7
    found, _ = augment.mix(images, None, draws)
    expected, targets = reference_data.mixed(images, labels, 7, draws)
    torch.testing.assert_close(found, expected)
    own = torch.nn.functional.one_hot(labels, 7) * draws.weight[:, None]
    other = torch.nn.functional.one_hot(labels[draws.partner], 7) * (1 - draws.weight[:, None])
    torch.testing.assert_close(own + other, targets)
    share = draws.cut.float().mean().item()
    assert share == {(0.8, 0.0): 0.0, (0.0, 1.0): 1.0}.get((mixup, cutmix), pytest.approx(0.5, abs=0.25))
    assert draws.weight.unique().numel() > 32


def test_cutmix_brings_its_partners_mask_and_mixup_keeps_its_own():
    images, mask = torch.zeros(64, 3, SIDE, SIDE), pictures(64)[1]
    cut = augment.draw(Augment(cutmix=1.0), 64, SIDE, np.random.default_rng(0))
    _, found = augment.mix(images, mask, cut)
    for i, (top, bottom, left, right) in enumerate(cut.box.tolist()):
        expected = mask[i].clone()
        expected[top:bottom, left:right] = mask[cut.partner[i], top:bottom, left:right]
        assert torch.equal(found[i], expected)
    _, kept = augment.mix(images, mask, augment.draw(Augment(mixup=1.0), 64, SIDE, np.random.default_rng(0)))
    assert torch.equal(kept, mask)


def test_cutmix_areas_follow_the_beta_distribution():
    """Area = 1 - lambda before the box is cut off at the border; Beta(1, 1) is uniform."""
    draws = augment.draw(Augment(cutmix=1.0), 20_000, 224, np.random.default_rng(0))
    top, bottom, left, right = draws.box.T
    whole = (top > 0) & (bottom < 224) & (left > 0) & (right < 224)
    side = (bottom - top).float() / 224
    assert torch.equal(bottom[whole] - top[whole], right[whole] - left[whole])
    # A box of side s lies inside with chance about (1 - s)^2, so E[s^2 | inside] with density 2s(1 - s)^2 is 1/5.
    assert (side[whole] ** 2).mean().item() == pytest.approx(0.2, abs=0.02)
