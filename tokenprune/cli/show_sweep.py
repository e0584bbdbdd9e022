"""Standard output of `tokenprune sweep`: its cells, as tables that fit 80 columns or JSON."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokenprune.cli import show
from tokenprune.errors import WARNING, counted

if TYPE_CHECKING:
    from tokenprune.recipe.sweep import LoadedSweep
    from tokenprune.sweep import Begun, CellRow


def dry_run(sweep: "LoadedSweep", rows: "Sequence[CellRow]", *, as_json: bool) -> None:
    """The cells to run, and the cost of their training: 3 x forward x images x epochs."""
    known = [row.flops for row in rows if row.flops is not None]
    left = [row.flops for row in rows if row.flops is not None and row.state != "finished"]
    if as_json:
        total = {"training_flops": sum(known) if len(known) == len(rows) else None}
        show.json({"sweep": sweep.name, **total, "cells": [_cell(row) | {"training_flops": row.flops} for row in rows]})
        return
    show.rows(
        ["cell", "state", "TFLOPs", "run"],
        [[row.cell.label, _state(row), _tera(row.flops), row.cell.run] for row in rows],
        numbers=["TFLOPs"],
    )
    print()
    _messages(rows)
    curves = {sum(len(spec.methods) for spec in row.cell.prune) for row in rows if row.cell.prune} or {0}
    measured = f"{min(curves)} to {max(curves)}" if len(curves) > 1 else f"{min(curves)}"
    print(f"{counted(len(rows), 'cell')}: {_counts(rows)}; curves after each training: {measured}")
    print(f"training: {_tera(sum(known))} TFLOPs in all, {_tera(sum(left))} left (3 x forward x images x epochs)")
    if len(known) < len(rows):
        print(f"not counted: {counted(len(rows) - len(known), 'cell')} whose images were not found")


def outcome(begun: "Begun", *, as_json: bool) -> None:
    rows = begun.rows
    if as_json:
        edit = begun.edit and {"new": list(begun.edit.new), "gone": list(begun.edit.gone)}
        record = {"sweep": begun.sweep.name, "record": str(begun.file.path), "edited": edit}
        counts = Counter(row.state for row in rows)
        cells = [
            _cell(row) | {"seconds": round(row.seconds, 2), "cpu_seconds": round(row.cpu_seconds, 2)} for row in rows
        ]
        show.json({**record, "counts": dict(counts), "cells": cells})
        return
    accuracy = [show.number(None if row.accuracy is None else 100 * row.accuracy, ".2f") for row in rows]
    show.rows(
        ["cell", "state", "acc %", "run"],
        [[row.cell.label, row.state, acc, row.cell.run] for row, acc in zip(rows, accuracy, strict=True)],
        numbers=["acc %"],
    )
    _messages(rows)
    print(f"{counted(len(rows), 'cell')}: {_counts(rows)}; record: {begun.file.path}")


def _messages(rows: "Sequence[CellRow]") -> None:
    for row in rows:
        if row.message and (row.state not in ("finished", "submitted") or row.message.startswith(WARNING)):
            print(f"{row.state}: {row.cell.label}: {row.message}")


def _cell(row: "CellRow") -> dict[str, Any]:
    return {
        "run": row.cell.run,
        "what": dict(row.cell.what),
        "state": row.state,
        "message": row.message,
        "accuracy": row.accuracy,
    }


def _state(row: "CellRow") -> str:
    return "begun" if row.begun and row.state == "waiting" else row.state


def _counts(rows: "Sequence[CellRow]") -> str:
    return ", ".join(f"{count} {state}" for state, count in Counter(_state(row) for row in rows).items())


def _tera(flops: float | None) -> str:
    return show.DASH if flops is None else f"{flops / 1e12:.3g}" if flops < 1e15 else f"{flops / 1e12:,.0f}"
