"""environment.json of a run: what is reported of it, and never needed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenprune import files
from tokenprune.errors import TokenpruneError
from tokenprune.runs import RunFolder, read_text
from tokenprune.runs.packed import Packed


def _read(folder: RunFolder) -> dict[str, Any]:
    """environment.json, or nothing where there is none: numbers do not depend on it."""
    if not folder.environment.is_file():
        return {}
    try:
        record = files.parse_json(read_text(folder.environment))
    except ValueError as error:
        raise TokenpruneError(f"{folder.environment}: cannot be read, left out: {error}") from None
    if not isinstance(record, dict):
        return {}
    if isinstance(folder.path, Packed) and isinstance(words := record.get("command"), list):
        record["command"] = _in_the_usual_folder(words)
    return record


def _in_the_usual_folder(words: Sequence[str]) -> list[str]:
    """A command without the folder of runs that it was given: packed runs are made again in `runs`."""
    given = [i for i, word in enumerate(words) if word == "--runs-dir"]
    left_out = {place for i in given for place in (i, i + 1)}
    return [word for i, word in enumerate(words) if i not in left_out]


def read_all(folders: Iterable[RunFolder]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """By folder name, and a line for each that cannot be read."""
    found: dict[str, dict[str, Any]] = {}
    problems = []
    for folder in folders:
        try:
            found[folder.name] = _read(folder)
        except TokenpruneError as error:
            problems.append(str(error))
            found[folder.name] = {}
    return found, problems


def different(
    by_run: Mapping[str, dict[str, Any]], leave_out: Sequence[str] = ("command",)
) -> list[tuple[dict[str, Any], list[str]]]:
    """Each different environment, less some keys, with the runs made in it. by_run: environment.json by folder."""
    found: dict[str, list[str]] = {}
    for run, environment in by_run.items():
        record = {key: value for key, value in environment.items() if key not in leave_out}
        found.setdefault(json.dumps(record, sort_keys=True), []).append(run)
    return [(json.loads(record), runs) for record, runs in found.items()]
