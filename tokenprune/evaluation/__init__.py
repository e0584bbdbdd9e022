"""Accuracy against kept-token ratio, measured with tokens really removed."""

from tokenprune.evaluation.curves import Plan, prune_curves
from tokenprune.evaluation.points import Curve, join, save_curve

__all__ = ["Curve", "Plan", "join", "prune_curves", "save_curve"]
