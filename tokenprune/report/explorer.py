"""The explorer: pictures pruned by method, ratio and site, to be looked at in the page itself.

All that explorer.js draws is in one JSON; arrays are base64 of int16 (`owner`) and uint8 (`heat`), little-endian.
"""

import base64
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

import tokenprune
from tokenprune.claims import RunData, TrainedStudy
from tokenprune.errors import TokenpruneError, counted
from tokenprune.experiments.examples import Examples, examples_of
from tokenprune.experiments.series import Conditions
from tokenprune.report.html import template

#: Characters of all views in a page; what would be more is left out, and named.
MOST = 6_000_000
_SMALL = 64  # side up to which a picture is stored exactly, as PNG


@dataclass(frozen=True)
class Point:
    """What one point leaves of the pictures, and what the model then says (see `experiments.examples.Examples`).

    answers: places among the view's classes; none of a model without a classifier.
    """

    keep: str
    owner: Int[np.ndarray, "e s t"]
    count: Int[np.ndarray, "e s"] | None
    attention: Float[np.ndarray, "e t"] | None
    answers: Sequence[int]
    probability: Sequence[float] | None


@dataclass(frozen=True)
class Method:
    """sites: where tokens leave, in words."""

    name: str
    sites: tuple[str, ...]
    rows: Sequence[Point]


@dataclass(frozen=True)
class View:
    """One model pruned at one place. truths: the pictures' classes, None where they are not known."""

    model: str
    depth: int
    where: str
    classes: Sequence[str]
    pictures: UInt8[np.ndarray, "e h h 3"]
    truths: Sequence[int] | None
    methods: Sequence[Method]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "depth": self.depth,
            "where": self.where,
            "grid": math.isqrt(self.methods[0].rows[0].owner.shape[-1]),
            "classes": list(self.classes),
            "pictures": [_uri(each) for each in self.pictures],
            "truths": None if self.truths is None else [int(each) for each in self.truths],
            "methods": [
                {"name": each.name, "sites": each.sites, "rows": [_row(row) for row in each.rows]}
                for each in self.methods
            ],
        }


def views(runs: Sequence[RunData]) -> Iterator[View | str]:
    """For every setting and place the first run, by seed, with examples; and lines on what is damaged or left out."""
    groups: dict[tuple[Any, ...], list[RunData]] = {}
    for run in sorted(
        runs, key=lambda run: (run.result.name, run.result.model.depth, run.result.setting, run.result.seed)
    ):
        for conditions in sorted({Conditions.of(run.result, prune) for _, prune in run.prunes}):
            groups.setdefault((run.result.setting, conditions), []).append(run)
    names = _named([group[0] for group in groups.values()])
    places = _placed([(run[0].result.setting, conditions) for (_, conditions), run in groups.items()])
    for (setting, conditions), group in groups.items():
        for run in group:
            try:
                found = examples_of(run, conditions)
            except TokenpruneError as error:
                yield str(error)
                continue
            if found:
                of_place = [prune for _, prune in run.prunes if Conditions.of(run.result, prune) == conditions]
                most = {each.method: 0 for each in found}
                for each in found:  # older examples know the last site alone
                    most[each.method] = max(most[each.method], each.owner.shape[2])
                shown = [each for each in found if each.owner.shape[2] == most[each.method]]
                yield _view(run, names[setting], places[setting, conditions], shown)
                if len(shown) < len(of_place):
                    others = len(of_place) - len(shown)
                    what = f"{counted(others, 'curve')} at {conditions.site} not in the explorer"
                    yield f"{run.folder.path}: {what}: other pictures, none, or those of an older version"
                break


def _named(runs: Sequence[RunData]) -> dict[str, str]:
    """A model's name, by its setting: the recipe's, and more where several recipes of one name made it."""
    titles = {run.result.setting: f"{run.result.name}, {TrainedStudy((run,)).title}" for run in runs}
    plain = {run.result.setting: run.result.name for run in runs}
    for names in (plain, titles):
        used: dict[tuple[str, int], set[str]] = {}
        for run in runs:
            used.setdefault((names[run.result.setting], run.result.model.depth), set()).add(run.result.setting)
        if all(len(settings) == 1 for settings in used.values()):
            return names
    return {setting: f"{title}, setting {setting}" for setting, title in titles.items()}


