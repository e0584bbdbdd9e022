"""Run folders of the theory laboratory: `theory/` below the folder of runs."""

import re
from pathlib import Path
from typing import ClassVar

from tokenprune import files
from tokenprune.errors import UsageError
from tokenprune.runs.folder import RunFolder, run_paths
from tokenprune.runs.results import read_result, read_text
from tokenprune.theory import experiment
from tokenprune.theory.result import TheoryResult


class TheoryFolder(RunFolder):
    """A run of the laboratory: as a run folder, and `chunks.jsonl` while it is not finished."""

    place: ClassVar[str] = "theory"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.chunks = path / "chunks.jsonl"

    @property
    def begun(self) -> bool:
        return self.chunks.is_file()

    @property
    def verb(self) -> tuple[str, ...]:
        try:
            found = re.search(r"^experiment: (\w+)$", files.read_text(self.resolved), re.MULTILINE)
        except (OSError, UnicodeDecodeError):
            found = None
        return ("theory", found[1] if found else "EXPERIMENT")

    def theory_result(self) -> TheoryResult:
        """Raises TokenpruneError if it is missing or damaged."""
        path = self.path / "result.json"
        try:
            kind = experiment(str(files.parse_json(read_text(path))["experiment"])).result
        except (ValueError, KeyError, TypeError, UsageError):
            kind = TheoryResult
        return read_result(path, kind)

    record = theory_result


def theory_runs(runs_dir: Path) -> list[TheoryFolder]:
    """Every run of the laboratory in `runs_dir`, by name."""
    return [TheoryFolder(path) for path in run_paths(runs_dir / TheoryFolder.place)]
