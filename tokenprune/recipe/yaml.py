"""YAML of version 1.2's core schema, so that 010 is ten, 12:30 is text, and no is not false."""

import copy
import functools
import re
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tokenprune.errors import UsageError, shortened

#: Values and keys that a file may hold, what they may expand to by aliases, and how deep.
_NODES, _EXPANDED, _DEPTH = 15_000, 100_000, 50
#: Digits of a whole number: more than any key takes, fewer than take time.
_DIGITS = 15

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BOOL = re.compile("true|True|TRUE|false|False|FALSE")
_NULL = re.compile("null|Null|NULL|~|")


class RecipeError(UsageError):
    """A recipe that cannot be used; the message lists everything that is wrong with it, a line each."""


class _Loader(yaml.SafeLoader):
    """Loads YAML 1.2's core schema; a key given twice is reported, not dropped."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[str] = []
        self.nodes = self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuses texts at once that would take long to read."""
        self.nodes += 1
        self.depth += 1
        mark = self.peek_event().start_mark
        if self.nodes > _NODES:
            raise ConstructorError(None, None, f"more than {_NODES:,} keys and values", mark)
        if self.depth > _DEPTH:
            raise ConstructorError(None, None, f"nested more than {_DEPTH} deep", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                self.duplicates.append(f"line {line}: {shortened(key)}: given twice, first on line {seen[key]}")
            seen.setdefault(key, line)
        return super().construct_mapping(node, deep)

    def scalar(self, node: ScalarNode, taken: re.Pattern[str] | None = None) -> str:
        """The text of a scalar; an error where it does not fit its tag."""
        text = str(self.construct_scalar(node))
        if taken is not None and not taken.fullmatch(text):
            what = f"{shortened(text)!r} is not what its tag {node.tag.removeprefix(_TAG)} says"
            raise ConstructorError(None, None, what, node.start_mark)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConstructorError(None, None, "half of a character (a lone surrogate)", node.start_mark) from None
        return text


def _measured(node: Node, sizes: dict[int, tuple[int, int]], depth: int) -> tuple[int, int]:
    """Nodes that this one expands to and how deep it goes. Raises ConstructorError beyond what a recipe can be."""
    if id(node) in sizes:
        size, deep = sizes[id(node)]
    else:
        sizes[id(node)] = (0, 0)  # until it is known: meeting the node again then means that it contains itself
        parts = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else []
        parts = list(node.value) if isinstance(node, SequenceNode) else parts
        found = [_measured(part, sizes, depth + 1) for part in parts]
        size, deep = sizes[id(node)] = 1 + sum(s for s, _ in found), 1 + max((d for _, d in found), default=0)
    if size == 0:
        raise ConstructorError(None, None, "an alias is inside the value it refers to", node.start_mark)
    if size > _EXPANDED:
        raise ConstructorError(None, None, f"aliases expand to more than {_EXPANDED:,} values", node.start_mark)
    if depth + deep > _DEPTH:
        raise ConstructorError(None, None, f"nested more than {_DEPTH} deep", node.start_mark)
    return size, deep


def _integer(loader: _Loader, node: ScalarNode) -> int:
    text = loader.scalar(node, _INT)
    if len(text) > _DIGITS:
        raise ConstructorError(None, None, f"a number of {len(text)} digits", node.start_mark)
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _number(loader: _Loader, node: ScalarNode) -> float:
    """A float, or the whole number that `1e4` means where no point was written."""
    text = loader.scalar(node, _FLOAT).lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    whole = "e" in text and "." not in text and value.is_integer() and abs(value) < 10**_DIGITS
    return int(value) if whole else value


def _unknown(loader: _Loader, node: Node) -> Any:
    raise ConstructorError(None, None, f"tag {shortened(node.tag)} is not taken", node.start_mark)


def _text(loader: _Loader, node: ScalarNode) -> str:
    return loader.scalar(node)


def _truth(loader: _Loader, node: ScalarNode) -> bool:
    return loader.scalar(node, _BOOL).lower() == "true"


def _nothing(loader: _Loader, node: ScalarNode) -> None:
    loader.scalar(node, _NULL)


for _kind, _pattern, _first, _make in (
    ("bool", _BOOL, "tTfF", _truth),
    ("int", _INT, "-+0123456789", _integer),
    ("float", _FLOAT, "-+.0123456789", _number),
    ("null", _NULL, ("n", "N", "~", ""), _nothing),
    ("merge", re.compile("<<"), "<", _text),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"(?:{_pattern.pattern})\\Z"), list(_first))
    _Loader.add_constructor(f"{_TAG}{_kind}", _make)
_Loader.add_constructor(f"{_TAG}str", _text)
for _kind in ("seq", "map"):
    _Loader.yaml_constructors[f"{_TAG}{_kind}"] = yaml.SafeLoader.yaml_constructors[f"{_TAG}{_kind}"]
_Loader.add_constructor(None, _unknown)


class _Dumper(yaml.SafeDumper):
    """Quotes text that some version of YAML would not read as text."""

    yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
            *_Loader.yaml_implicit_resolvers.get(first, ()),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }


@functools.lru_cache(maxsize=4)
def _read(text: str) -> tuple[Any, list[str]]:
    """The value of a text and the keys given twice; cached, since a recipe's kind is looked up before it is read.

    Raises YAMLError, ValueError, OverflowError.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, []
        _measured(node, {}, 0)
        return loader.construct_document(node), loader.duplicates
    finally:
        loader.dispose()


def read_yaml(text: str, where: str, problems: list[str]) -> Any:
    """The value of a YAML text; keys given twice are added to `problems`. Raises RecipeError where it is not YAML."""
    try:
        value, duplicates = _read(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
        raise RecipeError(f"{where}:{line} not valid YAML: {shortened(what, 200)}") from None
    except (ValueError, OverflowError) as error:
        raise RecipeError(f"{where}: not valid YAML: {shortened(str(error), 200)}") from None
    problems.extend(duplicates)
    return copy.deepcopy(value)


def write_yaml(tree: Any) -> str:
    """YAML that `read_yaml`, and every other reader, reads back to the same."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False)


def typed(text: str, where: str, problems: list[str]) -> Any:
    """A value as typed on a command line: YAML without comments.

    Raises RecipeError where it is not YAML, and where a part of it would be a comment.
    """
    value = read_yaml(text, where, problems)
    last = 0
    for token in yaml.scan(text):
        if not isinstance(token, yaml.StreamEndToken | yaml.BlockEndToken):
            last = token.end_mark.index
    if text[last:].strip():
        raise RecipeError(f"{where}: {shortened(text[last:].strip())!r} is a comment to YAML; quote the value")
    return value


def typed_pairs(option: str, given: Sequence[str], example: str) -> dict[str, Any]:
    """Keys and values of a repeatable option, KEY=VALUE, values as `typed`. Raises RecipeError."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        where = f"{option} {shortened(text)!r}"
        if not key.strip() or not equals:
            raise RecipeError(f"{where}: expected KEY=VALUE, such as {example}")
        problems: list[str] = []
        found[key.strip()] = typed(value, where, problems)
        if problems:
            raise RecipeError(f"{where}: {problems[0]}")
    return found


def as_typed(value: Any) -> str | None:
    """The text inside quotes that enclose all of what was typed; None where none do."""
    try:
        tokens = [token for token in yaml.scan(value) if isinstance(token, yaml.ScalarToken)]
        quoted = value[:1] in ("'", '"') and len(tokens) == 1 and tokens[0].end_mark.index == len(value.rstrip())
    except yaml.YAMLError:
        return None
    return tokens[0].value if quoted else None
