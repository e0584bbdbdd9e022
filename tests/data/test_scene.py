import os
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import write_images

from tokenprune import data
from tokenprune.data import scene
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import Data

BIRDS, PLANES = 30, 20  # for training, and as many for test


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """A cifar10.npz of red images and a cifar100.npz whose images are as green as their class number says."""
    folder = tmp_path_factory.mktemp("photographs")
    labels = np.array([0] * PLANES + [2] * BIRDS + [1] * 10)
    red = np.zeros((len(labels), 32, 32, 3), np.uint8)
    red[..., 0] = 200
    write_images(folder / "cifar10.npz", red, labels, ["airplane", "automobile", "bird"])
    fine = np.repeat(np.arange(100), 2)
    green = np.zeros((200, 32, 32, 3), np.uint8)
    green[..., 1] = fine[:, None, None]
    blue = green.copy()
    blue[..., 2] = 99  # marks the test half
    np.savez(folder / "cifar100.npz", train_images=green, train_labels=fine, test_images=blue, test_labels=fine)
    return folder


def load(folder: Path, **keys) -> data.Dataset:
    return data.load(Data(source="cifar10", **keys), folder)


def test_relevant_area_is_exactly_the_pasted_square(photographs):
    found = load(photographs, scene="composite")
    share = found.train.relevance(4).mean(dim=1)
    assert torch.equal(share, torch.full_like(share, 26**2 / 32**2))
    marked = found.train.mask.bool()
    red = found.train.images[:, 0]
    assert (red[marked] == 200).all()  # a constant image stays constant when it is shrunk
    assert (red[~marked] == 0).all()


def test_plants_stand_behind_and_each_half_has_its_own(photographs):
    found = load(photographs, scene="composite")
    for part, blue in ((found.train, 0), (found.test, 99)):
        outside = ~part.mask.bool()
        assert set(part.images[:, 1][outside].tolist()) <= set(scene.PLANTS.values())
        assert set(part.images[:, 2][outside].tolist()) == {blue}


def test_places_are_uniform_over_all_that_fit():
    top, left = scene.places(49_000, 32, 26, np.random.default_rng(0))
    counts = np.bincount(top * 7 + left, minlength=49)
    assert len(counts) == 49
    assert ((counts - 1000) ** 2 / 1000).sum() < 93  # chi-square, 48 degrees of freedom: p > 1e-4


def test_scenes_follow_the_seed_and_differ_between_training_and_test(photographs):
    first, again, other = (load(photographs, scene="composite", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.test.mask, again.test.mask)
    assert not torch.equal(first.train.mask, other.train.mask)
    assert not torch.equal(first.train.mask, first.test.mask)


def test_a_full_size_foreground_hides_the_background(photographs):
    found = load(photographs, scene="composite", foreground_size=32)
    assert torch.equal(found.train.images, load(photographs).train.images)
    assert found.train.mask.min() == 1


def test_other_backgrounds(photographs):
    zeros = load(photographs, scene="composite", background="zeros").train
    assert zeros.images[:, 1:].max() == 0
    noise = load(photographs, scene="composite", background="noise").train
    pixels = noise.images.permute(0, 2, 3, 1)[~noise.mask.bool()].float()
    assert pixels.mean().item() == pytest.approx(127.5, abs=1.0)


def test_backgrounds_from_a_folder(photographs, tmp_path):
    from PIL import Image

    for i in range(5):
        Image.new("RGB", (300, 200 + i), (0, 50 + i, 0)).save(tmp_path / f"{i}.png")
    Image.new("L", (10, 9), 50).save(tmp_path / "3.png")  # grey, and smaller than the images
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._1.PNG").write_bytes(b"\x00\x05\x16\x07")  # macOS keeps there what it knows of 1.PNG
    (tmp_path / "album.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    found = load(photographs, scene="composite", background=str(tmp_path))
    for part, greens in ((found.train, {50, 51, 52}), (found.test, {54})):
        assert set(part.images[:, 1][~part.mask.bool()].tolist()) == greens
    again = load(photographs, scene="composite", background=str(tmp_path))
    assert torch.equal(found.train.images, again.train.images)


@pytest.mark.parametrize("kind", ["absent", "empty", "broken"])
def test_a_folder_without_usable_images(photographs, tmp_path, kind):
    folder = tmp_path / kind
    if kind != "absent":
        folder.mkdir()
    if kind == "broken":
        (folder / "a.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(TokenpruneError) as caught:
        load(photographs, scene="composite", background=str(folder))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_cifar100_the_other_backgrounds_are_named(photographs, tmp_path):
    (tmp_path / "cifar10.npz").symlink_to(photographs / "cifar10.npz")
    with pytest.raises(TokenpruneError, match=r"tokenprune download cifar100.*background=zeros or noise"):
        load(tmp_path, scene="composite")


@pytest.mark.parametrize(("share", "birds", "planes"), [(0.9, 27, 2), (1.0, 30, 0), (0.5, 15, 10), (0.25, 8, 15)])
def test_spurious_counts_are_exact(photographs, share, birds, planes):
    found = load(photographs, scene="spurious", spurious_train=share)
    assert found.classes == ("airplane", "bird")
    assert found.group_names == ("airplane, scenery", "airplane, plants", "bird, scenery", "bird, plants")
    expected = [PLANES - planes, planes, BIRDS - birds, birds]
    assert found.train.groups.bincount(minlength=4).tolist() == expected
    assert found.test.groups.bincount(minlength=4).tolist() == [10, 10, 15, 15]
    assert torch.equal(found.train.groups // 2, found.train.labels)


def test_spurious_groups_say_what_stands_behind(photographs):
    train = load(photographs, scene="spurious").train
    for image, mask, group in zip(train.images, train.mask, train.groups.tolist(), strict=True):
        kinds = scene.PLANTS if group % 2 else scene.SCENERY
        behind = set(image[1][mask == 0].tolist())
        assert len(behind) == 1
        assert behind <= set(kinds.values())


def test_spurious_needs_birds_airplanes_and_plants(photographs):
    with pytest.raises(UsageError, match="birds and airplanes"):
        data.load(Data(source=str(photographs / "cifar100.npz"), scene="spurious"), photographs)
    with pytest.raises(UsageError, match="spurious takes plants"):
        load(photographs, scene="spurious", background="zeros")


def test_a_foreground_larger_than_the_image(tmp_path):
    images, labels = np.zeros((2, 16, 16, 3), np.uint8), np.array([0, 1])
    path = tmp_path / "small.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    with pytest.raises(UsageError, match=r"data.foreground_size: 26 is more than the image side 16"):
        data.load(Data(source=str(path), scene="composite", background="zeros"))


@pytest.mark.data
def test_plants_are_found_by_name_in_cifar100(data_dir):
    from tokenprune.data.archive import read_npz

    arrays = read_npz(data_dir / "cifar100.npz")
    for kinds in (scene.PLANTS, scene.SCENERY):
        assert {name: arrays.classes.index(name) for name in kinds} == kinds
    with np.load(data_dir / "cifar100.npz") as stored:
        coarse = stored["coarse_classes"][
            np.unique(stored["train_coarse_labels"][np.isin(arrays.train_labels, list(scene.PLANTS.values()))])
        ]
    assert set(coarse) == {"flowers", "fruit_and_vegetables", "trees"}
