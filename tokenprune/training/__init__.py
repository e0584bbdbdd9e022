"""Training: one loop that can be read from top to bottom, checkpoints, what is observed on the way."""

from tokenprune.training.checkpoint import Checkpoint
from tokenprune.training.loop import Diverged, Job, Learner, Outcome, Reporter, Silent, keep_ratio, one_step, train
from tokenprune.training.observe import Scores, attention_on_relevant, score

__all__ = [
    "Checkpoint",
    "Diverged",
    "Job",
    "Learner",
    "Outcome",
    "Reporter",
    "Scores",
    "Silent",
    "attention_on_relevant",
    "keep_ratio",
    "one_step",
    "score",
    "train",
]