def _placed(found: Sequence[tuple[str, Conditions]]) -> dict[tuple[str, Conditions], str]:
    """A place in words, with precision and device where one model was pruned there under several."""
    short = {each: each[1].site + _tuned(each[1]) for each in found}
    count = Counter((setting, short[setting, conditions]) for setting, conditions in found)
    return {
        each: words if count[each[0], words] == 1 else f"{words}, {each[1].precision} on {each[1].device}"
        for each, words in short.items()
    }


def _tuned(conditions: Conditions) -> str:
    return f", {counted(conditions.finetune_epochs, 'epoch')} of fine-tuning" if conditions.finetune_epochs else ""


def embedded(runs: Sequence[RunData]) -> tuple[str | None, list[str]]:
    """The JSON of a page's views, None where there are none; and what was left out."""
    shown, problems, size, left_out = [], [], 0, 0
    for each in views(runs):
        if isinstance(each, str):
            problems.append(each)
            continue
        data = as_json([each])
        if size + len(data) > MOST:
            left_out += 1
        else:
            shown.append(data)
            size += len(data)
    if left_out:
        problems.append(f"explorer: {counted(left_out, 'model and site')} left out, a page of more is too large")
    return ("[" + ",".join(data[1:-1] for data in shown) + "]" if shown else None), problems


def picture_page(name: str, view: View) -> str:
    """A page of one picture alone."""
    name = name.encode(errors="replace").decode()
    return template("picture.html.j2").render(name=name, explorer=as_json([view]), version=tokenprune.__version__)


def as_json(shown: Sequence[View]) -> str:
    """As it stands inside a script element of a page, which `</` would end."""
    return json.dumps([view.data() for view in shown], separators=(",", ":")).replace("<", "\\u003c")


def _view(run: RunData, model: str, where: str, found: Sequence[Examples]) -> View:
    methods: dict[str, dict[str, Point]] = {}
    sites = {each.method: sites_of(each.prune.written_site, each.owner.shape[2]) for each in found}
    for each in found:  # a method measured several times, at other ratios, is one
        rows = methods.setdefault(each.method, {})
        for keep, place in each.points.items():
            rows.setdefault(keep, _of_point(each, keep, place))
    return View(
        model=model,
        depth=run.result.model.depth,
        where=where,
        classes=run.result.data.classes,
        pictures=found[0].images,
        truths=found[0].labels.tolist(),
        methods=[Method(name, sites[name], sorted(rows.values(), key=_left)) for name, rows in methods.items()],
    )


def _of_point(found: Examples, keep: str, place: int) -> Point:
    return Point(
        keep,
        found.owner[place],
        None if found.count is None else found.count[place],
        None if found.attention is None else found.attention[place],
        found.predictions[place].tolist(),
        None if found.probability is None else found.probability[place].tolist(),
    )


def _left(row: Point) -> float:
    """For an order from the most tokens to the fewest."""
    return -float(row.count[:, -1].sum() if row.count is not None else (row.owner[:, -1] >= 0).sum())


def sites_of(site: str, count: int) -> tuple[str, ...]:
    """Each place of a schedule in words."""
    moment, _, blocks = site.partition(":")
    numbers = blocks.split(",")
    if moment not in ("before", "after"):
        return (site,) * count
    return tuple(f"{moment} block {number}" for number in numbers[-count:])  # older examples know the last alone


def _row(row: Point) -> dict[str, Any]:
    owner = row.owner.astype("<i2")
    found: dict[str, Any] = {"keep": row.keep, "owner": _packed(owner), "answers": list(row.answers)}
    if row.count is not None:
        found["count"] = row.count.tolist()
    if row.attention is not None:
        most = row.attention.max(axis=1, keepdims=True).astype(np.float64)
        heat = np.divide(row.attention, most, out=np.zeros(row.attention.shape), where=most > 0)
        found |= {"heat": _packed((255 * heat).round().astype(np.uint8)), "most": most[:, 0].round(4).tolist()}
    if row.probability is not None:
        found["probability"] = [round(each, 4) for each in row.probability]
    return found


def _packed(array: np.ndarray) -> str:
    assert array.dtype.itemsize == 1 or array.dtype.str.startswith("<") or sys.byteorder == "little"
    return base64.b64encode(array.tobytes()).decode()


def _uri(pixels: UInt8[np.ndarray, "h h 3"]) -> str:
    from PIL import Image

    held, kind = io.BytesIO(), "png" if len(pixels) <= _SMALL else "jpeg"
    Image.fromarray(pixels).save(held, kind, **({"optimize": True} if kind == "png" else {"quality": 88}))
    return f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode()}"
