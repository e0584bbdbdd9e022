"""Files that appear whole or not at all: written beside, synced, renamed."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tokenprune.errors import TokenpruneError


def write(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Let `fill` write a file that replaces `path` only when all of it is on disk.

    Raises TokenpruneError if it cannot be saved (read-only folder, full disk); what stood at `path` then stands
    there still, and nothing half written is left beside it.
    """
    temporary = None
    try:
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
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


def write_text(path: Path, text: str) -> None:
    write(path, lambda handle: _write_all(handle, text.encode()))


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """JSON; NaN and infinities are refused (missing is null)."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def write_files(folder: Path, files: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
    """Let `files` stand below `folder` and those of `gone` no longer, all of this or nothing.

    files: content by path below `folder`, moved there in this order when all are on disk, in a folder beside them.
    Raises TokenpruneError if they cannot be written or moved; what stood in `folder` then stands there still.
    """
    fresh = not folder.exists()
    make_folder(folder)
    at = folder
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing.") as beside, contextlib.ExitStack() as undo:
            new, old = Path(beside, "new"), Path(beside, "old")
            for name, content in files.items():
                at = folder / name
                _write_synced(new / name, content)
            for name in dict.fromkeys((*files, *gone)):
                at = folder / name
                if at.is_file():
                    _move(at, old / name)
                    undo.callback(os.replace, old / name, at)
                if name in files:
                    _move(new / name, at)
                    undo.callback(at.unlink)
            undo.pop_all()
    except OSError as error:
        raise TokenpruneError(f"{at}: could not be saved: {_reason(error)}") from error
    finally:
        if fresh:
            with contextlib.suppress(OSError):
                folder.rmdir()  # if it is empty


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
