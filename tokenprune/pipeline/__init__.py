"""The stages joined, for the CLI and for Python: a recipe to a run folder, a run folder to its pruning curves."""

from tokenprune.pipeline.look import Opened, Seen, look, opened_run, opened_timm
from tokenprune.pipeline.measure import measure_run
from tokenprune.pipeline.prepare import DatasetCache, Prepared, prepare
from tokenprune.pipeline.prune import prune_run
from tokenprune.pipeline.train import DryRun, dry_run, train_run
