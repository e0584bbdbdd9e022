"""`python -m tokenprune.recipe.document > docs/recipes.md`: every key of a recipe, from the schema itself."""

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from tokenprune.recipe.schema import Recipe, is_section

HEAD = """# Recipes: every key

Printed from the schema by `python -m tokenprune.recipe.document`; do not edit.

A recipe is YAML with the sections below; a key or section left out has its default. `tokenprune ls recipes` lists
those that come with the program, `tokenprune cp shallow mine.yaml` copies one to change, `tokenprune validate
mine.yaml` checks it, and `--set model.depth=6` changes a key for one command. Precedence: defaults, then the file,
then `--set`. Unknown keys, keys given twice and values out of range are errors, all reported at once.

A run is identified by the sections `data`, `model`, `pruner` and `train` (its *setting*) and `run.seed`. Runs of one
setting are replicates; runs that differ only in `model.depth` and seed are one *family*, the panels of one figure.
`evaluate` and the rest of `run` may change without making another run.
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
            yield Key(path, _allowed(field.annotation, field.metadata), _yaml(default), field.description or "")


def document() -> str:
    parts = [HEAD]
    for name, field in Recipe.model_fields.items():
        section = _model(field.annotation)
        parts += [
            f"\n## {name}\n\n{(section.__doc__ or '').strip()}\n",
            "\n| key | value | default | what |\n|---|---|---|---|\n",
        ]
        parts += [
            f"| `{key.path}` | {_cell(key.allowed)} | `{key.default}` | {_cell(key.description)} |\n"
            for key in keys(section, f"{name}.")
        ]
    return "".join(parts)


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
    if origin in (Union, types.UnionType):
        inner = " or ".join(_allowed(part, metadata) for part in arguments if part is not type(None))
        return f"{inner}, or null"
    word = {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(annotation, "keys and values")
    return " ".join([word, " and ".join(bounds)]).strip()


def _yaml(value: Any) -> str:
    """JSON is YAML; strings as people write them."""
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    print(document(), end="")
