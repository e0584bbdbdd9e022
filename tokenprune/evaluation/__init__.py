"""Accuracy against kept-token ratio, measured with tokens really removed."""

from tokenprune.evaluation.curves import CurvePlan, curves_of, draw_seed, inference, ordered, prune_curves, removes
from tokenprune.evaluation.examples import ExampleStates, seen
from tokenprune.evaluation.points import Curve, join, load_curve, save_curve
