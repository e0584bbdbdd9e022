"""Folders of images: layouts, timm's own evaluation transform as the reference, masks, damaged files, identity."""

import errno
import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from tokenprune import data
from tokenprune.data import decode, folders
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.recipe import Data, Recipe

RNG = np.random.default_rng(0)


def photograph(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    pixels = RNG.integers(0, 256, (size[1], size[0], channels), np.uint8)
    Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode).save(path)
    return pixels


def spec(root: Path, **keys) -> Data:
    return Data(source=str(root), image_size=keys.pop("image_size", 16), **keys)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten photographs of each of two classes."""
    for name in ("cat", "dog"):
        for i in range(10):
            photograph(tmp_path / "pets" / name / f"{i}.png", (20 + 3 * i, 40 - i))
    return tmp_path / "pets"


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("size", "crop"), [(16, 1.0), (14, 0.9), (24, 0.875)])
def test_pixels_are_those_of_timms_evaluation(root: Path, size: int, crop: float, interpolation: str) -> None:
    for name, mode in (("grey.png", "L"), ("clear.png", "RGBA"), ("dot.png", "RGB")):
        photograph(root / "cat" / name, (1, 1) if name == "dot.png" else (33, 51), mode)
    found = spec(root, image_size=size, crop=crop, interpolation=interpolation)
    listing = folders.listed(found)
    images = data.load(found)
    transform = create_transform(
        size, is_training=False, crop_pct=crop, interpolation=interpolation, mean=(0, 0, 0), std=(1, 1, 1)
    )
    for part, of_part in (("train", images.train), ("test", images.test)):
        assert of_part.labels.tolist() == [label for _, label in listing.parts[part]]
        for (name, _), pixels in zip(listing.parts[part], of_part.images, strict=True):
            expected = transform(Image.open(root / name).convert("RGB"))
            assert torch.equal(pixels, (255 * expected).round().to(torch.uint8)), name


def test_a_photograph_lies_upright(root: Path) -> None:
    pixels = photograph(root / "cat" / "turned.png", (16, 16))
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    picture.save(root / "cat" / "turned.png", exif=exif)
    assert np.array_equal(data.picture(root / "cat" / "turned.png", 16, spec(root)), np.rot90(pixels, k=-1))


def test_sixteen_bits_are_the_upper_eight(root: Path) -> None:
    deep = RNG.integers(0, 65536, (16, 16)).astype(np.uint16)
    Image.fromarray(deep).save(root / "cat" / "deep.png")
    found = data.picture(root / "cat" / "deep.png", 16, spec(root))
    assert np.array_equal(found, np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_a_share_of_each_class_is_held_out(root: Path) -> None:
    found = data.load(spec(root))
    assert found.classes == ("cat", "dog")
    assert found.train.labels.bincount().tolist() == [8, 8]
    assert found.test.labels.bincount().tolist() == [2, 2]
    listing = folders.listed(spec(root))
    names = [{name for name, _ in listing.parts[part]} for part in ("train", "test")]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 20
    assert folders.listed(spec(root, seed=1)).parts != listing.parts
    assert data.load(spec(root, held_out=0.5)).test.labels.bincount().tolist() == [5, 5]
    assert data.load(spec(root, train_size=6, test_size=2)).train.labels.bincount().tolist() == [3, 3]


@pytest.mark.parametrize("tests", ["test", "val", "validation"])
def test_folders_of_training_and_test_images(tmp_path: Path, tests: str) -> None:
    for part, count in (("train", 3), (tests, 2)):
        for name in ("a", "b"):
            for i in range(count):
                photograph(tmp_path / part / name / f"{i}.jpg")
    (tmp_path / tests / ".hidden").mkdir()
    photograph(tmp_path / "train" / "a" / "._0.jpg")
    found = data.load(spec(tmp_path))
    assert (found.train.labels.tolist(), found.test.labels.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1])


def test_masks_say_what_is_relevant(root: Path) -> None:
    """A mask of the left half; images are wider than high, so that the square's centre lies on its edge."""
    for name, _ in chain.from_iterable(folders.listed(spec(root)).parts.values()):
        photograph(root / name, (40, 20))
        mask = np.zeros((20, 40), np.uint8)
        mask[:, :20] = 255
        path = (root / "relevance" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    found = data.load(spec(root))
    assert found.classes == ("cat", "dog")
    expected = torch.zeros(16, 16, dtype=torch.uint8)
    expected[:, :8] = 1
    assert all(torch.equal(mask, expected) for mask in (*found.train.mask, *found.test.mask))
    assert found.test.relevance(8).tolist() == [[1, 0, 1, 0]] * 4
    path = root / "relevance" / "cat" / "3.png"
    Image.fromarray(np.ones((20, 40), np.uint8)).save(path)
    with pytest.raises(TokenpruneError, match=r"3\.png: its lightest pixel is dark; relevant pixels are white"):
        data.load(spec(root))
    path.unlink()
    with pytest.raises(TokenpruneError, match=r"relevance/cat/3\.png: no mask that can be read"):
        data.load(spec(root))


def test_broken_files_are_named_and_left_out(root: Path) -> None:
    (root / "cat" / "1.png").write_bytes(b"no image")
    (root / "cat" / "gone.png").symlink_to("nothing.png")
    (root / "cat" / "folder.png").mkdir()
    whole = (root / "dog" / "2.png").read_bytes()
    (root / "dog" / "2.png").write_bytes(whole[: len(whole) // 2])
    found = data.load(spec(root))
    assert sorted(found.provenance["unread"]) == ["cat/1.png", "cat/gone.png", "dog/2.png"]
    assert len(found.train) + len(found.test) == 18
    for path in root.rglob("*.png"):
        if path.is_file():
            path.write_bytes(b"no image")
    with pytest.raises(TokenpruneError, match="none of its 17 train images can be read"):
        data.load(spec(root))


def test_the_bytes_decide_the_setting(root: Path, tmp_path: Path) -> None:
    def setting(where: Path) -> str:
        return Recipe(data=spec(where)).setting()

    before, sha256 = setting(root), data.provenance(spec(root))["sha256"]
    copy = tmp_path / "copy"
    os.system(f"cp -r {root} {copy}")
    assert (setting(copy), data.provenance(spec(copy))["sha256"]) == (before, sha256)
    photograph(root / "cat" / "0.png", (21, 41))
    assert setting(root) != before
    assert data.provenance(spec(root))["sha256"] != sha256


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda root: [path.unlink() for path in root.rglob("*.png")], "no train images"),
        (lambda root: (root / "cat").rename(root / "train"), "has a folder train, and none of test, val, validation"),
        (lambda root: os.system(f"rm -r {root}/cat"), "1 class folder; images lie in a folder per class"),
        (lambda root: os.system(f"rm -r {root}"), "cannot be read: No such file or directory"),
        (
            lambda root: (
                (root / "train").mkdir(),
                (root / "test").mkdir(),
                (root / "cat").rename(root / "train" / "cat"),
                (root / "dog").rename(root / "test" / "dog"),
            ),
            "class 'dog' is not one of training",
        ),
    ],
)
def test_what_is_no_data_set_is_said_in_a_line(root: Path, change, says: str) -> None:
    wanted = spec(root)
    change(root)
    with pytest.raises(TokenpruneError, match=says) as refused:
        data.load(wanted)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(3, 900), (900, 3), (1, 400), (37, 2000), (2000, 37)])
