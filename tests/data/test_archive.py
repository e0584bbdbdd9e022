"""Every defect of an .npz ends in one line; no pickle runs."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tokenprune.data.archive import read_npz
from tokenprune.errors import TokenpruneError


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, (4, 2, 2, 3), dtype=np.uint8),
        "train_labels": np.array([0, 1, 2, 1]),
        "test_images": rng.integers(0, 256, (2, 2, 2, 3), dtype=np.uint8),
        "test_labels": np.array([2, 0], np.uint8),
    }


def save(folder: Path, **changed: np.ndarray | None) -> Path:
    """A small, sound file with some arrays replaced or (None) left out."""
    path = folder / "some.npz"
    np.savez(path, **{name: value for name, value in (arrays() | changed).items() if value is not None})
    return path


def test_a_sound_file(tmp_path):
    found, given = read_npz(save(tmp_path)), arrays()
    for name, array in given.items():
        np.testing.assert_array_equal(getattr(found, name), array)
    assert found.classes == ("0", "1", "2")
    assert found.official is None


def test_compressed_files_names_and_flags(tmp_path):
    path = tmp_path / "some.npz"
    extra = {"classes": np.array(["a", "b", "c", "d"]), "test_exact": np.array([True, False])}
    np.savez_compressed(path, **arrays(), **extra)
    found = read_npz(path)
    assert found.classes == ("a", "b", "c", "d")
    assert found.exact.tolist() == [True, False]
    assert found.official is False


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


IMAGES = np.zeros((4, 2, 2, 3))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"test_images": None}, "test_images: found no such array .* expected this array"),
        ({"test_labels": None}, "test_labels: found no such array"),
        ({"train_images": IMAGES}, r"train_images: found float64 of shape \[4, 2, 2, 3\], expected uint8 of shape"),
        ({"train_images": np.zeros((4, 3, 2, 2), np.uint8)}, r"found uint8 of shape \[4, 3, 2, 2\]"),
        ({"train_images": np.zeros((4, 2, 2), np.uint8)}, r"train_images: found uint8 of shape \[4, 2, 2\]"),
        ({"train_images": np.zeros((4, 2, 3, 3), np.uint8)}, "expected square images"),
        ({"train_images": np.zeros((0, 2, 2, 3), np.uint8)}, "expected at least one image"),
        ({"test_images": np.zeros((2, 4, 4, 3), np.uint8)}, "test_images: .*expected images as large as train_images"),
        ({"train_labels": np.array([0, 1])}, "train_labels: found 2 labels, expected 4, one per image in train_images"),
        ({"train_labels": np.array([0.0, 1, 2, 1])}, "train_labels: found float64"),
        (
            {"train_labels": np.array([1, 2, 3, 1])},
            "found labels 1 to 3, but no 0, expected .* count labels from 0",
        ),
        (
            {"train_labels": np.array([0, 5, 2, 1])},
            "found labels 0 to 5, but no 3, 4, expected an image of every",
        ),
        ({"train_labels": np.array([0, -1, 2, 1])}, "train_labels: found label -1, expected labels from 0"),
        ({"test_labels": np.array([0, 3])}, "test_labels: found label 3, expected labels from 0 to 2"),
        ({"train_labels": np.array([0, 1, 2, 10**6])}, "at most 65536 classes"),
        ({"classes": np.array(["a", "b"])}, "found label 2, expected labels from 0 to 1 .one per name in classes"),
        ({"classes": np.array([1, 2, 3])}, "classes: found int64"),
        ({"test_exact": np.array([1, 0])}, "test_exact: found int64"),
        ({"official": np.array([True])}, "official: found bool of shape"),
    ],
)
def test_a_wrong_array_is_named_with_what_was_found(tmp_path, changed, words):
    path = save(tmp_path, **changed)
    with pytest.raises(TokenpruneError, match=words) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_column_of_labels(tmp_path):
    found = read_npz(save(tmp_path, train_labels=np.array([[0], [1], [2], [1]]), test_labels=np.array([[2], [0]])))
    assert (found.train_labels.tolist(), found.test_labels.tolist()) == ([0, 1, 2, 1], [2, 0])


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "some.npz")
    with pytest.raises(TokenpruneError, match=r"some\.npz: cannot be read: not a regular file"):
        read_npz(tmp_path / "some.npz")


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.npz", "w") as archive:
        archive.writestr("photograph.jpg", b"x")
    with pytest.raises(TokenpruneError, match=r"train_images: found no such array \(the file has none\)"):
        read_npz(tmp_path / "some.npz")


def test_a_pickle_in_the_file_is_never_run(tmp_path):
    mark = tmp_path / "ran"
    path = save(tmp_path, train_labels=np.array([Bomb(mark)] * 4, dtype=object))
    with pytest.raises(TokenpruneError, match=r"train_labels: found Python objects .* never run"):
        read_npz(path)
    assert not mark.exists()


def test_a_pickle_instead_of_the_file_is_never_run(tmp_path):
    import pickle

    mark, path = tmp_path / "ran", tmp_path / "some.npz"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(TokenpruneError, match=r"not an .npz"):
        read_npz(path)
    assert not mark.exists()


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(TokenpruneError, match="no such file"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(TokenpruneError, match="cannot be read"):
        read_npz(tmp_path)


def test_cut_anywhere_the_file_is_refused(tmp_path):
    path = save(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(TokenpruneError, match=r"some\.npz: "):
            read_npz(path)


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_refused_or_harmless(tmp_path, writer):
    path = tmp_path / "some.npz"
    writer(path, **arrays())
    whole, given, refused = path.read_bytes(), arrays(), 0
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            found = read_npz(path)
        except TokenpruneError:
            refused += 1
        else:
            for name, array in given.items():
                np.testing.assert_array_equal(getattr(found, name), array)
    assert refused > len(whole) / 6


def test_an_array_that_claims_more_than_it_holds(tmp_path):
    path = tmp_path / "some.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 2, 2, 3)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", header.getvalue())
    with pytest.raises(TokenpruneError, match="train_images: not an array that numpy can read"):
        read_npz(path)


def test_an_array_larger_than_memory_should_hold_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenprune.data.archive.MOST_BYTES", 2**20)
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", bytes(3 * 2**20))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(TokenpruneError, match=r"train_images: found 0 GiB, expected at most 0 GiB in memory$"):
        read_npz(path)
