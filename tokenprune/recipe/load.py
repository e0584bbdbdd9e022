"""From a YAML file, or the name of a shipped recipe, to a validated Recipe; all errors at once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tokenprune.errors import UsageError, nearest, unknown
from tokenprune.recipe.schema import Recipe
from tokenprune.recipe.theory import THEORY_RECIPES, TheoryRecipe
from tokenprune.runs import atomic
from tokenprune.shipped import KINDS, shipped_recipes

_Kind = TypeVar("_Kind", bound=BaseModel)


class RecipeError(UsageError):
    """A recipe that cannot be used; the message lists everything that is wrong with it, a line each."""


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
    path = Path(source)
    if path.is_file():
        return path
    if str(path.parent) in KINDS:
        kind, path = str(path.parent), Path(path.name)
    shipped = shipped_recipes(kind)
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if path.parent == Path() and name in shipped:
        return shipped[name]
    if path.is_dir():
        raise UsageError(f"recipe {str(source)!r} is a folder; name a YAML file in it")
    if path.suffix in (".yaml", ".yml") or path.parent != Path():
        guess = nearest(name, shipped)
        hint = f"did you mean {guess}? " if guess else ""
        raise UsageError(f"{source}: no such file; {hint}recipes that come with the program: {', '.join(shipped)}")
    elsewhere = [f"{other}/{name}" for other in ("", *KINDS) if other != kind and name in shipped_recipes(other)]
    if elsewhere:
        raise UsageError(f"recipe {name!r}: did you mean {elsewhere[0].lstrip('/')}?")
    raise unknown("sweep" if kind == "sweeps" else "recipe", name, shipped)


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Loaded[Recipe]:
    """Read, override (`a.b=c`, parsed as YAML) and validate. Raises UsageError, RecipeError."""
    path = find_recipe(source)
    text = read_text(path)
    tree = read_yaml(text, str(path), [])
    if isinstance(tree, dict):
        for key, verb in (("experiment", f"theory {tree.get('experiment')}"), ("base", "sweep")):
            if key in tree:
                raise RecipeError(f"{path}: a recipe of `tokenprune {verb}`, not of `tokenprune train`")
    return Loaded(parse_recipe(text, str(path), overrides), _name(path), text, tuple(overrides))


def experiment_of(source: str | Path) -> str | None:
    """Which experiment of the theory laboratory a recipe is for; None for a recipe of `tokenprune train`."""
    path = find_recipe(source)
    tree = read_yaml(read_text(path), str(path), [])
    found = tree.get("experiment") if isinstance(tree, dict) else None
    if found is not None and found not in THEORY_RECIPES:
        raise RecipeError(f"{path}: experiment: {unknown('experiment', str(found), THEORY_RECIPES)}")
    return found


def load_theory_recipe(source: str | Path, experiment: str, overrides: Sequence[str] = ()) -> Loaded[TheoryRecipe]:
    """A recipe of the theory laboratory, for that experiment. Raises UsageError, RecipeError."""
    path = find_recipe(source, "theory")
    text = read_text(path)
    tree = read_yaml(text, str(path), [])
    found = tree.get("experiment", experiment) if isinstance(tree, dict) else experiment
    if found != experiment:
        raise RecipeError(f"{path}: a recipe of `tokenprune theory {found}`, not of `tokenprune theory {experiment}`")
    recipe = parse_recipe(text, str(path), overrides, THEORY_RECIPES[experiment])
    return Loaded(recipe, _name(path), text, tuple(overrides))


def _name(path: Path) -> str:
    """What runs of a recipe are called: as its file, or as the run that keeps it as its own copy."""
    run = re.fullmatch(r"(.+)-[0-9a-f]{8}-s\d+", path.absolute().parent.name)
    return run[1] if run and path.stem in ("recipe", "resolved") else path.stem


def read_text(path: Path) -> str:
    """A recipe file as it stands. Raises RecipeError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a text file; a recipe is YAML in UTF-8") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot read it: {error.strerror}") from None


def parse_recipe(
    text: str,
    where: str,
    overrides: Sequence[str] = (),
    kind: type[_Kind] = Recipe,  # type: ignore[assignment]
) -> _Kind:
    """A validated recipe from YAML text; `where` names it in errors."""
    found: list[str] = []
    tree = read_yaml(text, where, found)
    problems = [f"{where}: {problem}" for problem in found]
    if tree is None:
        raise RecipeError(f"{where}: the recipe is empty; `tokenprune ls recipes` shows some to start from")
    if not isinstance(tree, dict):
        raise RecipeError(f"{where}: expected sections such as `data:`, found {_shown(tree)}")
    for override in overrides:
        _override(tree, override, problems)
    try:
        recipe = kind.model_validate(tree)
    except ValidationError as error:
        problems += [_placed(problem, where, overrides) for problem in explain(error, kind)]
    if problems:
        raise RecipeError("\n".join(problems))
    return recipe


