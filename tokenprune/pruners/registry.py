"""Pruners by name: the built-in ones, a file each in `methods`, and third parties' (entry points `tokenprune.pruners`).

Knows names without importing torch, so that `ls`, completion and recipe validation stay fast.
"""

import importlib
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokenprune.errors import TokenpruneError, UsageError, refused_options, unknown

if TYPE_CHECKING:
    from tokenprune.pruners.base import Pruner

GROUP = "tokenprune.pruners"

#: One file a method.
METHODS = Path(__file__).parent / "methods"
#: The first that people look for; the others follow by name.
_FIRST = ("magnitude", "random", "oracle")


def _built_in() -> dict[str, str]:
    """Each built-in pruner with the first line of its file."""
    found = {}
    for path in sorted(METHODS.glob("[!_]*.py")):
        with path.open(encoding="utf-8") as file:
            found[path.stem] = file.readline().strip().strip('"').rstrip(".")
    return {name: found[name] for name in (*_FIRST, *(name for name in found if name not in _FIRST))}


BUILT_IN = _built_in()
#: How the first line of a built-in pruner ends that has parameters to learn: `(learned)`, `(adaptive, learned)`.
LEARNED = "learned)"

_classes: dict[str, "type[Pruner]"] = {}
_Class = TypeVar("_Class", bound="type[Pruner]")


def register(name: str) -> Callable[[_Class], _Class]:
    """Class decorator that makes a pruner known by `name`. Raises ValueError if another class has the name."""

    def add(cls: _Class) -> _Class:
        if name in BUILT_IN and cls.__module__ != f"tokenprune.pruners.methods.{name}":
            raise ValueError(f"pruner {name!r} is built-in: give {cls.__name__} another name")
        holder = _classes.get(name)
        if holder is not None and (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"pruner {name!r} is registered already, by {holder.__module__}.{holder.__qualname__}")
        _classes[name] = cls
        return cls

    return add


def known_pruners() -> dict[str, str]:
    """Every pruner's name with one line about it; built-in first, then third parties', then this process's own."""
    named = dict(BUILT_IN)
    for name, point in _third_party().items():
        named[name] = f"from {point.value}"
    for name, cls in _classes.items():
        named.setdefault(name, (cls.__doc__ or "").strip().partition("\n")[0])
    return named


def is_learned(name: str) -> bool:
    """Whether it is a built-in one that has parameters to learn: its first line says so."""
    return BUILT_IN.get(name, "").endswith(LEARNED)


def untrained_pruners() -> list[str]:
    """Those that need no training, and third parties', of which that is not known."""
    return [name for name in known_pruners() if not is_learned(name)]


def described_pruners() -> dict[str, str]:
    """As `known_pruners`, third parties' by the first line of their docstrings: their packages are imported for it."""
    named = known_pruners()
    for name, point in _third_party().items():
        try:
            _load(name, point)
        except TokenpruneError as error:
            named[name] = str(error)
        else:
            named[name] = (_classes[name].__doc__ or named[name]).strip().partition("\n")[0]
    return named


def create(name: str, **options: Any) -> "Pruner":
    """A new pruner.

    Raises UsageError for an unknown name or options it does not take, TokenpruneError if a third party's
    pruner cannot be imported.
    """
    if name not in _classes:
        if name in BUILT_IN:
            importlib.import_module(f"tokenprune.pruners.methods.{name}")
        elif name in _third_party():
            _load(name, _third_party()[name])
        else:
            raise unknown("pruner", name, known_pruners())
    try:
        return _classes[name](**options)
    except TypeError as error:
        raise refused_options(f"pruner {name!r}", _classes[name], options, error) from None


def _third_party() -> dict[str, EntryPoint]:
    return _installed(tuple(sys.path))


@cache
def _installed(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Third parties' pruners. Once for each `sys.path`: the metadata of all packages there is read for it."""
    points: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in BUILT_IN or (point.name in points and points[point.name].value != point.value):
            raise UsageError(f"two pruners are called {point.name!r}: uninstall the package that brings {point.value}")
        points[point.name] = point
    return points


def _load(name: str, point: EntryPoint) -> None:
    try:
        cls = point.load()
    except (Exception, SystemExit) as error:  # third-party code may fail in any way
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise TokenpruneError(f"pruner {name!r} from {point.value} cannot be imported: {why}") from error
    base = importlib.import_module("tokenprune.pruners.base").Pruner
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise TokenpruneError(f"pruner {name!r} from {point.value} is not a Pruner: its package must name a subclass")
    if _classes.get(name) is not cls:
        register(name)(cls)
