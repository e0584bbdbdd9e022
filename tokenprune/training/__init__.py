"""Training: one loop that can be read from top to bottom, checkpoints, what is observed on the way."""

from tokenprune.training.checkpoint import Checkpoint
from tokenprune.training.loop import Diverged, Job, Learner, Outcome, Reporter, keep_ratio, kept_share, one_step, train
from tokenprune.training.observe import Scores, attention_on_relevant, score
