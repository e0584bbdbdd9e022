"""What the laboratory's experiments were set to, and which values their papers' authors published."""

from collections.abc import Iterator, Sequence
from typing import Any

from tokenprune import theory
from tokenprune.claims.theory.study import LaboratoryStudy, flat
from tokenprune.drawing.numbers import pretty
from tokenprune.drawing.table import Column, Table
from tokenprune.section import Section

_CHOSEN = " (chosen)"


def parameters(studies: Sequence[LaboratoryStudy[Any]]) -> list[Table]:
    """A table per experiment: every key, with its value in each recipe's first setting."""
    found = []
    for experiment in dict.fromkeys(study.experiment for study in studies):
        alike = [study for study in reversed(studies) if study.experiment == experiment]
        firsts = {study.recipe: flat(study.first.recipe) for study in alike}
        described = dict(_described(theory.experiment(experiment).recipe))
        rows = []
        for key in dict.fromkeys(key for recipe in firsts.values() for key in recipe if described.get(key)):
            text = described[key]
            values = [_value(recipe.get(key)) for recipe in firsts.values()]
            rows.append((key, *values, "chosen" if _CHOSEN in text else "", pretty(text.replace(_CHOSEN, ""))))
        found.append(
            Table(
                f"Settings of {experiment}",
                "The first setting of each recipe. Chosen: not published where it could be read.",
                (
                    Column("key", look="word"),
                    *(Column(name, look="word") for name in firsts),
                    Column("source", look="word"),
                    Column("meaning", look="word"),
                ),
                tuple(rows),
            )
        )
    return found


def _described(schema: type[Section], above: str = "") -> Iterator[tuple[str, str]]:
    for name, field in schema.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _described(kind, f"{above}{name}.")
        else:
            yield f"{above}{name}", field.description or ""


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else "–" if value is None else str(value)
