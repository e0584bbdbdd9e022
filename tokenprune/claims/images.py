"""Runs of one source whose images differ are neither pooled nor compared: other images make another setting."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tokenprune.errors import TokenpruneError, counted

if TYPE_CHECKING:
    from tokenprune.claims.evidence import RunData

_MADE_HERE = ("patterns", "zeros", "noise")
_UNKNOWN = "unknown"


def by_images(runs: "Sequence[RunData]") -> "tuple[list[RunData], list[str]]":
    """The runs, in settings and families of their own where a source had different images; a line for each source.

    Where every source had the same images in all runs, nothing changes. What an environment does not tell is unknown,
    and other than what is known.
    """
    problems: list[str] = []
    saw: list[dict[tuple[str, str], str]] = []  # sha256 by what it is of and the source's name in the recipe
    for run in runs:
        try:
            hashes = run.folder.images() if run.environment and run.folder.environment.is_file() else {}
        except TokenpruneError as error:
            problems.append(f"{error}: which images run {run.folder.name} saw is unknown")
            hashes = {}
        saw.append({(what, source): hashes.get(what, _UNKNOWN) for what, source in _sources(run).items()})
    seen: dict[tuple[str, str], list[str]] = {}
    for of_run in saw:
        for place, sha256 in of_run.items():
            seen.setdefault(place, []).append(sha256)
    several = {place: hashes for place, hashes in seen.items() if len(set(hashes)) > 1}
    for (what, source), found in several.items():
        counts = ", ".join(f"{counted(found.count(each), 'run')} {each[:8]}" for each in dict.fromkeys(found))
        problems.append(f"{source}: different images under one name ({what}; sha256: {counts}): not pooled or compared")
    marks = [{what: of[what, name][:8] for what, name in of if (what, name) in several} for of in saw]
    return [_marked(run, mark) if mark else run for run, mark in zip(runs, marks, strict=True)], problems


def mark_of(name: str) -> str | None:
    """Which images a setting or family of `by_images` saw: `images 1a2b3c4d`; None where all saw the same."""
    mark = name.partition("-")[2]
    return f"images {mark}" if mark else None


def _sources(run: "RunData") -> dict[str, str]:
    """Where a run's images come from, as its recipe names it, less what is made from the recipe alone."""
    result = run.result
    named = {"source": result.data.source}
    if result.data.scene != "plain":
        named["background"] = run.science.get("data.background", "background")
    if result.start is not None:
        named["start"] = run.science.get("start.source", "start")
    return {what: name for what, name in named.items() if name not in _MADE_HERE}


def _marked(run: "RunData", mark: Mapping[str, str]) -> "RunData":
    ending = "-".join(mark.values())
    result = run.result.model_copy(
        update={"setting": f"{run.result.setting}-{ending}", "family": f"{run.result.family}-{ending}"}
    )
    keys = {f"{'start' if what == 'start' else 'data'}.images.{what}": sha256 for what, sha256 in mark.items()}
    return replace(run, result=result, science={**run.science, **keys} if run.science else {})
