"""`--only KEY=VALUES`: the cells of a sweep that one command runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenprune.errors import UsageError, shortened, unknown
from tokenprune.recipe.sweep import Cell, LoadedSweep
from tokenprune.recipe.yaml import typed


def chosen(sweep: LoadedSweep, only: Sequence[str]) -> frozenset[str]:
    """Runs of the cells whose values are among those given for every key, with the pretraining that they start from.

    only: such as `run.seed=0,1`; a key that is repeated allows the values of each. Keys are those of the sweep's grids.
    Raises UsageError for a key that no grid has, a value that no cell has, and where no cell is left.
    """
    pretraining = {cell.needs for cell in sweep.cells}
    grids = [cell for cell in sweep.cells if cell.run not in pretraining]
    allowed: dict[str, list[Any]] = {}
    for option in only:
        key, values = _values(option)
        if not any(key in cell.what for cell in grids):
            raise UsageError(
                f"--only {shortened(option)}: {unknown('key of its grids', key, {k for c in grids for k in c.what})}"
            )
        known: list[Any] = []  # values may be lists
        for cell in grids:
            known += [cell.what[key]] if key in cell.what and cell.what[key] not in known else []
        if absent := [value for value in values if value not in known]:
            raise UsageError(f"--only {shortened(option)}: no cell has {key} {_said(absent)}; there are {_said(known)}")
        allowed.setdefault(key, []).extend(values)
    cells = [cell for cell in grids if _fits(cell, allowed)]
    if not cells:
        raise UsageError(
            f"--only {shortened(' '.join(only), 200)}: none of the {len(sweep.cells)} cells of {sweep.name}"
        )
    return frozenset({cell.run for cell in cells} | {cell.needs for cell in cells if cell.needs})


def _values(option: str) -> tuple[str, list[Any]]:
    key, equals, text = option.partition("=")
    if not equals or not key.strip() or not text.strip():
        raise UsageError(f"--only {shortened(option)!r}: expected KEY=VALUES, such as run.seed=0,1")
    return key.strip(), typed(f"[{text}]", f"--only {shortened(option)!r}", [])


def _said(values: Sequence[Any]) -> str:
    """Values as written after --only."""
    return shortened(", ".join(value if isinstance(value, str) else json.dumps(value) for value in values), 200)


def _fits(cell: Cell, allowed: Mapping[str, Sequence[Any]]) -> bool:
    return all(key in cell.what and cell.what[key] in values for key, values in allowed.items())
