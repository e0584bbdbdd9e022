"""Decoded images on disk, for sets larger than memory: rows of uint8 that are mapped, never read whole.

A store is a folder: a file of plain bytes per part, and record.json, which is written last. The operating system keeps
of a mapped file what was read of late and memory has room for.

Shapes: n images, c channels, s x s pixels.
"""

import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from tokenprune import files
from tokenprune.errors import WARNING, TokenpruneError
from tokenprune.identity import digest
from tokenprune.runs import atomic

_RECORD = "record.json"
_FOREVER = -1


@dataclass(frozen=True)
class Undecoded:
    """names: of the files, in order. rows: decodes them, None for one that cannot be read."""

    names: list[str]
    rows: Callable[[], Iterable[UInt8[np.ndarray, "c s s"] | None]]


@dataclass(frozen=True)
class Rows:
    """Pixels of the images that could be read, in order, and the places of the others."""

    pixels: UInt8[Tensor, "n c s s"]
    unread: list[int]


def in_memory(shape: tuple[int, int, int], part: Undecoded) -> Rows:
    pixels, unread = np.empty((len(part.names), *shape), np.uint8), []
    for i, row in enumerate(part.rows()):
        if row is None:
            unread.append(i)
        else:
            pixels[i - len(unread)] = row
    return Rows(torch.from_numpy(pixels[: len(pixels) - len(unread)]), unread)


def on_disk(
    folder: Path,
    shape: tuple[int, int, int],
    parts: Mapping[str, Undecoded],
    unchanged: Callable[[], bool],
    say: Callable[[str], None],
) -> dict[str, Rows]:
    """The parts from their store, mapped; decoded into it first if it is not there, or is not whole.

    The first of several processes decodes, the others wait. unchanged: asked once all is decoded, whether the files
    are still those that the folder is named after.

    Raises TokenpruneError where the disk has no room, or the store cannot be written.
    """
    found = _mapped(folder, shape, parts)
    if isinstance(found, dict):
        return found
    with atomic.alone(folder, ".*.part", "writes there", patience=_FOREVER):
        found = _mapped(folder, shape, parts)  # of the process that was waited for
        if isinstance(found, dict):
            return found
        if found is not None:
            say(f"{WARNING}{found}; it is made anew")
            for name in (_RECORD, *parts):
                atomic.remove(folder / name)
        count = sum(len(part.names) for part in parts.values())
        size = count * int(np.prod(shape))
        if (free := shutil.disk_usage(folder).free) < size:
            raise TokenpruneError(
                f"{folder}: {count:,} decoded images take {size / 2**30:.1f} GiB, this disk has {free / 2**30:.1f}; "
                "--data-dir or $TOKENPRUNE_DATA names a folder on another"
            )
        say(f"decoding {count:,} images, once, into {folder} ({size / 2**30:.1f} GiB, which may be removed later)")
        written = {name: _write(folder / name, part) for name, part in parts.items()}
        if not unchanged():
            raise TokenpruneError(f"{folder}: images changed while they were decoded; start again")
        record = {name: {"sha256": sha256, "unread": unread} for name, (sha256, unread) in written.items()}
        atomic.write_json(folder / _RECORD, {"parts": record, "seal": digest(record)})
        return {name: _rows(folder / name, shape, parts[name], unread) for name, (_, unread) in written.items()}


def _write(path: Path, part: Undecoded) -> tuple[str, list[int]]:
    """The file's sha256, and the places of what could not be read."""
    digest, unread = hashlib.sha256(), []

    def fill(handle: BinaryIO) -> None:
        for i, row in enumerate(part.rows()):
            if row is None:
                unread.append(i)
            else:
                handle.write(row.data)
                digest.update(row.data)

    atomic.write(path, fill)
    return digest.hexdigest(), unread


def _mapped(folder: Path, shape: tuple[int, int, int], parts: Mapping[str, Undecoded]) -> dict[str, Rows] | str | None:
    """The parts of a whole store; what is wrong with one that is not; None where there is none."""
    path, found = folder / _RECORD, {}
    try:
        whole = files.parse_json(files.read_text(path))
        record = whole["parts"]
        if whole["seal"] != digest(record):
            return f"{path}: damaged"
        for name, part in parts.items():
            unread, path = record[name]["unread"], folder / name
            if any(type(each) is not int for each in unread) or unread != sorted({*unread} & {*range(len(part.names))}):
                return f"{folder / _RECORD}: damaged"
            if path.stat().st_size != (len(part.names) - len(unread)) * int(np.prod(shape)):
                return f"{path}: cut short"
            if files.checksum(path) != record[name]["sha256"]:
                return f"{path}: damaged, its sha256 differs"
            found[name] = _rows(path, shape, part, unread)
    except FileNotFoundError:
        return None if path.name == _RECORD else f"{path}: missing"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{path}: damaged"
    return found


def _rows(path: Path, shape: tuple[int, int, int], part: Undecoded, unread: list[int]) -> Rows:
    """Mapped for reading alone: nothing can change the file, and one larger than memory can be mapped."""
    whole = (len(part.names) - len(unread), *shape)
    if not whole[0]:
        return Rows(torch.empty(whole, dtype=torch.uint8), unread)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return Rows(torch.from_numpy(np.memmap(path, np.uint8, "r", shape=whole)), unread)
