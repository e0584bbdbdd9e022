"""A file appears whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest
from killed import every_kill, killed_at

from tokenprune.errors import TokenpruneError
from tokenprune.runs import atomic


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, moment):
    path = tmp_path / "result.json"
    atomic.write_json(path, {"old": 1})
    monkeypatch.setattr(atomic.os, moment, full)
    with pytest.raises(TokenpruneError) as caught:
        atomic.write_json(path, {"new": 2})
    assert str(caught.value) == f"{path}: could not be saved: No space left on device"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text() == '{\n  "old": 1\n}\n'


def test_a_real_limit_on_file_size(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    code = (
        "import resource, sys; from pathlib import Path; from tokenprune.runs import atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "atomic.write(Path(sys.argv[1]), lambda handle: handle.write(bytes(100_000)))"
    )
    ended = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert f"{path}: could not be saved: File too large" in ended.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("")])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "resume.pt"
    path.write_bytes(b"old")

    def fill(handle):
        handle.write(b"half of it")
        raise error

    with pytest.raises((KeyboardInterrupt, TokenpruneError)):
        atomic.write(path, fill)
    assert [p.name for p in tmp_path.iterdir()] == ["resume.pt"]
    assert path.read_bytes() == b"old"


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OLD = {"figures/b": b"old", "figures/c": b"old", "page": b"old", "mine": b"mine"}
NEW = {"figures/b": b"new", "figures/d": b"new", "page": b"new", "record": b"new"}


@pytest.fixture
def old(tmp_path):
    for name, content in OLD.items():
        atomic.write_files(tmp_path, {name: content})
    return tmp_path


@pytest.mark.parametrize("after", range(len(NEW)))
def test_a_disk_that_fills_while_several_files_are_written_changes_none(old, monkeypatch, after):
    real, calls = os.fsync, []

    def once_full(descriptor):
        calls.append(descriptor)
        if len(calls) == after + 1:
            full()
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", once_full)
    with pytest.raises(TokenpruneError, match="could not be saved: No space left on device"):
        atomic.write_files(old, NEW, ["figures/c"])
    assert tree(old) == OLD | {".lock": b""}


def test_several_files_killed_at_every_change_are_each_old_or_new_and_the_next_write_is_whole(tmp_path):
    folder, work = tmp_path / "0", lambda: atomic.write_files(folder, NEW, ["figures/c"])
    seen = set()

    def begin():
        nonlocal folder
        folder = tmp_path / str(int(folder.name) + 1)
        for name, content in OLD.items():
            atomic.write_files(folder, {name: content})

    for _ in every_kill(begin, work):
        there = tree(folder)
        assert there["page"] in (b"old", b"new")
        assert there["figures/b"] in (b"old", b"new")
        assert "record" not in there or there.items() >= NEW.items()
        seen.add(there["page"])
        work()
        assert tree(folder) == NEW | {"mine": b"mine", ".lock": b""}
        assert not list(folder.glob(".writing.*"))
    assert seen == {b"old", b"new"}


def test_what_a_killed_process_left_half_written_is_cleared_by_the_next_that_holds_the_folder(tmp_path):
    assert killed_at(0, lambda: atomic.write_text(tmp_path / "resume.pt", "half"))
    assert len(list(tmp_path.glob(".resume.pt.*.part"))) == 1
    with atomic.alone(tmp_path, "**/.*.part", "is here"):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_made_for_files_that_could_not_be_written_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(TokenpruneError, match="report/page: could not be saved"):
        atomic.write_files(tmp_path / "report", {"page": b"new"})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_of_a_file_is_left_alone(tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine").write_text("mine")
    atomic.write_files(tmp_path, {"a": b"old"})
    with pytest.raises(TokenpruneError, match="page: could not be saved"):
        atomic.write_files(tmp_path, {"a": b"new", "page": b"new"}, ["page"])
    assert tree(tmp_path) == {"a": b"old", "page/mine": b"mine", ".lock": b""}


def test_missing_is_null_and_not_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(tmp_path / "a.json", {"accuracy": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenpruneError, match="cannot make this folder: Not a directory"):
        atomic.make_folder(tmp_path / "file" / "runs")


def test_files_have_the_mode_that_the_umask_gives(tmp_path):
    atomic.write_text(tmp_path / "new", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
