"""`python -m tokenprune.recipe.document > docs/recipes.md`: every key of a recipe, from the schema itself."""

import json
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tokenprune.recipe.grid import Measure, Scale, Sweep
from tokenprune.recipe.schema import Recipe
from tokenprune.section import Section, is_section
from tokenprune.theory import EXPERIMENTS
from tokenprune.theory import experiment as experiment_named

HEAD = """# Recipes: every key

Printed from the schema by `python -m tokenprune.recipe.document`; do not edit.

A recipe is YAML with the sections below; a key or section left out has its default. `tokenprune ls recipes` lists
those that come with the program, `tokenprune cp shallow mine.yaml` copies one to change, `tokenprune validate
mine.yaml` checks it, and `--set model.depth=6` changes a key for one command. Precedence: defaults, then the file,
then `--set`. Unknown keys, keys given twice and values out of range are errors, all reported at once.

A run is identified by the sections `data`, `model`, `start`, `pruner` and `train` (its *setting*) and `run.seed`. Runs
of one setting are replicates; runs that differ only in `model.depth` and seed are one *family*, the panels of one
figure. `evaluate` and the rest of `run` may change without making another run.
"""

THEORY = """
# Recipes of the theory laboratory

`tokenprune theory EXPERIMENT --recipe NAME` takes these; those that come with the program are in `recipes/theory/`, and
`tokenprune cp theory/phase-alpha mine.yaml` copies one. `experiment: phase` and so on names the experiment. A run is
identified by all sections but `run`, and by `run.seed`. Values marked "chosen" are not the authors'.
"""


SWEEPS = """
# Sweeps

`tokenprune sweep NAME` takes these; those that come with the program are in `recipes/sweeps/`. A cell for every
combination of the values of `grid`, and for those of each further grid in `also`; docs/sweeps.md says how they are run.

| key | value | default | what |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Key:
    """A key of a recipe. `allowed` is its type and range in words, `default` is as YAML writes it."""

    path: str
    allowed: str
    default: str
    description: str

    @property
    def choices(self) -> list[str]:
        """Every value, where the key takes one of a few words."""
        words = self.allowed.split(" or ")
        return words if len(words) > 1 and all(word.isidentifier() for word in words) else []


def keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[Key]:
    """Every key that is not a section, in the schema's order."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        if is_section(model, name):
            yield from keys(_model(field.annotation), f"{path}.")
        else:
            default = field.get_default(call_default_factory=True)
            shown = "required" if field.is_required() else _yaml(default)
            yield Key(path, _allowed(field.annotation, field.metadata), shown, field.description or "")


def document() -> str:
    parts = [HEAD]
    parts += [_section(name, field, "##") for name, field in Recipe.model_fields.items()]
    parts.append(SWEEPS)
    parts += [_row(key) for model, prefix in ((Sweep, ""), (Measure, "prune.")) for key in keys(model, prefix)]
    parts.append(THEORY)
    shown: list[tuple[str, type[BaseModel]]] = []
    for experiment in EXPERIMENTS:
        recipe = experiment_named(experiment).recipe
        parts.append(f"\n## theory {experiment}\n")
        same = [name for name, field in recipe.model_fields.items() if (name, field.annotation) in shown]
        if same:
            parts.append(f"\nSections {', '.join(f'`{name}`' for name in same)} as above, with these defaults:")
            parts.append(f" {_changed(recipe, same)}.\n")
        for name, field in recipe.model_fields.items():
            if name != "experiment" and name not in same:
                parts.append(_section(name, field, "###"))
                shown.append((name, _model(field.annotation)))
    return "".join(parts)


def _section(name: str, field: FieldInfo, level: str) -> str:
    section = _model(field.annotation)
    head = f"\n{level} {name}\n\n{(section.__doc__ or '').strip()}\n\n"
    head += "| key | value | default | what |\n|---|---|---|---|\n"
    defaults = field.get_default(call_default_factory=True)
    rows = [_row(replace(key, default=_default(key, defaults))) for key in keys(section, f"{name}.")]
    return head + "".join(rows)


def _row(key: Key) -> str:
    return f"| `{key.path}` | {_cell(key.allowed)} | `{key.default}` | {_cell(key.description)} |\n"


def _default(key: "Key", section: BaseModel) -> str:
    """The recipe's default, which may differ from the section's own."""
    value: Any = section
    for part in key.path.split(".")[1:]:
        value = getattr(value, part)
    return _yaml(value)


def _changed(recipe: type[BaseModel], sections: Sequence[str]) -> str:
    """Where an experiment's defaults are not those of the sections themselves."""
    found = [
        f"`{key.path}: {value}`"
        for name in sections
        for key in keys(_model(recipe.model_fields[name].annotation), f"{name}.")
        if (value := _default(key, recipe.model_fields[name].get_default(call_default_factory=True))) != key.default
    ]
    return ", ".join(found) or "no other"


def _model(annotation: Any) -> type[BaseModel]:
    assert issubclass(annotation, BaseModel)
    return annotation


def _allowed(annotation: Any, metadata: list[Any]) -> str:
    """Type and range in words: `number > 0 and <= 1`, `adamw or muon`, `list of words`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    bounds = [
        f"{sign} {getattr(item, name):g}"
        for name, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
        for part in metadata
        for item in (part, *getattr(part, "metadata", ()))
        if getattr(item, name, None) is not None
    ]
    if origin is Annotated:
        return _allowed(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return " or ".join(arguments)
    if origin is tuple:
        return f"list of: {_allowed(arguments[0], [])}"
    if origin is dict:
        words = {Any: "keys and values", Scale: "names, each with keys of a sweep"}
        return words.get(arguments[1], "keys, each with a list of values")
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "keys below"
    if origin in (Union, types.UnionType):
        inner = " or ".join(_allowed(part, metadata) for part in arguments if part is not type(None))
        return f"{inner}, or null" if type(None) in arguments else inner
    word = {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(annotation, "keys and values")
    return " ".join([word, " and ".join(bounds)]).strip()


def _yaml(value: Any) -> str:
    """JSON is YAML; strings as people write them."""
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    print(document(), end="")
