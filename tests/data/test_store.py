"""Folders larger than memory: decoded once, mapped, and equal to the bit to those in memory."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tokenprune import data, files, hardware
from tokenprune.data import Dataset, decode, folders, train_batches
from tokenprune.data import test_batches as whole_batches
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.pipeline import DatasetCache
from tokenprune.recipe import Augment, Data, Recipe

RNG = np.random.default_rng(0)


@pytest.fixture(params=[False, True], ids=["plain", "masks"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Twelve photographs of each of two classes, one of them damaged; with a mask each, or without."""
    for label, name in enumerate(("cat", "dog")):
        for i in range(12):
            for folder, shape in (("pets", (20 + i, 30, 3)), ("pets/relevance", (20 + i, 30))):
                path = tmp_path / folder / name / f"{i}.png"
                if shape[2:] or request.param:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    pixels = RNG.integers(0, 156, shape, np.uint8) + np.uint8(99 * label)
                    Image.fromarray(pixels if shape[2:] else (pixels > 127).astype(np.uint8) * 255).save(path)
    (tmp_path / "pets/dog/4.png").write_bytes(b"no image")
    return tmp_path / "pets"


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST_BYTES", 0)


def spec(root: Path, **keys) -> Data:
    return Data(source=str(root), image_size=16, **keys)


def stores(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "decoded").glob("*") if path.is_dir())


def same(one: Dataset, other: Dataset) -> None:
    assert (one.classes, one.mean, one.std, one.provenance) == (other.classes, other.mean, other.std, other.provenance)
    for a, b in ((one.train, other.train), (one.test, other.test)):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert a.mask is b.mask is None or torch.equal(a.mask, b.mask)
        assert a.mask is None or torch.equal(a.relevance(4), b.relevance(4))


def test_a_mapped_set_is_the_one_in_memory(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = data.load(spec(root), tmp_path)
    monkeypatch.setattr(folders, "MOST_BYTES", 0)
    found = data.load(spec(root), tmp_path)
    same(found, held)
    assert (held.train.mapped, found.train.mapped, found.test.mapped) == (False, True, True)
    assert found.provenance["unread"] == ["dog/4.png"]
    assert found.train.nbytes == found.train.labels.nbytes
    crops = Augment(crop=2, flip=True, cutout=4, randaugment_ops=2, mixup=0.2)
    for batches in (lambda of: train_batches(of, crops, 5, 4, 1, 2), lambda of: whole_batches(of, 3, 4)):
        for a, b in zip(batches(found), batches(held), strict=True):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.index, b.index)
            assert a.relevance is b.relevance is None or torch.equal(a.relevance, b.relevance)


def test_half_of_the_available_memory_is_the_bound(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channels = 4 if (root / "relevance").is_dir() else 3
    size = 24 * channels * 16**2
    for available, mapped in ((2 * size, False), (2 * size - 2, True)):
        monkeypatch.setattr(hardware, "available_memory", lambda available=available: available)
        assert data.load(spec(root), tmp_path).train.mapped == mapped


@pytest.mark.usefixtures("on_disk")
def test_what_was_decoded_is_not_decoded_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = data.load(spec(root), tmp_path, say=said.append)
    (folder,) = stores(tmp_path)
    assert said == [f"decoding 24 images, once, into {folder} (0.0 GiB, which may be removed later)"]
    read, opened = [], decode._open
    monkeypatch.setattr(decode, "_open", lambda path, mode: read.append(path) or opened(path, mode))
    same(data.load(spec(root), tmp_path, say=said.append), first)
    assert (len(said), read) == (1, [])
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    same(data.load(spec(root.parent / "copy"), tmp_path), _renamed(first, "copy"))  # the same images elsewhere
    assert (len(stores(tmp_path)), read) == (1, [])

    others = [{"crop": 0.9}, {"interpolation": "bilinear"}, {"seed": 1}, {"train_size": 6}]
    for count, keys in enumerate(others, 2):
        data.load(spec(root, **keys), tmp_path)
        assert len(stores(tmp_path)) == count
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)).save(root / "cat" / "0.png")
    assert not torch.equal(data.load(spec(root), tmp_path).train.images, first.train.images)
    assert len(stores(tmp_path)) == len(others) + 2


