"""What to run where a column of a table has no N50: other N, or smaller steps where it diverged."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Int

from tokenprune.claims.theory.study import Array, LaboratoryStudy
from tokenprune.complexity import ColumnFit


def wider(
    study: LaboratoryStudy[Any],
    key: str,
    columns: ColumnFit,
    names: Sequence[str],
    diverged: Int[Array, " v"],
    models: int,
) -> str | None:
    """Says which columns have no N50, and the command that would give them one; None where all have one.

    key: of N in the recipe. names, diverged: by column; diverged counts models over all N, of `models`.
    """
    train, samples = study.first.recipe["train"], study.first.samples
    low = [name for name, bound in zip(names, columns.bound, strict=True) if bound and bound.startswith("<")]
    high = [index for index, bound in enumerate(columns.bound) if bound and bound.startswith(">")]
    lost = [index for index in high if 2 * diverged[index] >= models]
    failed = [names[index] for index in high if index not in lost]
    more = {*samples}
    said, parts = [], []
    if lost:
        parts.append(
            f"No trial succeeded {_listed([names[index] for index in lost])}, where {diverged[lost].sum()} of "
            f"{models * len(lost)} models diverged: a smaller step size, not larger N:\n"
            f"{study.command({'train.step_size': train['step_size'] / 2})}"
        )
    if failed:
        said.append(f"no trial succeeded {_listed(failed)}: add larger N")
        more |= {2 * max(samples), 4 * max(samples)}
    if low and (smaller := {n for n in (min(samples) // 2, min(samples) // 4) if n >= train["batch_size"]}):
        said.append(f"every trial succeeded {_listed(low)}: add smaller N")
        more |= smaller
    if said:
        text = "; ".join(said)
        parts.append(f"{text[0].upper()}{text[1:]}:\n{study.command({key: sorted(more)})}")
    return "\n".join(parts) or None


def _listed(places: Sequence[str]) -> str:
    shown = places if len(places) <= 4 else [*places[:3], f"at {len(places) - 3} more"]
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]
