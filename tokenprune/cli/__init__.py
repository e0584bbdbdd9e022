"""The command line: one short file per verb, no logic, nothing heavy imported before it is needed."""

from collections.abc import Sequence
from typing import NoReturn

from tokenprune.cli.interrupt import at_once, by_exception


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 refuted, 4 cells failed, 130 interrupted."""
    with at_once():
        from tokenprune.cli.app import run
    by_exception()
    run(arguments)


__all__ = ["main"]