def test_a_run_reads_its_images_twice_or_once_where_they_are_stored(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the name of the run, and to decode; to check them before and after needs no more."""
    reads: Counter[str] = Counter()
    opened = files.opened
    monkeypatch.setattr(files, "opened", lambda path: reads.update([path.name]) or opened(path))
    for most, times in ((2**40, 2), (0, 1), (0, 0)):
        monkeypatch.setattr(folders, "MOST_BYTES", most)
        reads.clear()
        Recipe(data=spec(root)).setting()
        found = data.load(spec(root), tmp_path)
        assert data.provenance(spec(root))["sha256"] == found.provenance["sha256"]
        masked = (root / "relevance").is_dir()
        assert reads["7.png"] == (4 if masked else 2) * times
        assert reads["test"] == (0 if times else 1)


@pytest.mark.usefixtures("on_disk")
def test_a_mapped_set_takes_no_room_in_a_cache(root: Path, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    cache = DatasetCache(limit=2 * 23 * 8)  # bytes of labels
    one, other = (cache.dataset(spec(root, crop=crop), tmp_path, cpu) for crop in (1.0, 0.9))
    assert cache.dataset(spec(root), tmp_path, cpu) is one
    assert cache.dataset(spec(root, crop=0.9), tmp_path, cpu) is other
    cache.dataset(spec(root, crop=0.8), tmp_path, cpu)
    assert cache.dataset(spec(root), tmp_path, cpu) is not one


def test_memory_is_what_the_machine_has_and_a_control_group_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < hardware.available_memory() < machine
    monkeypatch.setattr(hardware, "_limits", lambda: iter([2**60, 1000]))
    assert hardware.available_memory() == 1000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 200))
    rooms = [hardware.room_for_images(torch.device(name)) for name in ("cpu", "cuda", "mps")]
    assert rooms == [None, 50, 500]


def _renamed(found: Dataset, path: str) -> Dataset:
    found.provenance["path"] = path
    return found


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize(
    ("name", "harm", "says"),
    [
        ("train", lambda content: content[:-1], "cut short"),
        ("test", lambda content: content[::-1], "damaged, its sha256 differs"),
        ("test", None, "missing"),
        ("record.json", lambda _: b"{", "damaged"),
        ("record.json", lambda _: b"[]", "damaged"),
        ("record.json", lambda content: content.replace(b"[]", b"[1]"), "damaged"),
        ("record.json", lambda content: content.replace(b"[]", b"[1.0]"), "damaged"),
        ("record.json", lambda content: content.replace(b"unread", b"read"), "damaged"),
    ],
)
def test_a_damaged_store_is_named_and_made_anew(root: Path, tmp_path: Path, name: str, harm, says: str) -> None:
    first, said = data.load(spec(root), tmp_path), []
    (folder,) = stores(tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).unlink()  # what is mapped stays as it was
    if harm is not None:
        (folder / name).write_bytes(harm(content))
    same(data.load(spec(root), tmp_path, say=said.append), first)
    assert (said[0], len(said)) == (f"warning: {folder}/{name}: {says}; it is made anew", 2)
    same(data.load(spec(root), tmp_path, say=said.append), first)
    assert len(said) == 2


@pytest.mark.usefixtures("on_disk")
def test_half_a_store_is_none(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of decoding: nothing is there that could be taken for whole, and the next call makes it."""
    opened = decode._open

    def stops(path: Path, mode: str):
        if path.name == "7.png":
            raise KeyboardInterrupt
        return opened(path, mode)

    monkeypatch.setattr(decode, "_open", stops)
    with pytest.raises(KeyboardInterrupt):
        data.load(spec(root), tmp_path)
    assert not [path for path in (tmp_path / "decoded").rglob("*") if path.is_file() and path.name != ".lock"]
    monkeypatch.setattr(decode, "_open", opened)
    (tmp_path / "decoded").mkdir(exist_ok=True)
    found = data.load(spec(root), tmp_path)
    (folder,) = stores(tmp_path)
    (folder / ".train.x.part").write_bytes(b"left by a killed process")
    (folder / "record.json").unlink()
    (folder / "test").unlink()
    same(data.load(spec(root), tmp_path), found)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "record.json", "test", "train"]


