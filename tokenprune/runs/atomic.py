"""Files that appear complete or not at all: written beside, synced, renamed. Folders locked by one writer at a time."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from tokenprune.errors import TokenpruneError

#: Folder, within that of the old results, where new results are written until they replace the old.
ANEW = "anew"

_RESULT = "result.json"


class Busy(TokenpruneError):
    """Another process is writing in this folder."""


@contextlib.contextmanager
def alone(folder: Path, unfinished: str, busy: str, patience: float = 0.2) -> Iterator[None]:
    """Make the folder and lock it; raises Busy, with `busy` as its message, if another process keeps the lock.

    unfinished: pattern, below the folder, of partial files that a killed process may have left; they are removed.
    A folder in which nothing was written is removed again.
    """
    fresh = not folder.exists()
    make_folder(folder)
    file = folder / ".lock"
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=patience, poll_interval=0.02)
    except filelock.Timeout:
        raise Busy(f"{folder}: another process {busy}") from None
    except OSError as error:
        raise TokenpruneError(f"{folder}: cannot write here: {error.strerror}") from error
    try:
        for left in list(folder.glob(unfinished)):
            forget(left)
        yield
    finally:
        if list(folder.iterdir()) == [file]:
            file.unlink()
            if fresh:
                folder.rmdir()
        lock.release()


def write(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Let `fill` write a file that replaces `path` only when all of it is on disk.

    Raises TokenpruneError if it cannot be saved (read-only folder, full disk); the old file
    at `path` is then kept, and no partial file is left beside it.
    """
    temporary = None
    try:
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False)  # noqa: SIM115
        temporary = handle.name
        with handle:
            fill(handle)  # type: ignore[arg-type]
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise TokenpruneError(f"{path}: could not be saved: {_reason(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    def fill(handle: BinaryIO) -> None:
        handle.write(content)

    write(path, fill)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """JSON; NaN and infinities are refused (missing is null)."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def write_files(folder: Path, files: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
    """Write `files` below `folder` and remove those of `gone`; other files there are left alone.

    files: content by path below `folder`. All are written beside first, then renamed one by one in this order;
    those of `gone` are removed before the last rename. So a kill leaves each file either old or new.
    Raises TokenpruneError if they cannot be written; `folder` is then unchanged.
    """
    at = folder
    try:
        with (
            alone(folder, ".writing.*", "is writing here; try again, or choose another folder", patience=10),
            tempfile.TemporaryDirectory(dir=folder, prefix=".writing.") as new,
        ):
            for name, content in files.items():
                at = folder / name
                if at.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                _write_synced(Path(new, name), content)
            *first, last = files
            for name in first:
                _move(Path(new, name), folder / name)
            for name in gone:
                if (folder / name).is_file():
                    remove(folder / name)
            _move(Path(new, last), folder / last)
    except OSError as error:
        raise TokenpruneError(f"{at}: could not be saved: {_reason(error)}") from error


def settle(folder: Path, old: Iterable[str] = ()) -> None:
    """Replace old results by the new ones, which are complete in `anew`.

    old: names in `folder` that belong to the old results alone. Raises OSError.
    """
    for name in old:
        forget(folder / name)
    move_up(folder)


def move_up(folder: Path) -> None:
    """Move everything in `anew` one folder up, replacing what has its name there. Raises OSError.

    result.json comes last, so that after a kill on the way it only has to be called again.
    """
    anew = folder / ANEW
    for path in sorted(anew.iterdir(), key=lambda path: path.name == _RESULT):
        if path.is_dir():
            forget(folder / path.name)
        os.replace(path, folder / path.name)
    anew.rmdir()


def make_folder(path: Path) -> None:
    """The folder and its parents; TokenpruneError if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TokenpruneError(f"{path}: cannot make this folder: {_reason(error)}") from error


def remove(path: Path) -> None:
    """Remove a file if it is there; TokenpruneError if it cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TokenpruneError(f"{path}: cannot be removed: {_reason(error)}") from error


def forget(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, to)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
