"""Statements of the theory, what the runs say of them, and how surely."""

from tokenprune.claims.catalogue import CLAIMS
from tokenprune.claims.claim import Claim
from tokenprune.claims.evidence import RunData, read_runs
from tokenprune.claims.explain import Explanation, explain
from tokenprune.claims.judge import Verdict, all_claims, judge
from tokenprune.claims.published import Published
from tokenprune.claims.theory import THEORY_CLAIMS, TheoryClaim, TheoryVerdict, judge_theory, read_theory
from tokenprune.claims.trend import Trend, trends

__all__ = [
    "CLAIMS",
    "THEORY_CLAIMS",
    "Claim",
    "Explanation",
    "Published",
    "RunData",
    "TheoryClaim",
    "TheoryVerdict",
    "Trend",
    "Verdict",
    "all_claims",
    "explain",
    "judge",
    "judge_theory",
    "read_runs",
    "read_theory",
    "trends",
]
