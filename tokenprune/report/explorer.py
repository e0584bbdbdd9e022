"""The explorer: pictures pruned by method, ratio and site, to be looked at in the page itself.

All that explorer.js draws is in one JSON; arrays are base64 of int16 (`owner`) and uint8 (`heat`), little-endian.
"""

import base64
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

import tokenprune
from tokenprune.claims import RunData
from tokenprune.errors import TokenpruneError, counted
from tokenprune.experiments.examples import Examples, examples_of
from tokenprune.experiments.series import Conditions
from tokenprune.report.html import template
from tokenprune.runs import PrunePoint

#: Characters of all views in a page; what would be more is left out, and named.
MOST = 6_000_000
_SMALL = 64  # side up to which a picture is stored exactly, as PNG


@dataclass(frozen=True)
class Row:
    """What one ratio leaves of the pictures, and what the model then says (see `experiments.examples.Examples`)."""

    keep: str
    owner: Int[np.ndarray, "e s t"]
    attention: Float[np.ndarray, "e t"] | None
    answers: Sequence[str]
    probability: Sequence[float] | None


@dataclass(frozen=True)
class View:
    """One model pruned at one place. truths: the pictures' classes, None where they are not known."""

    model: str
    depth: int
    where: str
    sites: tuple[str, ...]
    pictures: UInt8[np.ndarray, "e h h 3"]
    truths: Sequence[str] | None
    methods: Sequence[tuple[str, Sequence[Row]]]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "depth": self.depth,
            "where": self.where,
            "sites": self.sites,
            "grid": math.isqrt(self.methods[0][1][0].owner.shape[-1]),
            "pictures": [_uri(each) for each in self.pictures],
            "truths": None if self.truths is None else list(self.truths),
            "methods": [{"name": name, "rows": [_row(row) for row in rows]} for name, rows in self.methods],
        }


def views(runs: Sequence[RunData]) -> Iterator[View | str]:
    """Of every family, depth and place the first run, by seed, that has examples; or a line on what is damaged."""
    groups: dict[tuple[Any, ...], list[tuple[RunData, Conditions]]] = {}
    for run in sorted(runs, key=lambda run: (run.result.name, run.result.model.depth, run.result.seed)):
        for conditions in sorted({Conditions.of(run.result, prune) for _, prune in run.prunes}):
            groups.setdefault((conditions.family, run.result.model.depth, conditions.site), []).append(
                (run, conditions)
            )
    for group in groups.values():
        for run, conditions in group:
            try:
                found = examples_of(run, conditions)
            except TokenpruneError as error:
                yield str(error)
                continue
            if found:
                yield _view(run, conditions, found)
                break


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
    return template("picture.html.j2").render(name=name, explorer=as_json([view]), version=tokenprune.__version__)


def as_json(shown: Sequence[View]) -> str:
    """As it stands inside a script element of a page, which `</` would end."""
    return json.dumps([view.data() for view in shown], separators=(",", ":")).replace("<", "\\u003c")


def _view(run: RunData, conditions: Conditions, found: Sequence[Examples]) -> View:
    classes, first = run.result.data.classes, found[0]
    tuned = f", {conditions.finetune_epochs} epochs of fine-tuning" if conditions.finetune_epochs else ""
    return View(
        model=run.result.name,
        depth=run.result.model.depth,
        where=conditions.site + tuned,
        sites=sites_of(conditions.site, first.owner.shape[2]),
        pictures=first.images,
        truths=[classes[label] for label in first.labels],
        methods=[
            (each.method, [_of_point(each, row, classes) for _, row in sorted(each.rows.items())[::-1]])
            for each in found
        ],
    )


def _of_point(found: Examples, row: int, classes: Sequence[str]) -> Row:
    return Row(
        _keep(found.prune.points[row]),
        found.owner[row],
        None if found.attention is None else found.attention[row],
        [classes[answer] for answer in found.predictions[row]],
        None if found.probability is None else [float(each) for each in found.probability[row]],
    )


def _keep(point: PrunePoint) -> str:
    return point.keep or f"{point.keep_ratio:g}"


def sites_of(site: str, count: int) -> tuple[str, ...]:
    """Each place of a schedule in words."""
    moment, _, blocks = site.partition(":")
    numbers = blocks.split(",")
    if moment in ("before", "after") and len(numbers) == count:
        return tuple(f"{moment} block {number}" for number in numbers)
    return (site,) * count


def _row(row: Row) -> dict[str, Any]:
    owner = row.owner.astype("<i2")
    found: dict[str, Any] = {"keep": row.keep, "owner": _packed(owner), "answers": list(row.answers)}
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
