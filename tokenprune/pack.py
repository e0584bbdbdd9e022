"""Which files of runs are packed and unpacked (`tokenprune.runs.packed`)."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tokenprune import files
from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.runs import atomic
from tokenprune.runs.folder import RunFolder
from tokenprune.runs.packed import ENVIRONMENT, read, text_of
from tokenprune.runs.query import all_runs
from tokenprune.runs.records import MeasureResult, PruneResult, TrainResult
from tokenprune.runs.results import RIGHT, read_result, right, sealed
from tokenprune.theory.folder import theory_runs

_RESULT = "result.json"


def pack(runs_dir: Path, out: Path) -> tuple[list[str], list[str]]:
    """Add the finished runs of a folder to a packed file; a run of the folder replaces one of its name.

    Returns the names packed and a message for everything left out. A result from before there were seals gets one, so
    that later changes are detected. Raises TokenpruneError if `out` is damaged or
    cannot be written, UsageError where there is nothing to pack.
    """
    whole = read(out) if out.is_file() else {}
    packed: list[str] = []
    problems: list[str] = []
    anew = 0
    for run in [*all_runs(runs_dir), *theory_runs(runs_dir)]:
        try:
            found = _files_of(run, problems)
        except TokenpruneError as error:
            problems.append(f"{error}: not packed")
            continue
        anew += _seal(found)
        whole[_name(run)] = found
        packed.append(_name(run))
    if not packed:
        raise UsageError(f"{runs_dir}: no finished run to pack")
    if anew:
        have = "result had" if anew == 1 else "results had"
        problems.append(f"{runs_dir}: {anew} {have} no seal: sealed in {out} as now found")
    atomic.make_folder(out.parent)
    text = "".join(json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n" for line in _asread(whole))
    atomic.write_bytes(out, gzip.compress(text.encode(), 9, mtime=0))
    return packed, problems


def unpack(packed: Path, runs_dir: Path) -> list[str]:
    """Write those runs of a packed file that a folder lacks into it; returns their names.

    A sweep then counts them as finished. Raises TokenpruneError if the file is damaged, or a folder cannot be written.
    """
    made = []
    for name, content in read(packed).items():
        if not (runs_dir / name).exists():
            results = [file for file in content if file.endswith(_RESULT)]
            atomic.write_files(runs_dir / name, {file: content[file] for file in [*content, *results]})
            made.append(name)
    return made


def _name(run: RunFolder) -> str:
    return f"{run.place}/{run.name}" if run.place else run.name


def _files_of(run: RunFolder, problems: list[str]) -> dict[str, bytes]:
    """Files to pack; damaged curves go to `problems`. Raises TokenpruneError if the run is unfinished or damaged."""
    result = run.record()
    found = {}
    for path in (run.recipe, run.resolved, run.metrics, run.environment):
        if path.is_file():
            found[path.name] = files.read_bytes(path, files.RECORD_BYTES)
    found |= _result(run.path, "", result)
    for path in sorted(run.curves.glob("*")):
        try:
            found |= _result(path, f"prune/{path.name}/", run.curve(path))
        except TokenpruneError as error:
            problems.append(f"{error}: not packed")
    for path in sorted(run.measurements.glob("*/result.json")):
        try:
            found |= _result(path.parent, f"measure/{path.parent.name}/", read_result(path, MeasureResult))
        except TokenpruneError as error:
            problems.append(f"{error}: not packed")
    return found


def _result(at: Path, prefix: str, result: Any) -> dict[str, bytes]:
    found = {f"{prefix}{_RESULT}": files.read_bytes(at / _RESULT, files.RECORD_BYTES)}
    if isinstance(result, TrainResult | PruneResult) and (answers := right(at, result)) is not None:
        bits = [base64.b64encode(np.packbits(row).tobytes()).decode() for row in answers]
        found[f"{prefix}{RIGHT}"] = json.dumps({"images": answers.shape[1], "bits": bits}).encode()
    return found


def _seal(content: dict[str, bytes]) -> int:
    """Seal the results that have no seal, with the files beside the run's; returns how many those were."""
    count = 0
    for name in [name for name in content if name.endswith(_RESULT)]:
        tree = files.parse_json(content[name].decode())
        if tree.get("seal") is None:
            beside = [each for each in content if "/" not in each and each != name] if name == _RESULT else []
            known = {each: hashlib.sha256(content[each]).hexdigest() for each in beside if each != RIGHT}
            content[name] = json.dumps(sealed(tree | {"files": tree.get("files", {}) | known})).encode()
            count += 1
    return count


def _asread(runs: Mapping[str, Mapping[str, bytes]]) -> Iterator[dict[str, Any]]:
    environments: dict[bytes, int] = {}
    for content in runs.values():
        if (environment := content.get(ENVIRONMENT)) is not None and environment not in environments:
            yield {"environment": len(environments), "content": _value(ENVIRONMENT, environment)}
            environments[environment] = len(environments)
    for name in sorted(runs):
        content = runs[name]
        line: dict[str, Any] = {"run": name}
        if ENVIRONMENT in content:
            line["environment"] = environments[content[ENVIRONMENT]]
        yield line | {"files": {file: _value(file, content[file]) for file in content if file != ENVIRONMENT}}


def _value(name: str, content: bytes) -> Any:
    """JSON as an object if that gives the same bytes again, or if its bytes have no checksum; else text."""
    text = content.decode()
    if name.endswith((".json", ".jsonl")):
        lines = name.endswith(".jsonl")
        value = [files.parse_json(line) for line in text.splitlines()] if lines else files.parse_json(text)
        if text_of(name, value) == text or name.endswith((_RESULT, RIGHT)):
            return value
    return text
