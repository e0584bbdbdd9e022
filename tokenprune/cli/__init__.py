"""The command line: one short file per verb, no logic, nothing heavy imported before it is needed."""

from tokenprune.cli.app import main

__all__ = ["main"]
