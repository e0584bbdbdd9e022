"""Statements of the theory, what the runs say of them, and how surely."""

from tokenprune.claims.claim import Claim
from tokenprune.claims.evidence import RunData, read_runs
from tokenprune.claims.explain import Explanation, explain
from tokenprune.claims.judge import CLAIMS, Verdict, all_claims, judge
from tokenprune.claims.theory import THEORY_CLAIMS, TheoryClaim, TheoryVerdict, judge_theory, read_theory

__all__ = [
    "CLAIMS",
    "THEORY_CLAIMS",
    "Claim",
    "Explanation",
    "RunData",
    "TheoryClaim",
    "TheoryVerdict",
    "Verdict",
    "all_claims",
    "explain",
    "judge",
    "judge_theory",
    "read_runs",
    "read_theory",
]
