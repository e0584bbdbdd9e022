"""Results of the theory laboratory on standard output."""

from tokenprune import claims
from tokenprune.claims.theory.analyses import analysis
from tokenprune.cli import show
from tokenprune.experiments import CLAIMS, LABORATORY
from tokenprune.theory.folder import TheoryFolder


def result(folder: TheoryFolder, *, as_json: bool) -> None:
    """Tables of a result, and the verdicts of its claims."""
    found = folder.theory_result()
    (study,) = claims.laboratory_studies([(folder.name, found)])
    verdicts = claims.judge([study], CLAIMS)
    if as_json:
        show.json(
            {
                "run": folder.name,
                "path": str(folder.path),
                **found.model_dump(mode="json"),
                "verdicts": [verdict.model_dump(mode="json") for verdict in verdicts],
                "analysis": analysis(study),
            }
        )
        return
    tables = [table for each in LABORATORY for table in each.tables([study], verdicts) if not table.detail]
    show.tables([table.terminal() for table in tables])
    if found.lost:
        print(
            f"{found.lost} of {found.models:,} models diverged and count as failures; "
            "a smaller train.step_size may help\n"
        )
    for verdict in verdicts:
        variant = f" ({verdict.variant})" if verdict.variant else ""
        why = f"{verdict.why[0].upper()}{verdict.why[1:]}"
        print(f"{verdict.experiment} {verdict.claim}{variant}: {verdict.verdict}. {why}")
    show.fields({"run": folder.path, "trained": f"{found.models:,} models in {found.seconds:.1f} s on {found.device}"})
