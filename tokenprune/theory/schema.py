"""Keys that all recipes of the theory laboratory share."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tokenprune.identity import digest
from tokenprune.section import Section, identifying

Count = Annotated[int, Field(ge=1)]


class Machine(Section):
    """Seed and machine; only the seed affects results."""

    seed: int = Field(0, ge=0, description="samples, initial weights and signs of all trials")
    device: Literal["auto", "cuda", "mps", "cpu"] = Field("auto", description="auto is cuda where there is one")
    threads: int | None = Field(None, ge=1, description="chunks trained at once on a CPU, null for a chunk a core")
    memory: int = Field(256, ge=1, description="MiB that a chunk in work may take, one to a core; it shrinks to fit")


class Trials(Section):
    """Independent repetitions, and their test samples."""

    trials: int = Field(20, ge=1, description="models of a cell: own samples, signs and initial weights each")
    test_samples: int = Field(200, ge=1, description="fresh samples each model is tested on")


class TheoryRecipe(Section):
    """What all experiments of the theory laboratory share."""

    experiment: str
    run: Machine = Field(default_factory=lambda: Machine())

    def science(self) -> dict[str, Any]:
        """The keys that decide results, without the seed."""
        return identifying(self, self.model_dump(mode="json", exclude={"run"}))

    def setting(self) -> str:
        """Eight hex digits that runs share which differ only by seed."""
        return digest(self.science())
