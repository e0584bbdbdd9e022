"""The theory laboratory's own page: theory.html, its figures, tables and verdicts."""

from tokenprune.report.theory.collect import Laboratory, collect

__all__ = ["Laboratory", "collect"]
