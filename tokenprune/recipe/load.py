"""From a YAML file, or the name of a shipped recipe, to a validated Recipe; all errors at once."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tokenprune import files
from tokenprune.errors import UsageError, bounded, did_you_mean, first_of, printable, shortened, unknown
from tokenprune.recipe.schema import Recipe
from tokenprune.recipe.yaml import RecipeError, as_typed, read_yaml, typed, write_yaml
from tokenprune.runs import atomic, packed
from tokenprune.section import TAGS
from tokenprune.shipped import KINDS, shipped_recipes

_Kind = TypeVar("_Kind", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[_Kind]):
    """A recipe and where it came from: `text` is the file as given, `overrides` what `--set` said."""

    recipe: _Kind
    name: str
    text: str
    overrides: tuple[str, ...] = ()


def find_recipe(source: str | Path, kind: str = "") -> Path:
    """A path that exists, or the shipped recipe of that name (`shallow`, `shallow.yaml`, `theory/time`).

    kind: the folder that a bare name is looked for in.
    """
    if not printable(str(source)):
        raise UsageError(f"recipe {shortened(ascii(str(source)))}: the name is not text in UTF-8; rename the file")
    try:
        path = packed.folder(Path(source))
        if path.is_file():
            return path
    except OSError as error:  # a name longer than that of any file
        raise UsageError(f"recipe {shortened(str(source))!r}: {error.strerror}") from None
    if path.exists() and not path.is_dir():
        raise UsageError(f"{source}: not a regular file")
    if str(path.parent) in KINDS:
        kind, path = str(path.parent), Path(path.name)
    shipped = shipped_recipes(kind)
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if path.parent == Path() and name in shipped:
        return shipped[name]
    if path.is_dir():
        raise UsageError(f"recipe {str(source)!r} is a folder; name a YAML file in it")
    if path.suffix in (".yaml", ".yml") or path.parent != Path():
        hint = did_you_mean(name, shipped)
        place = shortened(str(source), 200)
        raise UsageError(f"{place}: no such file; {hint}recipes that come with the program: {', '.join(shipped)}")
    for other, verb in {"": "train", "sweeps": "sweep", "theory": "theory"}.items():
        if other != kind and name in shipped_recipes(other):
            raise UsageError(f"recipe {name!r}: one of `tokenprune {verb}`; known here: {', '.join(shipped)}")
    raise unknown("sweep" if kind == "sweeps" else "recipe", name, shipped)


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Loaded[Recipe]:
    """Read, override (`a.b=c`, parsed as YAML) and validate. Raises UsageError, RecipeError."""
    path = find_recipe(source)
    text = read_text(path)
    tree = read_yaml(text, str(path), [])
    if isinstance(tree, dict):
        for key, verb in (("experiment", f"theory {shortened(str(tree.get('experiment')))}"), ("base", "sweep")):
            if key in tree:
                raise RecipeError(f"{path}: a recipe of `tokenprune {verb}`, not of `tokenprune train`")
        overrides = [*_beside(tree, path.parent), *overrides]
    overrides = once(overrides)
    return Loaded(parse_recipe(text, str(path), overrides), recipe_name(path), text, overrides)


def once(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides with each key once, its last value."""
    last = {override.partition("=")[0].strip(): place for place, override in enumerate(overrides)}
    return tuple(overrides[place] for place in sorted(last.values()))


#: Keys that may name a file or folder.
_PATHS = (("data", "source"), ("data", "background"), ("model", "checkpoint"))


def _beside(tree: dict[str, Any], folder: Path) -> list[str]:
    """Overrides for paths in a recipe that exist beside it; others are relative to the current folder."""
    found = []
    for section, key in _PATHS:
        keys = tree.get(section)
        named = keys.get(key) if isinstance(keys, dict) else None
        if isinstance(named, str) and folder != Path() and not Path(named).is_absolute() and _exists(folder / named):
            found.append(f"{section}.{key}={folder / named}")
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def recipe_name(path: Path) -> str:
    """Name of a recipe's runs: its file's, or that of the run whose own copy it is."""
    run = re.fullmatch(r"(.+)-[0-9a-f]{8}-s\d+", path.absolute().parent.name)
    return run[1] if run and path.stem in ("recipe", "resolved") else path.stem


