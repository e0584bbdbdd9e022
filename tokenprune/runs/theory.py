"""Results of the theory laboratory, typed, and their folders: `theory/` below the folder of runs.

null: not reached, because a model diverged or an error never fell to zero.
"""

import re
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from tokenprune import files
from tokenprune.runs.folder import RunFolder, run_paths
from tokenprune.runs.laboratory import Numbers, TheoryResult
from tokenprune.runs.results import read_result, read_text
from tokenprune.runs.spatial import SpatialResult


class PhaseResult(TheoryResult):
    experiment: Literal["phase"] = "phase"
    axis: str  # alpha, noise, start or confusion
    kind: str  # vit or cnn
    values: tuple[float, ...]  # alpha: alpha_*^-2
    samples: tuple[int, ...]  # N
    success: float  # test hinge loss below which a trial has succeeded
    loss: tuple[tuple[Numbers, ...], ...]  # test hinge loss by value, N, trial
    error: tuple[tuple[Numbers, ...], ...]  # test error by value, N, trial

    def successes(self) -> list[list[int]]:
        """By value, N."""
        return [[sum(x is not None and x < self.success for x in cell) for cell in column] for column in self.loss]

    def diverged(self) -> list[list[int]]:
        """By value, N."""
        return [[sum(x is None for x in cell) for cell in column] for column in self.loss]

    @property
    def trials(self) -> int:
        return len(self.loss[0][0])


class AttentionResult(TheoryResult):
    """Curves by trial, then iteration. Norms are means over the two discriminative patterns, and over the others."""

    experiment: Literal["attention"] = "attention"
    step_size: float
    iterations: tuple[int, ...]
    attention: tuple[Numbers, ...]  # attention summed over label-relevant tokens, mean over all queries and samples
    attention_relevant: tuple[Numbers, ...]  # the same, queries of label-relevant tokens only
    loss: tuple[Numbers, ...]  # test hinge loss
    query_norm: tuple[Numbers, ...]  # |W_Q mu_j|, discriminative patterns
    query_norm_other: tuple[Numbers, ...]
    key_norm: tuple[Numbers, ...]
    key_norm_other: tuple[Numbers, ...]


class SparsifyResult(TheoryResult):
    experiment: Literal["sparsify"] = "sparsify"
    tokens: int  # L before removal
    removed: tuple[int, ...]
    curve_samples: int  # N of the curves
    loss: dict[str, tuple[Numbers, ...]]  # test hinge loss by method; removed, trial
    accuracy: dict[str, tuple[Numbers, ...]]  # by method; removed, trial
    relevant: dict[str, tuple[Numbers, ...]]  # alpha_* of the tokens that stayed, test samples; removed, trial
    samples: tuple[int, ...]  # N where sample complexity is compared
    complexity_removed: int
    success: float
    complexity: dict[str, tuple[Numbers, ...]]  # test hinge loss by method, and for "none"; N, trial


class TimeResult(TheoryResult):
    experiment: Literal["time"] = "time"
    kind: str
    values: tuple[float, ...]  # alpha_*
    step_sizes: tuple[float, ...]
    limit: int  # iterations after which a trial is given up
    success: float  # test hinge loss that counts as zero: the theorem's error is the expected hinge loss
    iterations: tuple[tuple[tuple[int | None, ...], ...], ...]  # to that loss by step size, alpha_*, trial
    diverged: int | None = None  # models whose loss was not finite at their last test; null where not counted
    iterations_to_no_error: tuple[tuple[tuple[int | None, ...], ...], ...]  # until no test sample is misjudged


THEORY_RESULTS: dict[str, type[TheoryResult]] = {
    "phase": PhaseResult,
    "attention": AttentionResult,
    "sparsify": SparsifyResult,
    "time": TimeResult,
    "spatial": SpatialResult,
}

_Kind = TypeVar("_Kind", bound=TheoryResult)


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
            experiment = str(files.parse_json(read_text(path))["experiment"])
        except (ValueError, KeyError, TypeError):
            experiment = ""
        return read_result(path, THEORY_RESULTS.get(experiment, TheoryResult))


def theory_runs(runs_dir: Path) -> list[TheoryFolder]:
    """Every run of the laboratory in `runs_dir`, by name."""
    return [TheoryFolder(path) for path in run_paths(runs_dir / TheoryFolder.place)]
