"""The command line: one short file per verb, no logic, nothing heavy imported before it is needed."""

import atexit
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tokenprune.cli.interrupt import at_once, by_exception, never


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 refuted, 4 cells failed, 130 interrupted."""
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what its encoding has no sign for is said all the same
    with at_once():
        from tokenprune.cli.app import run
    by_exception()
    try:
        run(arguments)
    finally:
        atexit.register(never)


__all__ = ["main"]
