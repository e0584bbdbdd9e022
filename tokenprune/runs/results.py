"""Results on disk: written with a seal, and read only if their numbers agree.

A result.json holds the sha256 of the files that belong to it and of itself. A result without a seal, or
changed and sealed again, must still agree with itself, its folder's name and the files beside it.
"""

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from tokenprune import files
from tokenprune.errors import TokenpruneError, shortened
from tokenprune.identity import canonical, curve_id
from tokenprune.runs import atomic
from tokenprune.runs.records import SCHEMA, Epoch, PruneResult, Result, TrainResult
from tokenprune.statistics import Z

if TYPE_CHECKING:
    import numpy as np

_Record = TypeVar("_Record", bound=BaseModel)
_Result = TypeVar("_Result", bound=Result)

_AGAIN = "make this result again with --force, or move its folder away"
PREDICTIONS = "predictions.npz"
#: Predictions as one bit an image: `{"images": count, "bits": [base64 of each row]}`.
RIGHT = "right.json"
#: Draws of a random pruner that a curve's identity is checked with; curves of other pruners do not record them.
_DRAWS = 64


def save_result(path: Path, result: Result, beside: Sequence[str] = (), *, indent: int | None = 2) -> None:
    """Write a result.json with its seal. beside: names of files in its folder that are part of it."""
    known = {name: files.sha256(path.parent / name) for name in beside if (path.parent / name).is_file()}
    atomic.write_json(path, sealed(result.model_copy(update={"files": known}).stored()), indent=indent)


def sealed(tree: dict[str, Any]) -> dict[str, Any]:
    """A result's JSON with its seal."""
    return tree | {"seal": _seal(tree)}


def read_record(path: Path, kind: type[_Record], remedy: str = _AGAIN) -> _Record:
    """A JSON file as a typed record; TokenpruneError names the file, what is wrong with it and the remedy."""
    return parse_record(path, read_text(path), kind, remedy)


def read_result(path: Path, kind: type[_Result], remedy: str = _AGAIN) -> _Result:
    """A result.json whose seal is intact, or that has none; `changed` checks the files beside it.

    Raises TokenpruneError that names the file, what is wrong with it and the remedy.
    """
    text = read_text(path)
    result = parse_record(path, text, kind, remedy)
    tree = files.parse_json(text)
    if result.seal is not None and result.seal != _seal({key: tree[key] for key in tree if key != "seal"}):
        raise TokenpruneError(f"{path}: changed after it was written (its seal is broken); {remedy}")
    return result


def whole(path: Path) -> bool:
    """Whether a result.json is there and unchanged."""
    try:
        tree = files.parse_json(files.read_text(path))
        return tree["seal"] == _seal({key: tree[key] for key in tree if key != "seal"})
    except (OSError, ValueError, KeyError, TypeError):
        return False


def changed(folder: Path, result: Result, at: Callable[[str], Path] | None = None) -> dict[str, str]:
    """An error message for each file beside a result that is not the one it belongs to, by name.

    at: where the file of a name is, if not in `folder`.

    A missing file is no error: published results come without predictions. Where nothing is sealed, predictions are
    counted instead.
    """
    found = {}
    for name, sha256 in result.files.items():
        path = at(name) if at else folder / name
        try:
            if files.sha256(path) != sha256:
                found[name] = f"{path}: changed after its result was written (sha256 differs)"
        except FileNotFoundError:
            pass
        except OSError as error:
            found[name] = f"{path}: cannot be read: {error.strerror}"
    if isinstance(result, TrainResult | PruneResult) and (result.seal is None or (folder / RIGHT).is_file()):
        try:
            right(folder, result)
        except TokenpruneError as error:
            found[PREDICTIONS] = str(error)
    return found


def right(folder: Path, result: TrainResult | PruneResult) -> "np.ndarray | None":
    """Which test images were classified correctly, bool [rows, images]: a row per point of a curve, one of a training.

    From predictions.npz or, in packed runs, from right.json; None where there is neither. Raises TokenpruneError if the
    file is damaged, or does not have the counts of the result.
    """
    import numpy as np

    path = next((path for name in (PREDICTIONS, RIGHT) if (path := folder / name).is_file()), None)
    if path is None:
        return None
    try:
        if path.name == PREDICTIONS:
            arrays = files.read_arrays(path)
            found = np.atleast_2d(arrays["predictions"] == arrays["labels"])
        else:
            tree = files.parse_json(files.read_text(path))
            rows = [np.frombuffer(base64.b64decode(row), np.uint8) for row in tree["bits"]]
            found = np.unpackbits(np.stack(rows), axis=1, count=tree["images"]).astype(bool)
        counted = [p.correct for p in result.points] if isinstance(result, PruneResult) else [result.test_correct]
        if found.sum(axis=1).tolist() == counted:
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # shapes that do not match compare to one bool
        pass
    raise TokenpruneError(f"{path}: damaged: not the predictions that result.json counts")


