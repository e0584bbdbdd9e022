"""Statements of the theory, what the runs say of them, and how surely."""

from tokenprune.claims.claim import Claim, Finding, Verdict
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.evidence import RunData, read_runs
from tokenprune.claims.judge import judge
from tokenprune.claims.published import Published
from tokenprune.claims.study import Study, TrainedStudy, studies
from tokenprune.claims.theory.evidence import read_theory
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.claims.theory.trials import laboratory_studies
from tokenprune.claims.trend import Trend, row_of, trends

__all__ = [
    "Claim",
    "Estimate",
    "Finding",
    "LaboratoryStudy",
    "Published",
    "RunData",
    "Study",
    "TrainedStudy",
    "Trend",
    "Verdict",
    "judge",
    "laboratory_studies",
    "read_runs",
    "read_theory",
    "row_of",
    "studies",
    "trends",
]
