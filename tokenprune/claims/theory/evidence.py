"""What the laboratory left on disk: what is unfinished, damaged or a copy is named and not used."""

import re
from pathlib import Path

from tokenprune.claims.evidence import unsealed
from tokenprune.errors import TokenpruneError
from tokenprune.theory.folder import TheoryFolder, theory_runs
from tokenprune.theory.result import TheoryResult

_NAME = r".+-[0-9a-f]{8}-s\d+"


def read_theory(runs_dir: Path) -> tuple[list[tuple[TheoryFolder, TheoryResult]], list[str]]:
    """Finished runs of the laboratory by folder name, and a line for each thing that cannot be used."""
    found: list[tuple[TheoryFolder, TheoryResult]] = []
    problems: list[str] = []
    seen: dict[tuple[str, int], str] = {}
    for folder in theory_runs(runs_dir):
        try:
            if not folder.finished:
                status = folder.status()
                problems.append(f"{folder.path}: not finished ({status.state if status else 'no status'}): not used")
                continue
            result = folder.theory_result()
        except TokenpruneError as error:
            problems.append(f"{error}: run {folder.name} is not used")
            continue
        if not folder.name.endswith(f"-{result.setting}-s{result.seed}") and re.fullmatch(_NAME, folder.name):
            problems.append(f"{folder.path}: damaged: its result is of setting {result.setting}, seed {result.seed}")
            continue
        twin = seen.setdefault((result.setting, result.seed), folder.name)
        if twin != folder.name:
            problems.append(f"{folder.path}: same setting and seed as {twin}, so no replicate of it: not used")
            continue
        found.append((folder, result))
    return found, problems + unsealed([(folder.path, result) for folder, result in found], runs_dir)