def check_training(path: Path, result: TrainResult) -> None:
    """Raises TokenpruneError where a training's numbers contradict each other, or its folder `path`."""
    _accuracy(path, result.test_correct, result.test_count, result.test_accuracy)
    name = re.fullmatch(r".+-([0-9a-f]{8})-s(\d+)", path.name)
    if name is not None and (name[1], int(name[2])) != (result.setting, result.seed):
        raise _contradiction(path, f"its result is of setting {result.setting}, seed {result.seed}")
    if result.test_count != result.data.test_count:
        raise _contradiction(path, f"{result.test_count} test images and {result.data.test_count}")


def epochs_of(path: Path, epochs: Sequence[Epoch], result: TrainResult) -> list[Epoch]:
    """The epochs of a finished run. Raises TokenpruneError where some are missing or are another run's."""
    found = [epoch.epoch for epoch in epochs]
    if found != list(range(result.epochs + 1)):
        raise _contradiction(path, f"{len(found)} epochs instead of {result.epochs + 1}")
    if any(epoch.attention_on_relevant and len(epoch.attention_on_relevant) != result.model.depth for epoch in epochs):
        raise _contradiction(path, f"attention of another number of blocks than {result.model.depth}")
    if epochs[-1].test_accuracy not in (None, result.test_accuracy):
        raise _contradiction(path, "its last accuracy is not that of result.json")
    return list(epochs)


def check_curve(path: Path, result: PruneResult, run: str) -> None:
    """Raises TokenpruneError where a curve's numbers contradict each other, its folder `path` or its run's name."""
    _accuracy(path, result.baseline_correct, result.count, result.baseline_accuracy)
    if result.run != run:
        raise _contradiction(path, f"a curve of run {shortened(result.run)}")
    for problem in _contradictions(result):
        raise _contradiction(path, problem)
    if path.name not in {f"{result.method}-{identity}" for identity in _identities(result)}:
        raise _contradiction(path, "its method, site, ratios or options are not those of its folder's name")


def _contradictions(result: PruneResult) -> Iterator[str]:
    for point in result.points:
        at = f"keep {point.asked}"
        if point.correct != result.baseline_correct - point.lost + point.gained:
            yield f"{at}: {point.correct} right, but {point.lost} lost and {point.gained} gained"
        if point.lost > result.baseline_correct or point.correct > result.count:
            yield f"{at}: more right or lost than there are"
        if not _same(point.accuracy, point.correct / result.count):
            yield f"{at}: accuracy {point.accuracy:g} is not {point.correct} of {result.count}"
        if not _wilson(point.low, point.high, point.correct, result.count):
            yield f"{at}: interval {point.low:g} to {point.high:g} is not that of {point.correct} of {result.count}"
        if not _same(point.difference, (point.gained - point.lost) / result.count):
            yield f"{at}: difference {point.difference:g} is not that of its counts"
        if not point.difference_low - 1e-9 <= point.difference <= point.difference_high + 1e-9:
            yield f"{at}: difference {point.difference:g} is outside of its interval"


def _identities(result: PruneResult) -> Iterator[str]:
    keep = list(dict.fromkeys(point.keep or point.keep_ratio for point in result.points))
    for seeds in range(1, _DRAWS):
        yield curve_id(result.options, keep, result.written_site, seeds, result.finetune_epochs, result.precision)


def _accuracy(path: Path, correct: int, count: int, accuracy: float) -> None:
    if correct > count or not _same(accuracy, correct / count):
        raise _contradiction(path, f"accuracy {accuracy:g} is not {correct} of {count} images")


def _wilson(low: float, high: float, correct: int, count: int) -> bool:
    """Whether these are the bounds of Wilson's interval, the roots of count (share - b)^2 = z^2 b (1 - b).

    Checked by the equation, because computing the interval again would load statsmodels: a second in every `ls`.
    """
    share = correct / count
    at_root = (abs(count * (share - b) ** 2 - Z * Z * b * (1 - b)) < 1e-6 for b in (low, high))
    return low < high and low - 1e-9 <= share <= high + 1e-9 and all(at_root)


def _same(first: float, second: float) -> bool:
    return math.isclose(first, second, abs_tol=1e-9)


def _contradiction(path: Path, what: str) -> TokenpruneError:
    return TokenpruneError(f"{path}: damaged: {what}")


def _seal(tree: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(tree)).hexdigest()


def read_text(path: Path) -> str:
    """A record's text. Raises TokenpruneError."""
    try:
        return files.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise TokenpruneError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None


def parse_record(path: Path, text: str, kind: type[_Record], remedy: str = _AGAIN) -> _Record:
    """A record from JSON. Raises TokenpruneError."""
    try:
        tree = files.parse_json(text)
    except ValueError:
        raise TokenpruneError(f"{path}: not valid JSON: the file is damaged; {remedy}") from None
    version = tree.get("schema_version", SCHEMA) if isinstance(tree, dict) else SCHEMA
    if version != SCHEMA:
        found = shortened(str(version))
        raise TokenpruneError(f"{path}: results of schema {found}, this program reads schema {SCHEMA}; {remedy}")
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error" and not first["loc"]:
            raise TokenpruneError(f"{path}: damaged: {first['ctx']['error']}; {remedy}") from None
        where = ".".join(shortened(str(part)) for part in first["loc"])
        raise TokenpruneError(f"{path}: not a {kind.__name__} record: {where}: {first['msg']}; {remedy}") from None
