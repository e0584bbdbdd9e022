"""Measurements with chosen numbers, added to runs of `factories`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from factories import make_measurement

from tokenprune.runs import RunFolder, Values

#: Method, options, site, keep.
Point = tuple[str, str, str, float]
UNPRUNED: Point = ("none", "{}", "", 1.0)
BLOCKS = ("embedding", "attention", "MLP", "attention", "MLP")


def pruned(method: str, keep: float, site: str = "before:0") -> Point:
    return method, "{}", site, keep


def by_point(points: Sequence[Point]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(("method", "options", "site", "keep"), zip(*points, strict=True), strict=True))


def fourier(
    run: RunFolder, levels: Mapping[Point, Sequence[float]], after: Sequence[str] = BLOCKS, **facts: Any
) -> Path:
    """levels: log amplitude at pi, half-block by half-block; half as much at half the frequency."""
    values = np.array(list(levels.values()), dtype=float)[:, :, None] * [0, 0.5, 1]
    labels = {**_half_blocks(levels, after), "frequency": {"frequency, pi": (0.0, 0.5, 1.0)}}
    found = Values(unit="1", axes=tuple(labels), values=values.tolist(), labels=labels)
    return make_measurement(run, "fourier", {"log amplitude": found}, **facts)


def variance(
    run: RunFolder, levels: Mapping[Point, Sequence[float]], after: Sequence[str] = BLOCKS, **facts: Any
) -> Path:
    labels = _half_blocks(levels, after)
    rows = [list(map(float, each)) for each in levels.values()]
    found = Values(unit="1", axes=tuple(labels), values=rows, labels=labels)
    return make_measurement(run, "variance", {"variance": found}, **facts)


def _half_blocks(levels: Mapping[Point, Sequence[float]], after: Sequence[str]) -> dict[str, Any]:
    blocks = tuple(i / 2 for i in range(len(after)))
    return {"point": by_point(list(levels)), "half-block": {"block": blocks, "after": tuple(after)}}


def lesion(run: RunFolder, losses: Mapping[str, float], accuracy: float = 0.8, **facts: Any) -> Path:
    """losses: of accuracy, by what is taken out."""
    labels = {"point": by_point([UNPRUNED]), "lesion": {"without": ("nothing", *losses)}}
    values = [[accuracy, *(accuracy - loss for loss in losses.values())]]
    return make_measurement(run, "lesion", {"accuracy": _values("share", labels, values)}, **facts)


def noise(run: RunFolder, losses: Sequence[float], accuracy: float = 0.8, **facts: Any) -> Path:
    """losses: of accuracy under noise of .1 to .9 pi."""
    frequencies = (0.0, *(round(0.1 * i, 1) for i in range(1, 10)))
    labels = {"point": by_point([UNPRUNED]), "noise": {"frequency, pi": frequencies}}
    values = [[accuracy, *(accuracy - loss for loss in losses)]]
    return make_measurement(run, "frequency-noise", {"accuracy": _values("share", labels, values)}, **facts)


def hessian(run: RunFolder, positive: float, below: float, size: int = 16, **facts: Any) -> Path:
    """Spectra of ten mini-batches of five eigenvalues: a share `below` of them negative, those above 0 `positive`."""
    spectrum = np.full(50, float(positive))
    spectrum[: round(50 * below)] *= -0.5
    labels = {"point": by_point([UNPRUNED])}
    arrays = {
        "eigenvalues": Values(
            unit="1", axes=("point", "batch", "rank"), values=spectrum.reshape(1, 10, 5).tolist(), labels=labels
        ),
        "below 0": _values("share", labels, [below]),
        "positive": _values("1", labels, [positive]),
        "decay": Values(unit="1", axes=(), values=0.05),
        "images a batch": Values(unit="1", axes=(), values=size),
    }
    return make_measurement(run, "hessian", arrays, **facts)


def association(run: RunFolder, overlap: float, chance: float = 0.1, side: int = 5, **facts: Any) -> Path:
    """Codes whose inner products fall with the distance of patches."""
    place = np.stack(np.divmod(np.arange(side**2), side), axis=1)
    products = np.exp(-0.5 * ((place[:, None] - place[None]) ** 2).sum(axis=2))
    arrays = {
        "mean overlap": Values(unit="share", axes=(), values=overlap),
        "mean chance": Values(unit="share", axes=(), values=chance),
        "inner product": Values(unit="1", axes=("patch", "other"), values=products.tolist()),
    }
    return make_measurement(run, "association", arrays, **facts)


def landscape(run: RunFolder, steep: float, **facts: Any) -> Path:
    """A bowl whose walls are so steep, and the L2 penalty, on 5 x 5 points."""
    steps = np.linspace(-1, 1, 5)
    squared = steps[:, None] ** 2 + steps[None] ** 2
    plane = {"b": {"b": tuple(steps.tolist())}, "a": {"a": tuple(steps.tolist())}}
    labels = {"point": by_point([UNPRUNED]), **plane}
    arrays = {
        "cross-entropy": _values("nats", labels, [(0.3 + steep * squared).tolist()]),
        "L2": _values("1", plane, (1 + squared).tolist()),
    }
    return make_measurement(run, "landscape", arrays, **facts)


def _values(unit: str, labels: Mapping[str, Any], values: Any) -> Values:
    return Values(unit=unit, axes=tuple(labels), values=values, labels=dict(labels))


def network(stages: Sequence[int], attentions: int = 0) -> list[str]:
    """Keys of a recipe that make a convolutional network of it; its depth is the sum of the stages."""
    return [f"model.stages={list(stages)}", "model.class_token=false", f"model.attentions={attentions}"]
