"""What `tokenprune measure` left of runs: checked as it is read, and selected by names."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tokenprune.errors import TokenpruneError, shortened
from tokenprune.runs import MeasureResult, RunFolder, TrainResult, Values, read_result

if TYPE_CHECKING:
    from tokenprune.claims.evidence import RunData

#: Options that say which prunings are measured beside the unpruned model, and so change nothing of one of them.
_PRUNINGS = ("methods", "keep", "site")
_Label = str | int | float


class Missing(Exception):
    """Why a run does not say what is asked, in a few words. final: whether measuring it again would not, either."""

    def __init__(self, why: str, *, final: bool = False):
        super().__init__(why)
        self.final = final


@dataclass(frozen=True)
class Selected:
    """A part of a measured array. values: [axes]. labels: by axis, columns by name, a label for each place."""

    unit: str
    axes: tuple[str, ...]
    values: np.ndarray
    labels: Mapping[str, Mapping[str, tuple[_Label, ...]]]

    @classmethod
    def whole(cls, found: Values) -> "Selected":
        return cls(found.unit, found.axes, np.asarray(found.values, dtype=float), found.labels)

    def named(self, axis: str, column: str) -> tuple[_Label, ...]:
        """The labels of an axis. Raises Missing where it has none of that name."""
        try:
            return self.labels[axis][column]
        except KeyError:
            raise Missing(f"its axis {axis!r} does not say {column!r}") from None

    def places(self, axis: str, column: str) -> np.ndarray:
        """The same, as numbers. Raises Missing where they are none."""
        found = self.named(axis, column)
        if any(isinstance(each, str) for each in found):
            raise Missing(f"{column!r} of its axis {axis!r} is no number")
        return np.array(found, dtype=float)

    def along(self, *axes: str) -> np.ndarray:
        """The values, [axes]. Raises Missing where it has other axes."""
        if self.axes != axes:
            raise Missing(f"its axes are not {', '.join(axes) or 'none'}")
        return self.values

    @property
    def number(self) -> float:
        """The one value of what has no axis. Raises Missing."""
        return float(self.along())

    def at(self, axis: str, **labels: _Label) -> "Selected":
        """The one place on an axis that has these labels. Raises Missing where none or several have."""
        if axis not in self.axes:
            raise Missing(f"it has no axis {axis!r}")
        columns = {column: self.named(axis, column) for column in labels}
        place = self.axes.index(axis)
        found = [
            i for i in range(self.values.shape[place]) if all(columns[name][i] == at for name, at in labels.items())
        ]
        if len(found) != 1:
            words = " ".join(f"{name} {at}" for name, at in labels.items())
            raise Missing(f"{'several' if found else 'none'} of it at {axis} {words}")
        axes = self.axes[:place] + self.axes[place + 1 :]
        left = {name: columns for name, columns in self.labels.items() if name != axis}
        return replace(self, axes=axes, values=self.values.take(found[0], axis=place), labels=left)


def read_measured(folder: RunFolder, trained: TrainResult, problems: list[str]) -> list[tuple[Path, MeasureResult]]:
    """A run's measurements, each with its folder, by name of these; a line in `problems` for what cannot be used."""
    found = []
    for path in result_folders(folder.measurements, problems):
        try:
            result = read_result(path / "result.json", MeasureResult)
            if (result.run, result.weights_sha256) != (folder.name, trained.weights_sha256):
                raise TokenpruneError(f"{path / 'result.json'}: not measured on this run's weights")
            if path.name.rpartition("-")[0] != result.measurement:
                raise TokenpruneError(f"{path / 'result.json'}: damaged: it is of {shortened(result.measurement)}")
        except TokenpruneError as error:
            problems.append(f"{error}: this measurement is not used")
            continue
        if result.seal is None:
            problems.append(f"{path}: no seal, so whether it was changed is unknown")
        found.append((path, result))
    return found


def result_folders(place: Path, problems: list[str]) -> list[Path]:
    """Folders with a result.json, by name; a line in `problems` for each that has none."""
    found = sorted(path for path in place.glob("*") if path.is_dir())
    whole = [path for path in found if (path / "result.json").is_file()]
    problems += [f"{path}: half written (no result.json): not used" for path in found if path not in whole]
    return whole


def conditions(result: MeasureResult) -> str:
    """The options that two results must share to be compared, as JSON: all but which prunings were measured.

    Mini-batches of the Hessian are as large as they were, which a lack of memory may have changed.
    """
    options = {key: result.options[key] for key in sorted(result.options) if key not in _PRUNINGS}
    if (size := result.arrays.get("images a batch")) is not None and not size.axes:
        options["batch"] = int(size.values)
    return json.dumps(options, sort_keys=True)


def results(run: "RunData", measurement: str, under: str | None = None) -> Iterator[MeasureResult]:
    """A run's results of a measurement, in the order of their folders. under: their `conditions`; None: any."""
    for result in run.measured:
        if result.measurement == measurement and under in (None, conditions(result)):
            yield result


def of(run: "RunData", measurement: str, array: str, *, under: str | None = None, **point: _Label) -> Selected:
    """An array of a measurement, at the point of such labels (method="none": unpruned) where it has points.

    Of several results the first that has it, in the order of their folders. under: as in `results`. Raises Missing.
    """
    said = f"{measurement} was not measured of {run.folder.name}"
    for result in results(run, measurement, under):
        try:
            return select(result, array, **point)
        except Missing as error:
            said = f"{measurement} of {run.folder.name}: {error}"
    raise Missing(said)


def select(result: MeasureResult, array: str, **point: _Label) -> Selected:
    """An array of one result, at the point of such labels. Raises Missing."""
    if array not in result.arrays:
        raise Missing(f"no array {array!r}")
    found = Selected.whole(result.arrays[array])
    return found.at("point", **point) if point else found
