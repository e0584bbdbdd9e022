"""What to run where a column of a table has no N50: other N, or smaller steps where it diverged."""

from collections.abc import Sequence
from typing import Any

from tokenprune.claims.theory.study import LaboratoryStudy


def wider(
    setting: LaboratoryStudy[Any],
    key: str,
    samples: Sequence[int],
    bound: Sequence[str | None],
    names: Sequence[str],
    diverged: Sequence[int],
    models: int,
) -> str | None:
    """Says which columns have no N50, and the command that would give them one; None where all have one.

    key: of `samples` in the recipe. bound, names, diverged: by column; diverged counts models over all N, of `models`.
    """
    sides = list(zip(names, bound, diverged, strict=True))
    lost = [name for name, side, count in sides if side and side.startswith(">") and 2 * count >= models]
    failed = [name for name, side, count in sides if side and side.startswith(">") and 2 * count < models]
    passed = [name for name, side, _ in sides if side and side.startswith("<")]
    train = setting.first.recipe["train"]
    more = {*samples}
    said, parts = [], []
    if lost:
        gone = sum(count for name, _, count in sides if name in lost)
        parts.append(
            f"No trial succeeded {_listed(lost)}, where {gone} of {models * len(lost)} models diverged: "
            f"a smaller step size, not larger N:\n"
            f"{setting.command({'train.step_size': train['step_size'] / 2})}"
        )
    if failed:
        said.append(f"no trial succeeded {_listed(failed)}: add larger N")
        more |= {2 * max(samples), 4 * max(samples)}
    if passed and (smaller := {n for n in (min(samples) // 2, min(samples) // 4) if n >= train["batch_size"]}):
        said.append(f"every trial succeeded {_listed(passed)}: add smaller N")
        more |= smaller
    if said:
        text = "; ".join(said)
        parts.append(f"{text[0].upper()}{text[1:]}:\n{setting.command({key: sorted(more)})}")
    return "\n".join(parts) or None


def _listed(places: Sequence[str]) -> str:
    shown = places if len(places) <= 4 else [*places[:3], f"at {len(places) - 3} more"]
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]