def test_of_elongated_pictures_no_more_is_resized_than_the_square_needs(
    tmp_path: Path, size: tuple[int, int], interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """timm's pixels but for rounding, of a picture that is smooth: in which order axes are resized shows in noise."""
    x, y = np.meshgrid(*(np.linspace(0, 9, side) for side in size))
    pixels = 120 + 60 * np.stack([np.sin(x + y), np.cos(x) * np.sin(y), np.sin(3 * x)], axis=2)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "long.png")
    transform = create_transform(
        24, is_training=False, crop_pct=0.9, interpolation=interpolation, mean=(0, 0, 0), std=(1, 1, 1)
    )
    expected = (255 * transform(Image.open(tmp_path / "long.png"))).round().permute(1, 2, 0).numpy()
    sizes, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *rest: sizes.append(tuple(size)) or resize(self, size, *rest)
    )
    found = data.picture(tmp_path / "long.png", 24, Data(source="./", crop=0.9, interpolation=interpolation))
    assert np.abs(found - expected).max() <= 2
    assert sizes == [(26, 24) if size[0] < size[1] else (24, 26)]


def test_masks_of_elongated_pictures_are_cut_as_they_are(root: Path) -> None:
    """The mask is white where the picture is, so that both say the same wherever the square is."""
    bright = np.zeros((4, 200), np.uint8)
    bright[:, 100:] = 255
    for name, _ in chain.from_iterable(folders.listed(spec(root)).parts.values()):
        Image.fromarray(np.stack([bright] * 3, axis=2)).save(root / name)
        path = root / "relevance" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bright).save(path)
    found = data.load(spec(root)).train
    assert torch.equal(found.mask, (found.images[:, 0] > 127).to(torch.uint8))


