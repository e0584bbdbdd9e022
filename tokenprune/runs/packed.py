"""Many runs in one file, `runs.jsonl.gz`, which is read as the folder of runs that it was made of.

A line is an object: {"environment": 0, "content": ...} once for each different environment.json, then a run each,
{"run": its name, "environment": number, "files": {name: content}}. Content is an object for JSON, a list of objects for
JSON lines, text otherwise. Packed is what verdicts and figures of numbers need; of the predictions one bit
an image, right or wrong (`right.json`), and no weights.
"""

import fnmatch
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from tokenprune import files
from tokenprune.errors import TokenpruneError

ENDING = ".jsonl.gz"
ENVIRONMENT = "environment.json"
#: All of a packed file, unpacked.
_BYTES = 2**30


class Packed(type(Path())):  # type: ignore[misc]
    """A path within a packed file, which can be listed and read as a folder or file can."""

    def open(self, *arguments: Any, **options: Any) -> IO[Any]:
        content = self._content()
        if content is None:
            raise FileNotFoundError(2, "no such file", str(self))
        return io.BytesIO(content)

    def is_file(self, **options: Any) -> bool:
        return self._content() is not None

    def is_dir(self, **options: Any) -> bool:
        _, folders, inside = self._found()
        return inside in folders

    def exists(self, **options: Any) -> bool:
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator["Packed"]:
        _, folders, inside = self._found()
        return (self / name for name in folders.get(inside, ()))

    def glob(self, pattern: str, **options: Any) -> Iterator["Packed"]:
        """As pathlib does, for patterns without `**`."""
        name, _, rest = pattern.partition("/")
        for path in self.iterdir():
            if fnmatch.fnmatchcase(path.name, name):
                yield from path.glob(rest) if rest else [path]

    def _content(self) -> bytes | None:
        contents, _, inside = self._found()
        return contents.get(inside)

    @property
    def archive(self) -> Path:
        """The packed file."""
        return Path(str(next(path for path in (self, *self.parents) if path.name.endswith(ENDING))))

    def _found(self) -> tuple[Mapping[str, bytes], Mapping[str, Sequence[str]], str]:
        """All that is in the packed file, as `_unpacked`, and the path within it."""
        archive = self.archive
        stat = archive.stat()
        return *_unpacked(archive, stat.st_size, stat.st_mtime_ns), "/".join(self.parts[len(archive.parts) :])


def folder(path: Path) -> Path:
    """A folder unchanged; a packed file, or a path within one, as a path that can be read."""
    inside = any(each.name.endswith(ENDING) and each.is_file() for each in (path, *path.parents))
    return Packed(path) if inside and not isinstance(path, Packed) else path


def text_of(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if name.endswith(".jsonl"):
        return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in value)
    return json.dumps(value, indent=2) + "\n"


def check_writable(path: Path) -> None:
    """Raises TokenpruneError for a path within a packed file."""
    if isinstance(path, Packed):
        unpack = f"tokenprune pack {path.archive} FOLDER"
        raise TokenpruneError(f"{path}: packed runs are only read; `{unpack}` unpacks them")


def read(path: Path) -> dict[str, dict[str, bytes]]:
    """Files by run, by their names. Raises TokenpruneError if the file is damaged."""
    environments: dict[int, bytes] = {}
    runs: dict[str, dict[str, bytes]] = {}
    try:
        with files.opened(path) as handle, gzip.open(handle) as lines:
            text = lines.read(_BYTES + 1)
        if len(text) > _BYTES:
            raise ValueError("too large")
        for line in text.decode().rstrip("\n").split("\n"):
            tree = files.parse_json(line)
            if "run" not in tree:
                environments[tree["environment"]] = text_of(ENVIRONMENT, tree["content"]).encode()
                continue
            content = {name: text_of(name, value).encode() for name, value in tree["files"].items()}
            if "environment" in tree:
                content[ENVIRONMENT] = environments[tree["environment"]]
            if any(".." in name.split("/") or name.startswith("/") for name in (tree["run"], *content)):
                raise ValueError("a path that leads outside")
            runs[tree["run"]] = content
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged, or no packed runs"
        raise TokenpruneError(f"{path}: cannot be read: {reason}") from None
    return runs


@lru_cache(maxsize=4)
def _unpacked(path: Path, size: int, changed: int) -> tuple[Mapping[str, bytes], Mapping[str, Sequence[str]]]:
    """Content by path within a packed file, and by folder, `""` for all of it, the sorted names in it."""
    contents = {f"{run}/{name}": content for run, part in read(path).items() for name, content in part.items()}
    folders: dict[str, set[str]] = {}
    for name in contents:
        while name:
            name, _, last = name.rpartition("/")
            folders.setdefault(name, set()).add(last)
    return contents, {name: sorted(names) for name, names in folders.items()}
