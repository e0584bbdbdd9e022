"""The second theory: positional attention learns which patches belong together (Jelassi, Sander & Li, NeurIPS 2022)."""

from tokenprune.theory.spatial.experiment import plan_spatial

__all__ = ["plan_spatial"]
