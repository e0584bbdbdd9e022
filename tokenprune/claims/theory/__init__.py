"""Claims of Li et al. (ICLR 2023) about sample complexity, attention and time, and what the laboratory says of them."""

from tokenprune.claims.theory.claim import TheoryClaim, TheoryVerdict
from tokenprune.claims.theory.evidence import read_theory
from tokenprune.claims.theory.judge import THEORY_CLAIMS, judge_theory

__all__ = ["THEORY_CLAIMS", "TheoryClaim", "TheoryVerdict", "judge_theory", "read_theory"]
