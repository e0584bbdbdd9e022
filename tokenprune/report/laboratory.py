"""Everything that the laboratory left in a folder of runs, read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenprune.claims import LaboratoryStudy, Verdict, judge, laboratory_studies, read_theory
from tokenprune.claims.theory.study import rank
from tokenprune.drawing.table import Table
from tokenprune.experiments import CLAIMS, LABORATORY
from tokenprune.report import environment
from tokenprune.report.matrix import Matrix, matrix
from tokenprune.theory.folder import TheoryFolder
from tokenprune.theory.result import TheoryResult


@dataclass(frozen=True)
class Laboratory:
    """Finished runs, pooled over seeds in `studies`.

    tables: by number of their experiment. environments: environment.json by folder name. problems: a line for each
    thing that could not be used.
    """

    runs: tuple[tuple[TheoryFolder, TheoryResult], ...]
    studies: tuple[LaboratoryStudy[Any], ...]
    verdicts: tuple[Verdict, ...]
    matrix: Matrix
    tables: Mapping[str, tuple[Table, ...]]
    environments: dict[str, dict[str, Any]]
    problems: tuple[str, ...]

    @property
    def unread(self) -> list[str]:
        """Recipes whose results no claim reads."""
        read = {folder for verdict in self.verdicts for folder in verdict.evidence}
        return list(dict.fromkeys(each.recipe for each in self.studies if not read.intersection(each.folders)))

    def __bool__(self) -> bool:
        return bool(self.runs)


def collect(runs_dir: Path, names: Sequence[str] | None = None) -> Laboratory:
    """Read the laboratory's runs in `runs_dir`, or those named; none at all is no error."""
    found, problems = read_theory(runs_dir)
    runs = [(folder, result) for folder, result in found if names is None or folder.name in names]
    studies = laboratory_studies((folder.name, result) for folder, result in runs)
    environments, unread = environment.read_all(folder for folder, _ in runs)
    verdicts = judge(studies, CLAIMS)
    ordered = sorted(studies, key=lambda study: (study.recipe, rank(study.first.recipe)))
    return Laboratory(
        tuple(runs),
        tuple(ordered),
        tuple(verdicts),
        matrix(verdicts, (), ordered),
        {each.number: tuple(each.tables(ordered, verdicts)) for each in LABORATORY},
        environments,
        (*problems, *unread),
    )
