"""Statements of the theory, what the runs say of them, and how surely."""

from tokenprune.claims.claim import Claim
from tokenprune.claims.evidence import RunData, read_runs
from tokenprune.claims.judge import CLAIMS, Verdict, all_claims, judge

__all__ = ["CLAIMS", "Claim", "RunData", "Verdict", "all_claims", "judge", "read_runs"]