def _placed(problem: str, where: str, overrides: Sequence[str]) -> str:
    """A problem after its place: the override that set the key, else the file."""
    path, _, what = problem.partition(": ")
    for override in reversed(overrides):
        key = override.partition("=")[0].strip()
        if path == key:
            return f"--set {override}: {what}"
        if path.startswith(f"{key}."):
            return f"--set {override}: {problem}"
    return f"{where}: {problem}"


def without_effect(recipe: Recipe) -> list[str]:
    """Keys that were given and change nothing: a timm model by name has sizes of its own."""
    given = recipe.model.model_fields_set - {"name", "checkpoint"}
    return [f"model.{key}" for key in type(recipe.model).model_fields if key in given and recipe.model.name]


def dump_recipe(recipe: BaseModel) -> str:
    """Every key with its value, as YAML that `parse_recipe` reads back to an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def copy_recipe(source: str | Path, destination: Path, *, force: bool = False) -> Path:
    """Copy a recipe to a file or into a folder; returns the new file. Raises UsageError rather than replace one."""
    path = find_recipe(source)
    target = destination / path.name if destination.is_dir() else destination
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; --force replaces it")
    atomic.write_text(target, path.read_text(encoding="utf-8"))
    return target


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-3 is a number, and a key given twice is reported, not dropped."""

    duplicates: list[str]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, (list, dict)):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                self.duplicates.append(f"line {line}: {key}: given twice, first on line {seen[key]}")
            seen.setdefault(key, line)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    """A float, or the whole number that `1e4` means where no point was written."""
    text = str(node.value).replace("_", "").lower()
    if "e" in text and "." not in text and float(text).is_integer():
        return int(float(text))
    return loader.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def read_yaml(text: str, where: str, problems: list[str]) -> Any:
    """What YAML says; keys given twice are added to `problems`. Raises RecipeError where it is not YAML."""
    try:
        loader = _Loader(text)
        loader.duplicates = problems
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
        raise RecipeError(f"{where}:{line} not valid YAML: {what}") from None
    except (ValueError, RecursionError) as error:  # a date such as 2024-99-99, nesting without end
        raise RecipeError(f"{where}: not valid YAML: {error}") from None


def _override(tree: dict[str, Any], override: str, problems: list[str]) -> None:
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        problems.append(f"--set {override!r}: expected KEY=VALUE, such as train.epochs=3")
        return
    for part in parts[:-1]:
        inner = tree.setdefault(part, {})
        if inner is None:
            inner = tree[part] = {}
        if not isinstance(inner, dict):
            problems.append(f"--set {override!r}: {part} holds {_shown(inner)}, not keys")
            return
        tree = inner
    found: list[str] = []
    tree[parts[-1]] = read_yaml(value, f"--set {override!r}", found)
    problems += [f"--set {override!r}: {problem}" for problem in found]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def explain(error: ValidationError, model: type[BaseModel] = Recipe) -> list[str]:
    """What is wrong, a line each: dotted path, what was found, what is allowed, the nearest known key."""
    items: list[Any] = error.errors()
    wrong_items = {item["loc"][:-1] for item in items}  # of a list: pydantic also counts it as too short
    shown = [item for item in items if not (item["type"] == "too_short" and item["loc"] in wrong_items)]
    return [line for item in shown for line in _explain(item, model)]


def _explain(item: Any, model: type[BaseModel]) -> Iterable[str]:
    """Lines for one pydantic error: dotted path, what was found, what is allowed."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _keys(model, item["loc"][:-1])
        guess = nearest(str(item["loc"][-1]), known)
        hint = f"did you mean {guess}? " if guess else ""
        yield f"{path}: unknown key: {hint}known here: {', '.join(known)}"
    elif item["type"] == "value_error":
        for line in str(item["ctx"]["error"]).splitlines():
            joint = "." if line.partition(":")[0] in _keys(model, item["loc"]) else ": "
            yield f"{path}{joint}{line}" if path else line
    else:
        yield f"{path}: found {_shown(item['input'])}, {_allowed(item)}"


def _allowed(item: Any) -> str:
    """pydantic's words, in those of YAML."""
    if item["type"] == "too_short":
        return f"must have at least {item['ctx']['min_length']} item"
    what: str = item["msg"].replace("Input should be", "must be").replace("Input should have", "must have")
    what = what.replace("a valid dictionary or instance of", "keys of section").replace("a valid tuple", "a list")
    return what[0].lower() + what[1:]


def _keys(model: Any, location: Sequence[str | int]) -> list[str]:
    for part in location:
        model = model.model_fields[part].annotation if _is_section(model) else None
    return list(model.model_fields) if _is_section(model) else []


def _is_section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)
