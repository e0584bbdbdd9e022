"""Results of the theory laboratory on standard output."""

from tokenprune import claims
from tokenprune.claims.theory.analyses import analysis
from tokenprune.cli import show
from tokenprune.experiments import CLAIMS
from tokenprune.theory import experiment
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
    for table in experiment(found.recipe["experiment"]).tables(found):
        if table.title:
            print(table.title)  # a line of its own, since the table may be narrower
        rows = [[show.DASH if cell is None else cell for cell in row] for row in table.rows]
        show.rows(table.names, rows, numbers=table.names[table.words :])
        print()
    if found.lost:
        print(
            f"{found.lost} of {found.models:,} models diverged and count as failures; "
            "a smaller train.step_size may help\n"
        )
    for verdict in verdicts:
        variant = f" ({verdict.variant})" if verdict.variant else ""
        print(f"{verdict.experiment} {verdict.claim}{variant}: {verdict.verdict}. {verdict.why}")
    show.fields({"run": folder.path, "trained": f"{found.models:,} models in {found.seconds:.1f} s on {found.device}"})