def read_text(path: Path) -> str:
    """The text of a recipe file. Raises RecipeError."""
    try:
        return files.read_text(path, files.RECIPE_BYTES)
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a text file; a recipe is YAML in UTF-8") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot read it: {error.strerror}") from None


def parse_recipe(
    text: str,
    where: str,
    overrides: Sequence[str] = (),
    kind: type[_Kind] = Recipe,  # type: ignore[assignment]
    context: str | None = None,
) -> _Kind:
    """A validated recipe from YAML text; `where` names it in errors. context: RECORDED of a run that was made."""
    found: list[str] = []
    tree = read_yaml(text, where, found)
    problems = [f"{where}: {problem}" for shown in first_of(found) for problem in shown]
    if tree is None:
        raise RecipeError(f"{where}: the recipe is empty; `tokenprune ls recipes` shows some to start from")
    if not isinstance(tree, dict):
        raise RecipeError(f"{where}: expected sections such as `data:`, found {_shown(tree)}")
    for override in overrides:
        _override(tree, override, kind, problems)
    try:
        recipe = kind.model_validate(tree, context=context)
    except ValidationError as error:
        problems += [_placed(problem, where, overrides) for problem in explain(error, kind)]
    if problems:
        raise RecipeError("\n".join(problems))
    return recipe


def _placed(problem: str, where: str, overrides: Sequence[str]) -> str:
    """A problem with where it is: the override that set the key, else the file."""
    path, _, what = problem.partition(": ")
    for override in reversed(overrides):
        key = override.partition("=")[0].strip()
        if path == key:
            return f"--set {shortened(override)}: {what}"
        if path.startswith(f"{key}."):
            return f"--set {shortened(override)}: {problem}"
    return f"{where}: {problem}"


def without_effect(recipe: Recipe) -> list[str]:
    """Keys that were given and have no effect: a timm model by name has its own sizes."""
    given = recipe.model.model_fields_set - {"name", "checkpoint", "checkpoint_key", "head"}
    return [f"model.{key}" for key in type(recipe.model).model_fields if key in given and recipe.model.name]


def dump_recipe(recipe: BaseModel) -> str:
    """Every key with its value, as YAML that `parse_recipe` reads back to an equal recipe."""
    return write_yaml(recipe.model_dump(mode="json"))


def copy_recipe(source: str | Path, destination: Path, *, force: bool = False) -> Path:
    """Copy a recipe to a file or into a folder; returns the new file. Raises UsageError rather than replace one."""
    path = find_recipe(source)
    target = destination / path.name if destination.is_dir() else destination
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; --force replaces it")
    atomic.write_text(target, read_text(path))
    return target


def set_key(override: str, kind: Any) -> tuple[str, Any]:
    """Key and value of `KEY=VALUE` as `--set` takes it, for a recipe of class `kind`.

    Where the key takes text, the value is the text as typed, less quotes around all of it; elsewhere it is YAML.
    Raises RecipeError, a line for each problem.
    """
    shown = f"--set {shortened(override)!r}"
    key, equals, value = override.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise RecipeError(f"{shown}: expected KEY=VALUE, such as train.epochs=3")
    optional, text = _takes_text(kind, key.split("."))
    quoted = as_typed(value) if text else None
    if not printable(f"{override}{quoted}"):
        raise RecipeError(f"{shown}: not text in UTF-8")
    if len(override.splitlines()) > 1:
        raise RecipeError(f"{shown}: more than one line")
    if text:
        null = optional and quoted is None and value.strip() in ("null", "~", "")
        return key, None if null else value if quoted is None else quoted
    problems: list[str] = []
    found = typed(value, shown, problems)
    if problems:
        raise RecipeError("\n".join(f"{shown}: {problem}" for problem in problems))
    return key, found


