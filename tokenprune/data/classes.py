"""Which classes of a data set are used, and how they are labelled by a file that names a classifier's outputs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenprune import files
from tokenprune.data import scene
from tokenprune.data.archive import MOST_CLASSES
from tokenprune.errors import TokenpruneError, UsageError, did_you_mean, shortened, unknown
from tokenprune.recipe import Data

_MOST_BYTES = 16 * files.MIB
#: A line of ImageNet's synset_words.txt: `n01440764 tench, Tinca tinca`.
_SYNSET = re.compile(r"(n\d{8})\s+(\S.*)")


def kept(spec: Data, classes: tuple[str, ...]) -> list[int]:
    """The labels that `exclude` leaves and the scene takes, in the order in which they are counted anew.

    Raises UsageError for classes that there are not, and if fewer than two are left.
    """
    left = _not_excluded(spec.exclude, classes) if spec.exclude else list(range(len(classes)))
    if spec.scene != "spurious":
        return left
    return [left[i] for i in scene.birds_and_airplanes([classes[label] for label in left], spec.source)]


def _not_excluded(names: Sequence[str], classes: tuple[str, ...]) -> list[int]:
    """The other labels. `plants` names the classes of scene.PLANTS."""
    gone: set[str] = set()
    for name in names:
        named = set(scene.PLANTS) if name == "plants" else {name}
        if not named <= set(classes):
            plants = "plants are classes of CIFAR-100, which this data set does not have"
            raise UsageError(f"data.exclude: {plants if name == 'plants' else unknown('class', name, classes)}")
        gone |= named
    left = [label for label, name in enumerate(classes) if name not in gone]
    if len(left) < 2:
        raise UsageError(f"data.exclude: leaves {len(left)} of {len(classes)} classes; at least 2 are needed")
    return left


def outputs(path: Path, classes: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """The output of each of the data set's classes, and a name for every output: the data set's own where it has one.

    The file has a line per output, or is JSON: a list of names, or an object of them by number, as
    imagenet_class_index.json is. An output may have several names there (`["n01440764", "tench"]`), and a line that
    begins with the number of a WordNet synset has two, that number and the rest. Names must be equal to the letter.

    Raises TokenpruneError for a file that cannot be read so, UsageError for a class that it lacks or names twice.
    """
    named = _names(path)
    places: dict[str, list[int]] = {}
    for place, names in enumerate(named):
        for name in dict.fromkeys(names):
            places.setdefault(name, []).append(place)
    found = []
    for name in classes:
        if name not in places:
            hint = did_you_mean(name, places).rstrip()
            what = f"no class {shortened(name)!r}, of which there are images"
            raise UsageError(f"data.classes: {path}: {what}" + (f": {hint}" if hint else ""))
        if len(places[name]) > 1:
            numbers = " and ".join(map(str, places[name][:2]))
            raise UsageError(f"data.classes: {path}: class {shortened(name)!r} is the name of outputs {numbers}")
        found += places[name]
    if len(set(found)) < len(found):
        (first, other), *_ = [
            (a, b) for i, a in enumerate(classes) for j, b in enumerate(classes[:i]) if found[i] == found[j]
        ]
        raise UsageError(f"data.classes: {path}: {shortened(other)!r} and {shortened(first)!r} name one output")
    shown = [names[0] for names in named]
    for place, name in zip(found, classes, strict=True):
        shown[place] = name
    return found, tuple(shown)


def _names(path: Path) -> list[list[str]]:
    """The names of each output."""
    try:
        text = files.read_text(path, _MOST_BYTES)
    except OSError as error:
        raise TokenpruneError(f"{path}: cannot read the classes: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TokenpruneError(f"{path}: no text of names, a line each, and no JSON of them") from None
    text = text.removeprefix("\ufeff").strip()
    found = _of_json(path, text) if text[:1] in ("[", "{") else list(map(_of_line, text.split("\n")))
    for place, names in enumerate(found):
        if not names or not all(names):
            raise TokenpruneError(f"{path}: output {place} (counted from 0) has no name")
    if not 2 <= len(found) <= MOST_CLASSES:
        raise TokenpruneError(f"{path}: found {len(found):,} names, expected those of 2 to {MOST_CLASSES:,} classes")
    return found


def _of_line(line: str) -> list[str]:
    line = line.strip()
    synset = _SYNSET.fullmatch(line)
    return [line, *synset.groups()] if synset else [line]


def _of_json(path: Path, text: str) -> list[list[str]]:
    try:
        content: Any = files.parse_json(text)
    except ValueError as error:
        raise TokenpruneError(f"{path}: no JSON: {error}") from None
    if isinstance(content, dict):
        if set(content) != set(map(str, range(len(content)))):
            raise TokenpruneError(f"{path}: expected names by number, from 0 to {len(content) - 1}, each once")
        content = [content[str(place)] for place in range(len(content))]
    found = [[each] if isinstance(each, str) else each for each in content]
    for place, names in enumerate(found):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TokenpruneError(f"{path}: output {place}: found {shortened(repr(names))}, expected a name or several")
    return found
