"""What stands above the matrix: three sentences of conclusion, and what the models were."""

from collections.abc import Iterable, Mapping, Sequence

from tokenprune.claims import RunData, TrainedStudy
from tokenprune.drawing.numbers import DASH, percent, pretty
from tokenprune.drawing.table import Column, Table
from tokenprune.errors import counted
from tokenprune.report.matrix import Matrix, MatrixCell


def sentences(matrix: Matrix) -> list[str]:
    """How much was decided, what holds, what does not. Empty where nothing was measured."""
    supported, refuted, undecided = (matrix.judged(verdict) for verdict in ("supported", "refuted", "undecided"))
    count = len(supported) + len(refuted) + len(undecided)
    if not count:
        return []
    near = sum(cell.near for _, cell in undecided)
    said = [
        f"{counted(count, 'comparison')}: {len(supported)} support their claim, {len(refuted)} refute it, "
        f"{len(undecided)} are undecided" + (f" ({near} of these only because of Holm's correction)." if near else ".")
    ]
    for word in ("Supported", "Refuted"):
        claims: dict[str, dict[str, list[MatrixCell | None]]] = {}
        for row in matrix.rows:
            cells = [cell for cell in row.cells if cell and cell.judged.verdict == word.lower()]
            over_depths = row.overall is not None and row.overall.verdict == word.lower()
            part = row.where or "" if row.claim.laboratory else ", ".join(row.beside)
            if over_depths or cells:
                claims.setdefault(row.claim.id, {}).setdefault(part, []).extend([None] if over_depths else cells)
        places = [_claim(matrix, claim, parts) for claim, parts in claims.items()]
        said.append(f"{word}: {'; '.join(places)}." if places else f"{word}: nothing.")
    return said


def _claim(matrix: Matrix, claim: str, parts: Mapping[str, Sequence[MatrixCell | None]]) -> str:
    """A claim with the depths, or the number of settings, at which it holds: by images, site or variant.

    parts: None for the mean over depths, beside which no single depth is named.
    """
    rows = [row for row in matrix.rows if row.claim.id == claim]
    said: dict[str, list[str]] = {}  # parts by where they hold
    for part, cells in parts.items():
        if rows[0].claim.laboratory:
            asked = sum(cell is not None for row in rows if (row.where or "") == part for cell in row.cells)
            held = f"{len(cells)} of {asked} settings"
        else:
            depths = ", ".join(str(cell.judged.depth) for cell in cells if cell)
            held = ", ".join(
                [*(["over all depths"] if None in cells else []), *([f"depth {depths}"] if depths else [])]
            )
        said.setdefault(held, []).extend([part] if part else [])
    places = [", ".join([*named, held]) for held, named in said.items()]
    return f"{claim} ({pretty(' / '.join(places))})"


def models(runs: Iterable[RunData]) -> Table:
    """By kind of images and depth, the models trained on all tokens or, where there is none, all of them."""
    groups: dict[tuple[str, int], list[RunData]] = {}
    for run in runs:
        groups.setdefault((TrainedStudy((run,)).title, run.result.model.depth), []).append(run)
    rows = []
    for (images, depth), found in sorted(groups.items(), key=lambda item: item[0]):
        whole = [run for run in found if run.result.pruner == "none"] or found
        results = [run.result for run in whole]
        rows.append(
            (
                images,
                depth,
                len(whole),
                _range([100 * result.test_accuracy for result in results], ".1f"),
                1 / min(len(result.data.classes) for result in results),
                _range([run.epochs[-1].step for run in whole if run.epochs], ",.0f"),
                _range([result.data.train_count for result in results], ",d"),
                _range([result.test_count for result in results], ",d"),
            )
        )
    return Table(
        "The models that this is about",
        "The models that this is about: those trained on all tokens, where there are any. Accuracy on test images in "
        "%, from the worst model to the best; chance is one over the number of classes.",
        (
            Column("Images", look="word"),
            Column("Depth"),
            Column("Models"),
            Column("Accuracy"),
            Column("Chance", percent),
            Column("Steps"),
            Column("Training images"),
            Column("Test images"),
        ),
        tuple(rows),
    )


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return DASH
    first, last = f"{min(values):{form}}", f"{max(values):{form}}"
    return first if first == last else f"{first} to {last}"
