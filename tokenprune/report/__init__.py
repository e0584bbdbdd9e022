"""Tables, figures and verdicts over a folder of runs; one self-contained HTML page."""

from tokenprune.report.build import write
from tokenprune.report.collect import Report
from tokenprune.report.compare import compare
from tokenprune.report.export import as_json
from tokenprune.report.tables import table

__all__ = ["Report", "as_json", "compare", "table", "write"]
