"""Noise against closed forms: its moments, how many tokens it takes, what stays."""

import numpy as np
import pytest
import torch
from factories import write_images

from tokenprune import data
from tokenprune.data import ImageSet, noise
from tokenprune.errors import UsageError
from tokenprune.recipe import Data


def grey(n: int = 400, mask: torch.Tensor | None = None) -> ImageSet:
    return ImageSet(torch.full((n, 3, 32, 32), 128, dtype=torch.uint8), torch.zeros(n, dtype=torch.long), mask)


@pytest.mark.parametrize("sd", [0.02, 0.1])
def test_noise_on_grey_has_the_standard_deviation_asked_for(sd):
    changed = noise.noisy(Data(source="cifar10", noise=sd), "train", grey())
    pixels = changed.images.double()
    assert pixels.mean().item() == pytest.approx(128, abs=0.2)
    assert pixels.std().item() == pytest.approx(255 * sd, rel=0.01)


def test_noise_is_clipped_and_not_the_same_in_test():
    bright = ImageSet(torch.full((2, 3, 32, 32), 250, dtype=torch.uint8), torch.zeros(2, dtype=torch.long))
    spec = Data(source="cifar10", noise=1.0)
    train, test = noise.noisy(spec, "train", bright), noise.noisy(spec, "test", bright)
    assert train.images.max() == 255
    assert train.images.min() == 0
    assert not torch.equal(train.images, test.images)
    assert torch.equal(train.images, noise.noisy(spec, "train", bright).images)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_every_image_loses_the_same_number_of_whole_tokens(share):
    before = grey()
    after = noise.with_noise_tokens(Data(source="cifar10", noise_tokens=share), "train", before)
    relevance = after.relevance(4)
    assert relevance.sum(dim=1).tolist() == [64 - round(64 * share)] * 400
    assert set(relevance.unique().tolist()) == {0.0, 1.0}
    kept = after.mask.bool()[:, None].expand(-1, 3, -1, -1)
    assert (after.images[kept] == 128).all()
    replaced = after.images[~kept].double()  # uniform on 0..255: mean 127.5, variance (256^2 - 1) / 12
    assert replaced.mean().item() == pytest.approx(127.5, abs=1)
    assert replaced.var().item() == pytest.approx((256**2 - 1) / 12, rel=0.02)
    assert before.mask is None
    assert (before.images == 128).all()


def test_every_tile_is_as_likely():
    spec = Data(source="cifar10", noise_tokens=0.25)
    counts = 4000 - noise.with_noise_tokens(spec, "train", grey(4000)).relevance(4).sum(dim=0)
    expected = 4000 * 0.25
    chi_square = ((counts - expected) ** 2 / (expected * 0.75)).sum().item() * 63 / 64
    assert chi_square < 103.4  # the 99.9 % point of chi-square with 63 degrees of freedom


def test_noise_in_a_composite_takes_from_what_was_relevant():
    mask = torch.zeros(50, 32, 32, dtype=torch.uint8)
    mask[:, :16] = 1
    after = noise.with_noise_tokens(Data(source="cifar10", noise_tokens=0.5), "test", grey(50, mask))
    assert (after.mask[:, 16:] == 0).all()
    assert after.mask.float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_tiles_that_do_not_fill_the_image_are_refused():
    with pytest.raises(UsageError, match=r"data\.noise_tile: 5 does not divide the image side 32"):
        noise.with_noise_tokens(Data(source="cifar10", noise_tokens=0.5, noise_tile=5), "train", grey(2))


@pytest.fixture
def hundred(tmp_path):
    """A cifar100.npz whose images say their class by brightness, two of each."""
    from tokenprune.data import scene

    names = [f"thing{i}" for i in range(100)]
    for name, label in scene.PLANTS.items():
        names[label] = name
    labels = np.repeat(np.arange(100), 2)
    images = np.broadcast_to(labels[:, None, None, None], (200, 32, 32, 3)).astype(np.uint8)
    write_images(tmp_path / "cifar100.npz", images, labels, names)
    return tmp_path


def test_excluded_classes_are_gone_and_the_others_counted_anew(hundred):
    found = data.load(Data(source="cifar100", exclude=("plants", "thing1")), hundred)
    assert len(found.classes) == 84
    assert not {"rose", "oak_tree", "thing1"} & set(found.classes)
    assert sorted(found.train.labels.unique().tolist()) == list(range(84))
    names = data.load(Data(source="cifar100"), hundred).classes
    for image, label in zip(found.train.images, found.train.labels, strict=True):
        assert names[int(image[0, 0, 0])] == found.classes[int(label)]


@pytest.mark.parametrize(
    ("names", "said"),
    [(("thing",), "unknown class 'thing': did you mean 'thing"), (tuple(f"thing{i}" for i in (1, 2)), None)],
)
def test_an_unknown_class_is_named(hundred, names, said):
    spec = Data(source="cifar100", exclude=names)
    if said is None:
        assert len(data.load(spec, hundred).classes) == 98
        return
    with pytest.raises(UsageError, match=said):
        data.load(spec, hundred)


def test_two_classes_must_be_left(tmp_path):
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1])
    write_images(tmp_path / "two.npz", images, labels, ["a", "b"])
    with pytest.raises(
        UsageError, match=r"data\.exclude: plants are classes of CIFAR-100, which this data set does not"
    ):
        data.load(Data(source=str(tmp_path / "two.npz"), exclude=("plants",)))
    with pytest.raises(UsageError, match=r"data\.exclude: leaves 1 of 2 classes"):
        data.load(Data(source=str(tmp_path / "two.npz"), exclude=("a",)))
