"""Files that appear whole or not at all: written beside, synced, renamed. Folders that one process at a time writes."""

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

#: What results made again are written into, within the folder of those that they are to replace.
ANEW = "anew"

_RESULT = "result.json"


class Busy(TokenpruneError):
    """Another process works in this folder."""


@contextlib.contextmanager
def alone(folder: Path, unfinished: str, busy: str, patience: float = 0.2) -> Iterator[None]:
    """Make the folder and hold it for writing; Busy, saying `busy`, if another process holds it for so many seconds.

    unfinished: pattern, below the folder, of what a killed process may have left half written; it is cleared away.
    A folder in which nothing was written goes again.
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

    Raises TokenpruneError if it cannot be saved (read-only folder, full disk); what stood at `path` then stands
    there still, and nothing half written is left beside it.
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


def write_bytes(path: Path, content: bytes) -> None:
    write(path, lambda handle: _write_all(handle, content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """JSON; NaN and infinities are refused (missing is null)."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def write_files(folder: Path, files: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
    """Let `files` stand below `folder` and those of `gone` no longer; other files there are left alone.

    files: content by path below `folder`. All are written beside before the first takes its place, each by one rename,
    in this order; those of `gone` go before the last. So a kill leaves each file as it was or as it is to be.
    Raises TokenpruneError if they cannot be written; what stood in `folder` then stands there still.
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
    """Let results made again, which are whole in `anew`, take the place of the old.

    old: names in `folder` that belong to the old results alone. Raises OSError.
    """
    for name in old:
        forget(folder / name)
    move_up(folder)


def move_up(folder: Path) -> None:
    """Let all that is in `anew` take the place of what has its name beside it. Raises OSError.

    result.json comes last, so that after a kill in the midst of this it has only to be called again.
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


def _write_all(handle: BinaryIO, data: bytes) -> None:
    handle.write(data)


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
