"""The table and the picture of `tokenprune heads`."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from tokenprune.cli import show
from tokenprune.errors import TokenpruneError
from tokenprune.runs import MeasureResult

_LEGEND = """\
share: of the least penalty that leaves nothing. acc: of test images; * the penalty
that a tenth of the training images, not trained on, chooses. gap: the objective is
at most so much above the optimum, which is not certified above 1 %. rank: of all
matrices of the head together."""


def table(path: Path, result: MeasureResult, *, as_json: bool) -> None:
    """A row for each head and penalty, then what attention clusters; --json has every number."""
    if as_json:
        show.json(result.model_dump(mode="json"))
        return
    arrays = {name: np.array(each.values) for name, each in result.arrays.items() if name != "pixels"}
    heads = _pairs(result, "accuracy", "head")
    convex = _pairs(result, "certificate", "convex head")
    shares = result.arrays["accuracy"].labels["penalty"]["share"]
    names = ["head", "kind", "share", "train %", "acc %", "objective", "gap", "rank"]
    rows = []
    for i, pair in enumerate(heads):
        for j, share in enumerate(shares):
            star = "*" if arrays["chosen"][i] == j else ""
            row = [*pair, f"{share:g}", f"{100 * arrays['training accuracy'][i, j]:.1f}"]
            row.append(f"{100 * arrays['accuracy'][i, j]:.2f}{star or ' '}")
            if pair in convex:
                at = convex.index(pair), j
                row += [f"{arrays['objective'][at]:.4f}", _gap(arrays["certificate"][at]), f"{arrays['rank'][at]:.0f}"]
            else:
                row += [show.DASH] * 3
            rows.append(row)
    show.rows(names, rows, numbers=names[2:])
    print(textwrap.fill(_LEGEND, 80))
    if "agreement" in arrays:
        print(f"\n{clusters_said(arrays)}")
    for note in result.notes:
        print(textwrap.fill(note, 80, break_long_words=False, break_on_hyphens=False))
    print(path)


def clusters_said(arrays: dict[str, Any]) -> str:
    """What attention clusters, in a few lines."""
    rank, energy = arrays["effective rank"], arrays["energy"]
    agreement = arrays["agreement"].mean(axis=1)
    return textwrap.fill(
        f"Token map of the attention head: effective rank {rank[0]:.1f} ({rank[1]:.1f} of a random one), "
        f"{energy[0]:.0%} of its energy in one direction ({energy[1]:.0%}). Its clusters and merging's groups: "
        f"adjusted Rand index {agreement[0]:.3f} ({agreement[1]:.3f} of a random map, {agreement[2]:.3f} by chance), "
        f"mean over {arrays['agreement'].shape[1]:,} test images.",
        80,
    )


def drawn(result: MeasureResult) -> tuple[str, bytes]:
    """(SVG, PNG): example images, with the clusters of the attention head and the groups of merging.

    Raises TokenpruneError where the result has none.
    """
    from tokenprune.drawing import picture
    from tokenprune.drawing.style import style

    if "clusters" not in result.arrays:
        raise TokenpruneError("--out: no clusters to draw: no attention head without gates, or it is 0")
    pixels, clusters, groups = (np.array(result.arrays[name].values) for name in ("pixels", "clusters", "groups"))
    with style():
        return picture.groupings(pixels.astype(np.uint8), [("attention's clusters", clusters), ("merging", groups)])


def _pairs(result: MeasureResult, array: str, axis: str) -> list[tuple[str, str]]:
    labels = result.arrays[array].labels[axis]
    return [(str(head), str(kind)) for head, kind in zip(labels["head"], labels["kind"], strict=True)]


def _gap(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 1 else "> 100 %"
