"""What is asked of the heads, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tokenprune.errors import UsageError, shortened, unknown
from tokenprune.heads.names import DATA, HEADS, SOLVERS

#: Channels that tokens are projected to, of a model that has so many.
DIM = 24


@dataclass(frozen=True)
class Asked:
    """penalties: shares of the smallest that leaves nothing. rank: of a block's factors, and units of the two-layer
    heads. tokens: an average-pooled square grid. dim: principal components. gates: of each gated head, and groups of
    channels of block-FNO. steps: of a solver. epochs: of the two-layer heads, 0 for none of them. images: test images
    whose tokens are clustered, 0 for none. merged: the share of patches that merging leaves. cursor: where tokens are
    taken, in half-blocks; None: at the end, after the final norm. features: a file that keeps them.
    """

    heads: tuple[str, ...] = tuple(HEADS)
    penalties: tuple[float, ...] = (0.3, 0.1, 0.03, 0.01)
    rank: int = 12
    solver: str = "factored"
    data: str | None = None
    train_size: int = 5_000
    test_size: int | None = None
    tokens: int = 16
    dim: int = DIM
    gates: int = 4
    groups: int = 4
    steps: int = 200
    epochs: int = 20
    images: int = 256
    merged: float = 0.25
    cursor: int | None = None
    features: Path | None = None


def asked(options: Mapping[str, Any]) -> Asked:
    """Raises UsageError for what is of the wrong kind or beyond what it may be."""
    known = [each.name for each in fields(Asked)]
    for name in options:
        if name not in known:
            raise unknown("option of measurement 'heads'", name, known)
    found = dict(options)
    for name in ("heads", "penalties"):
        if name in found:
            value = found[name]
            found[name] = tuple(dict.fromkeys(value if isinstance(value, list | tuple) else [value]))
            if not found[name]:
                raise UsageError(f"option {name}: an empty list")
    given = Asked(**found)
    for name in given.heads:
        if name not in HEADS:
            raise unknown("head", str(name), HEADS)
    if given.solver not in SOLVERS:
        raise unknown("solver", str(given.solver), SOLVERS)
    if given.data is not None and given.data not in DATA:
        raise unknown("data set for heads", str(given.data), DATA)
    for share in given.penalties:
        _number("penalties", share)
        if share <= 0:
            raise UsageError(f"penalty {share:g}: must be above 0; without one there is no certificate")
        if share >= 1:
            raise UsageError(
                f"penalty {share:g}: leaves nothing: it is a share of the least penalty that does, and must be below 1"
            )
    _number("merged", given.merged)
    if not 0 < given.merged < 1:
        raise UsageError(f"option merged: found {given.merged:g}, must be between 0 and 1")
    least = {"epochs": 0, "images": 0, "cursor": 0, "train_size": 20}
    for each in fields(Asked):
        value = getattr(given, each.name)
        if each.type in (int, int | None) and value is not None:
            _whole(each.name, value, least.get(each.name, 1))
    if given.features is not None and not isinstance(given.features, str | Path):
        raise UsageError(f"option features: found {shortened(repr(given.features))}, must be a path")
    return given


def fitting(options: Mapping[str, Any], *, channels: int, grid: tuple[int, int], cursors: int) -> tuple[Asked, int]:
    """What is asked of such a model, and the side of the pooled grid. Raises UsageError where it is too small."""
    given = asked(options)
    if "dim" not in options:
        given = replace(given, dim=min(DIM, channels))
    side = round(given.tokens**0.5)
    if side * side != given.tokens or side > min(grid):
        raise UsageError(f"option tokens: found {given.tokens}, must be a square of at most {min(grid)} x {min(grid)}")
    if given.dim > channels:
        raise UsageError(f"option dim: found {given.dim}, the model has {channels} channels")
    if "block-fno" in given.heads and given.dim % given.groups:
        raise UsageError(f"option groups: found {given.groups}, must divide dim, which is {given.dim}")
    if given.cursor is not None and given.cursor > cursors:
        raise UsageError(f"option cursor: found {given.cursor}, the model ends at {cursors}")
    return given, side


def _number(option: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise UsageError(f"option {option}: found {shortened(repr(value))}, must be a number")


def _whole(option: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise UsageError(f"option {option}: found {shortened(repr(value))}, must be a whole number, {least} or more")
