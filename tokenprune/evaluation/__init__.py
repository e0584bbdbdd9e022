"""Accuracy against kept-token ratio, measured with tokens really removed."""

from tokenprune.evaluation.curves import CurvePlan, prune_curves
from tokenprune.evaluation.points import Curve, join, load_curve, save_curve