def test_excluded_classes_are_not_even_read(root: Path) -> None:
    for i in range(5):
        photograph(root / "bird" / f"{i}.png")
    (root / "bird" / "broken.png").write_bytes(b"no image")
    found, without = data.load(spec(root, exclude=("bird",))), spec(root)
    assert (found.classes, found.provenance.get("unread")) == (("cat", "dog"), None)
    os.system(f"rm -r {root}/bird")
    assert found.provenance == data.load(without).provenance
    with pytest.raises(UsageError, match=r"data\.exclude: unknown class 'bird'"):
        data.load(spec(root, exclude=("bird",)))


def test_its_size_is_asked_for(root: Path) -> None:
    with pytest.raises(UsageError, match=r"^data\.image_size: images of a folder need it"):
        data.load(Data(source=str(root)))
    with pytest.raises(ValueError, match=r"image_size: patterns\.image_size says"):
        Data(image_size=16)
    with pytest.raises(ValueError, match="crop: only for a folder of images"):
        Data(source="cifar10", crop=0.9)
    with pytest.raises(UsageError, match=r"data\.train_size: 99 is more than the 16 training images"):
        data.load(spec(root, train_size=99))


def test_a_validation_folder_alone_says_where_to_point(root: Path) -> None:
    (root / "relevance").rename(root.parent / "gone") if (root / "relevance").exists() else None
    inner = root / "val"
    folders_of = [each for each in root.iterdir() if each.is_dir()]
    inner.mkdir()
    for each in folders_of:
        each.rename(inner / each.name)
    with pytest.raises(TokenpruneError, match="has a folder val and none of training images"):
        data.load(spec(root))
    assert data.load(spec(inner)).classes == ("cat", "dog")


def test_a_class_folder_whose_name_is_not_utf8_is_named(root: Path) -> None:
    os.makedirs(os.fsencode(root) + b"/b\xff")
    with pytest.raises(TokenpruneError, match="a name that is not UTF-8") as refused:
        data.load(spec(root))
    str(refused.value).encode()


def test_a_relative_path_says_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TokenpruneError, match=r"nowhere: cannot be read \(a path from .*\)"):
        data.load(Data(source="nowhere/", image_size=16))


def test_what_lies_beside_images_is_named(root: Path) -> None:
    photograph(root / "cat" / "deep" / "1.png")
    for name in ("cat/notes.txt", "loose.jpg", "cat/.hidden", "README"):
        (root / name).write_bytes(b"x")
    assert data.load(spec(root)).provenance["passed"] == ["README", "cat/deep", "cat/notes.txt", "loose.jpg"]


def test_a_disk_that_fails_is_no_broken_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(decode.files, "opened", fails)
    with pytest.raises(TokenpruneError, match="cannot be read now: Input/output error"):
        decode.picture(root / "cat" / "0.png", 8, spec(root))