@pytest.mark.usefixtures("on_disk")
def test_of_two_at_once_one_decodes(root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found: list[Dataset] = []
    threads = [
        threading.Thread(target=lambda: found.append(data.load(spec(root), tmp_path, say=said.append)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 1
    same(found[0], found[1])
    same(found[0], found[2])


@pytest.mark.usefixtures("on_disk")
def test_images_that_change_meanwhile_make_no_store(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = decode._open

    def changes(path: Path, mode: str):
        if path.name == "7.png" and mode == "RGB":
            Image.fromarray(RNG.integers(0, 256, (27, 30, 3), np.uint8)).save(path)
        return opened(path, mode)

    monkeypatch.setattr(decode, "_open", changes)
    with pytest.raises(TokenpruneError, match="images changed while they were decoded; start again"):
        data.load(spec(root), tmp_path)
    assert not list((tmp_path / "decoded").rglob("record.json"))


@pytest.mark.usefixtures("on_disk")
def test_what_cannot_be_stored_is_said_in_a_line(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for keys in ({"noise": 0.1}, {"noise_tokens": 0.5}, {"scene": "composite", "background": "zeros"}):
        with pytest.raises(UsageError, match=r"^data\.scene, data\.noise: made in memory, which holds 0\.0 GiB"):
            data.load(spec(root, foreground_size=8, **keys), tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(decode, "_open", lambda *_: pytest.fail("decoded before there was room"))
    with pytest.raises(TokenpruneError, match=r"24 decoded images take 0\.0 GiB, this disk has 0\.0; --data-dir"):
        data.load(spec(root), tmp_path)
    assert not stores(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenpruneError, match="cannot make this folder"):
        data.load(spec(root), tmp_path / "file")


@pytest.mark.usefixtures("on_disk")
def test_nothing_writes_into_a_store(root: Path, tmp_path: Path) -> None:
    data.load(spec(root), tmp_path)
    (folder,) = stores(tmp_path)
    for path in folder.iterdir():
        path.chmod(0o400)
    record = json.loads((folder / "record.json").read_text())
    found = data.load(spec(root), tmp_path)
    batch = next(whole_batches(found, 4, 4))
    batch.images.zero_()
    found.train.take(torch.arange(3)).images.zero_()
    assert files.sha256(folder / "test") == record["parts"]["test"]["sha256"]
    assert files.sha256(folder / "train") == record["parts"]["train"]["sha256"]


_READS = """
import resource, sys
from pathlib import Path
from tokenprune import data
from tokenprune.data import folders, store, decode, test_batches
from tokenprune.recipe import Data
import torchvision.transforms, PIL.Image
data.load(Data(source="few", image_size=224), Path("."))
held = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData:"))
resource.setrlimit(resource.RLIMIT_DATA, (1024 * held + 320 * 2**20,) * 2)
folders.MOST_BYTES = int(sys.argv[1])
found = data.load(Data(source="many", image_size=224), Path("."))
print(sum(len(batch.labels) for batch in test_batches(found, 50, 16)), len(found.train))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's own memory, mapped files aside, as Linux does")
def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """3,200 images of 224 x 224 pixels are 460 MiB: too many in memory for this process, and not from a store."""
    for name, count in (("few", 8), ("many", 3200)):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
        first = tmp_path / name / "a" / "0.jpg"
        Image.fromarray(RNG.integers(0, 256, (24, 24, 3), np.uint8)).save(first)
        for i in range(1, count):
            os.link(first, tmp_path / name / "ab"[i % 2] / f"{i}.jpg")
    ended = [
        subprocess.run([sys.executable, "-c", _READS, str(most)], cwd=tmp_path, capture_output=True, text=True)
        for most in (2**40, 0)
    ]
    assert "Unable to allocate" in ended[0].stderr
    assert (ended[1].returncode, ended[1].stdout) == (0, "640 2560\n"), ended[1].stderr
