from pathlib import Path

import numpy as np
import pytest
import torch

from tokenprune import data
from tokenprune.data.sources import balanced, channel_statistics
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.images import present
from tokenprune.recipe import Data
from tokenprune.recipe.images import Patterns


def save(path: Path, per_class: int = 6, side: int = 8, classes: tuple[str, ...] = ("a", "b", "c"), **more) -> Path:
    """Random images, `per_class` of each class for training and as many for test."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(len(classes)), per_class)
    images = rng.integers(0, 256, (2, len(labels), side, side, 3), dtype=np.uint8)
    np.savez(
        path,
        train_images=images[0],
        train_labels=labels,
        test_images=images[1],
        test_labels=labels,
        classes=np.array(classes),
        **more,
    )
    return path


def test_folder_is_the_one_given_else_of_the_environment_else_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKENPRUNE_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data.folder(tmp_path) == tmp_path
    assert data.folder() == tmp_path / "named"
    monkeypatch.delenv("TOKENPRUNE_DATA")
    assert data.folder() == tmp_path / "cache" / "tokenprune"


@pytest.mark.parametrize("named", [None, "~/images"])
def test_without_a_home_the_options_are_named(monkeypatch, named):
    def nobody(*_):
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "TOKENPRUNE_DATA"):
        monkeypatch.delenv(name, raising=False)
    if named:
        monkeypatch.setenv("TOKENPRUNE_DATA", named)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(TokenpruneError, match=r"no home folder to look in; --data-dir or \$TOKENPRUNE_DATA names"):
        data.folder()


def test_what_a_folder_holds_is_named(tmp_path):
    assert present("svhn", tmp_path) is None
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).touch()
    assert present("svhn", tmp_path) == "train_32x32.mat, test_32x32.mat"
    (tmp_path / "svhn.npz").touch()
    assert present("svhn", tmp_path) == "svhn.npz"


def test_an_npz_by_path_arrives_channels_first(tmp_path):
    path = save(tmp_path / "mine.npz")
    found = data.load(Data(source=str(path)))
    with np.load(path) as stored:
        assert torch.equal(found.train.images, torch.from_numpy(stored["train_images"]).permute(0, 3, 1, 2))
        assert found.test.labels.tolist() == stored["test_labels"].tolist()
        pixels = stored["train_images"].reshape(-1, 3) / 255
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-6)
    assert found.classes == ("a", "b", "c")
    assert found.provenance["path"] == "mine.npz"
    assert found.provenance["official"] is None


def test_a_prepared_file_comes_before_anything_else(tmp_path):
    save(tmp_path / "cifar10.npz")
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert len(data.load(Data(source="cifar10"), tmp_path).train) == 18


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "svhn"])
def test_without_images_one_message_names_folder_command_and_patterns(tmp_path, source):
    with pytest.raises(TokenpruneError) as caught:
        data.load(Data(source=source), tmp_path)
    message = str(caught.value)
    assert caught.value.exit_status == 1
    assert "\n" not in message
    for part in (str(tmp_path), f"`tokenprune download {source}", "data.source: patterns"):
        assert part in message


def test_torchvision_files_that_fail_their_checksum_are_not_unpickled(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (folder / name).write_bytes(b"cos\nabort\n(tR.")  # a pickle that would end the process
    with pytest.raises(
        TokenpruneError, match=r"cifar-10-batches-py: there, but damaged, .*tokenprune download cifar10"
    ):
        data.load(Data(source="cifar10"), tmp_path)


def test_a_restored_test_image_is_noted_with_its_count(tmp_path):
    exact = np.ones(18, bool)
    exact[:2] = False
    path = save(tmp_path / "cifar10.npz", test_exact=exact)
    provenance = data.load(Data(source="cifar10"), path.parent).provenance
    assert provenance["note"] == "CIFAR-10, 2 of 18 test images JPEG-restored"
    assert provenance["official"] is False


def test_subsets_are_balanced_and_grow_within_each_other(tmp_path):
    path = str(save(tmp_path / "mine.npz", per_class=20))
    found = data.load(Data(source=path, train_size=31, test_size=6))
    assert sorted(found.train.labels.bincount().tolist()) == [10, 10, 11]
    assert found.test.labels.bincount().tolist() == [2, 2, 2]
    labels = torch.arange(60) % 3
    small, large = balanced(labels, 12, [0]), balanced(labels, 30, [0])
    assert set(small.tolist()) <= set(large.tolist())
    assert not torch.equal(small, balanced(labels, 12, [1]))


def test_a_rare_class_gives_all_it_has():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 50)
    assert labels[balanced(labels, 23, [0])].bincount().tolist() == [10, 3, 10]


def test_more_images_than_there_are(tmp_path):
    path = str(save(tmp_path / "mine.npz"))
    with pytest.raises(UsageError, match=r"data.train_size: 19 is more than the 18 training images of .*mine.npz"):
        data.load(Data(source=path, train_size=19))
    with pytest.raises(UsageError, match=r"data.test_size: 1,001 is more than the 1,000 test images of patterns"):
        data.load(Data(test_size=1001))


@pytest.mark.parametrize("size", [{}, {"train_size": 1}])
def test_one_class_teaches_nothing(tmp_path, size):
    path = save(tmp_path / "mine.npz", classes=("a", "b") if size else ("a",))
    with pytest.raises(
        UsageError, match=r"training images taken of .*mine\.npz are of one class; at least 2 are needed"
    ):
        data.load(Data(source=str(path), **size))


def test_named_classes_without_training_images_are_known(tmp_path):
    path = save(tmp_path / "mine.npz", classes=("a", "b", "c", "d"))
    assert "untaught" not in data.load(Data(source=str(path))).provenance
    found = data.load(Data(source=str(path), train_size=3))
    assert len(found.provenance["untaught"]) == 1
    assert set(found.provenance["untaught"]) == set("abcd") - {found.classes[i] for i in found.train.labels}


def test_statistics_of_a_constant_channel_stay_finite():
    images = data.ImageSet(torch.full((3, 3, 4, 4), 51, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert std == pytest.approx((1 / 255,) * 3)


def test_no_network_is_one_message_and_leaves_nothing(tmp_path, monkeypatch):
    import urllib.error
    import urllib.request

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(TokenpruneError, match=r"download into .* failed: .*Name or service not known") as caught:
        data.download("cifar10", tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_ends_as_a_prepared_file_that_loads(tmp_path, monkeypatch, capsys):
    from torchvision import datasets

    class Fetched:
        """What torchvision gives once it has downloaded."""

        def __init__(self, root: str, train: bool, download: bool) -> None:
            if not download:
                raise RuntimeError("Dataset not found or corrupted.")
            Path(root, "left-over").write_bytes(b"an archive")
            print("Downloading")
            self.data = np.full((4 if train else 2, 32, 32, 3), 7, np.uint8)
            self.targets = [0, 1, 1, 0] if train else [0, 1]
            self.classes = ["airplane", "automobile"]

    monkeypatch.setattr(datasets, "CIFAR10", Fetched)
    target = data.download("cifar10", tmp_path)
    assert target == tmp_path / "cifar10.npz"
    assert list(tmp_path.iterdir()) == [target]
    assert capsys.readouterr().out == ""
    found = data.load(Data(source="cifar10"), tmp_path)
    assert found.classes == ("airplane", "automobile")
    assert found.provenance["official"] is True

    written = target.stat().st_mtime_ns
    assert data.download("cifar10", tmp_path) == target
    assert target.stat().st_mtime_ns == written


def test_nothing_to_download():
    with pytest.raises(UsageError, match="need no download"):
        data.download("patterns")
    with pytest.raises(UsageError, match="did you mean 'cifar10'"):
        data.download("cifar1")


@pytest.mark.data
def test_cifar10_says_which_of_its_test_images_are_restored(data_dir):
    found = data.load(Data(source="cifar10", train_size=50, test_size=50), data_dir)
    assert found.provenance["note"] == "CIFAR-10, 20 of 10,000 test images JPEG-restored"
    assert found.classes[0] == "airplane"
    assert found.classes[9] == "truck"


@pytest.mark.data
def test_cifar10_has_its_published_channel_mean(data_dir):
    found = data.load(Data(source="cifar10"), data_dir)
    assert (len(found.train), len(found.test)) == (50_000, 10_000)
    assert found.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4)
    assert found.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-4)


def test_one_permutation_moves_the_tiles_of_all_images() -> None:
    spec = Data(patterns=Patterns(image_size=16, train_size=20, test_size=10), shuffle=4)
    found, again = data.load(spec), data.load(spec)
    assert sorted(found.tiles.tolist()) == list(range(16)) != found.tiles.tolist()
    assert torch.equal(found.tiles, again.tiles)
    other = data.load(spec.model_copy(update={"seed": 1}))
    assert not torch.equal(found.tiles, other.tiles)
    assert data.load(spec.model_copy(update={"shuffle": None})).tiles is None
    with pytest.raises(UsageError, match=r"data\.shuffle: 3 does not divide the image side 16"):
        data.load(spec.model_copy(update={"shuffle": 3}))
