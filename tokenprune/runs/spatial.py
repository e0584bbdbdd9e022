"""Result of `tokenprune theory spatial`. null: a model that diverged."""

from typing import Literal

from tokenprune.runs.laboratory import Numbers, TheoryResult


class SpatialResult(TheoryResult):
    """Association is of the source task's training: curves by trial, then iteration.

    constructed: networks with v = 2 w* / d that were not trained, by attention: on i's own set (own), on another set
    (other: no association), or as at the start of training (start); then by trial.
    target_accuracy: `transfer` trained v alone, with the source task's A; `scratch` trained A and v; by N, then trial.
    """

    experiment: Literal["spatial"] = "spatial"
    patches: int  # d
    set_size: int  # C
    iterations: tuple[int, ...]
    overlap: tuple[Numbers, ...]  # share of the C - 1 largest A_ij that are of i's own set, mean over patches i
    exact: tuple[Numbers, ...]  # share of patches i of which all C - 1 are
    loss: tuple[Numbers, ...]  # test logistic loss
    accuracy: tuple[Numbers, ...]  # test accuracy
    constructed_overlap: dict[str, Numbers]  # by attention: own, other, start
    constructed_exact: dict[str, Numbers]
    constructed_loss: dict[str, Numbers]
    constructed_accuracy: dict[str, Numbers]
    samples: tuple[int, ...]  # N of the target task
    success: float  # test accuracy at which a trial has succeeded
    target_accuracy: dict[str, tuple[Numbers, ...]]  # by transfer, scratch

    @property
    def chance(self) -> float:
        """Mean overlap of random attention."""
        return (self.set_size - 1) / (self.patches - 1)

    @property
    def trials(self) -> int:
        return len(self.overlap)

    def successes(self) -> dict[str, list[int]]:
        """Trials that reached `success` on the target task, by arm and N; one that diverged did not."""
        return {
            arm: [sum(x is not None and x >= self.success for x in cell) for cell in table]
            for arm, table in self.target_accuracy.items()
        }
