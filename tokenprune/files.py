"""Reading files safely: regular files only, of bounded size, so that reading always ends. No torch."""

import errno
import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_PLAIN = type(Path())

#: Folders of what the kernel says when it is asked.
_KERNEL = ("/proc/", "/sys/")

MIB = 2**20

#: A recipe or sweep.
RECIPE_BYTES = MIB // 4
#: A record of a run: a laboratory's result of 100,000 models is a tenth of this.
RECORD_BYTES = 64 * MIB
#: A record's arrays, unpacked: predictions and example images.
ARRAYS_BYTES = 1024 * MIB


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file to read. Raises OSError, also for a folder, pipe, socket or device, without blocking."""
    if type(path) is not _PLAIN:  # a place in a packed file
        with path.open("rb") as handle:
            yield handle
        return
    if os.path.realpath(path).startswith(_KERNEL):  # which call themselves regular, and may never end
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield handle


def read_bytes(path: Path, limit: int) -> bytes:
    """All of a regular file. Raises OSError, also for more than `limit` bytes."""
    with opened(path) as handle:
        content = handle.read(limit + 1) or b""
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {_size(limit)}", str(path))
    return content


def _size(limit: int) -> str:
    return f"{limit // MIB} MiB" if limit >= MIB else f"{limit // 1024} KiB"


def read_text(path: Path, limit: int = RECORD_BYTES) -> str:
    """Raises OSError as `read_bytes` does, UnicodeDecodeError where it is not UTF-8."""
    return read_bytes(path, limit).decode("utf-8")


def sha256(path: Path) -> str:
    """Raises OSError as `opened` does."""
    with opened(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def checksum(path: Path) -> str:
    """As `sha256`, read again only if the file is another or was written to: what a run reads is asked for often."""
    found = path.stat()
    return _checksum(str(path), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=2**18)  # some 130 MiB
def _checksum(path: str, state: tuple[int, ...]) -> str:
    return sha256(Path(path))


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """All arrays of an .npz, none of them pickled. Raises ValueError for a damaged one, OSError as `opened` does."""
    import numpy as np

    with opened(path) as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                if sum(member.file_size for member in archive.infolist()) > ARRAYS_BYTES:
                    raise ValueError(f"more than {_size(ARRAYS_BYTES)}")
            handle.seek(0)
            with np.load(handle, allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as error:  # damaged bytes raise many kinds of errors in zipfile and numpy
            raise ValueError(str(error) or type(error).__name__) from None


def parse_json(text: str) -> Any:
    """Raises ValueError for anything that is not JSON: duplicate keys, NaN, numbers too large, nesting too deep."""
    try:
        found = json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_twins)
        if "\\ud" in text.lower():  # half of a surrogate pair, which cannot be printed
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
