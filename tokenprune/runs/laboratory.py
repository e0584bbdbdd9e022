"""Fields that all results of the theory laboratory share."""

from typing import Any

from tokenprune.runs.records import SCHEMA, Result

Numbers = tuple[float | None, ...]


class TheoryResult(Result):
    """A result.json of the laboratory."""

    schema_version: int = SCHEMA
    name: str  # of the recipe
    setting: str  # shared by runs that differ only by seed
    seed: int
    recipe: dict[str, Any]  # resolved, less the machine
    models: int  # trained in all
    seconds: float  # over all resumptions
    device: str