def _takes_text(kind: Any, key: Sequence[str]) -> tuple[bool, bool]:
    """Whether a key may be null, and whether it takes text besides; an unknown key takes any text."""
    for part in key:
        if not _is_section(kind):  # options of a pruner
            return False, False
        if part not in kind.model_fields:
            return False, True
        field = kind.model_fields[part]
        kind = field.annotation
    union = get_origin(field.annotation) in (Union, UnionType)
    allowed = get_args(field.annotation) if union else (field.annotation,)
    allowed = tuple(get_args(each)[0] if get_origin(each) is Annotated else each for each in allowed)
    return type(None) in allowed, str in allowed


def _override(tree: dict[str, Any], override: str, kind: Any, problems: list[str]) -> None:
    try:
        key, value = set_key(override, kind)
    except RecipeError as error:
        problems.extend(str(error).splitlines())
        return
    if (problem := put(tree, key, value)) is not None:
        problems.append(f"--set {shortened(override)!r}: {problem}")


def put(tree: dict[str, Any], key: str, value: Any) -> str | None:
    """Set a dotted key; a problem where a part of it is no section."""
    *sections, last = key.split(".")
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        inner = tree[section]
        if not isinstance(inner, dict):
            return f"{shortened(section)} holds {_shown(inner)}, not keys"
        tree = inner
    tree[last] = value
    return None


def _shown(value: object) -> str:
    """As YAML writes it, text in quotes."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return shortened(repr(value[:100] if isinstance(value, str | bytes) else value))


def explain(error: ValidationError, model: type[BaseModel] = Recipe) -> list[str]:
    """Problems, a line each: dotted path, what was found, what is allowed, the nearest known key."""
    items: list[Any] = [
        {**item, "loc": tuple(part for part in item["loc"] if part not in TAGS)} for item in error.errors()
    ]
    within = {item["loc"][:n] for item in items for n in range(len(item["loc"]))}
    # A list with a wrong item is counted as too short as well.
    shown, more = first_of([i for i in items if not (i["type"] == "too_short" and i["loc"] in within)])
    return [*(line for item in shown for line in _explain(item, model)), *more]


def _explain(item: Any, model: type[BaseModel]) -> Iterable[str]:
    """Lines for one pydantic error: dotted path, what was found, what is allowed."""
    path = ".".join(shortened(str(part)) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _keys(model, item["loc"][:-1])
        hint = did_you_mean(str(item["loc"][-1]), known)
        yield f"{path}: unknown key: {hint}known here: {', '.join(known)}"
    elif item["type"] == "value_error":
        for line in map(bounded, str(item["ctx"]["error"]).splitlines()):
            joint = "." if line.partition(":")[0] in _keys(model, item["loc"]) else ": "
            yield f"{path}{joint}{line}" if path else line
    else:
        yield f"{path}: found {_shown(item['input'])}, {_allowed(item)}"


def _allowed(item: Any) -> str:
    """pydantic's message, in the terms of YAML."""
    if item["type"] == "too_short":
        return f"must have at least {item['ctx']['min_length']} item"
    if item["type"] in ("bool_type", "bool_parsing"):
        return "must be true or false"
    what: str = item["msg"].replace("Input should be", "must be").replace("Input should have", "must have")
    what = what.replace("a valid dictionary or instance of", "keys of section").replace("a valid tuple", "a list")
    return what[0].lower() + what[1:]


def _keys(model: Any, location: Sequence[str | int]) -> list[str]:
    for part in location:
        model = model.model_fields[part].annotation if _is_section(model) else None
    return list(model.model_fields) if _is_section(model) else []


def _is_section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)
