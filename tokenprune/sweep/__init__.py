"""Many trainings from one file: which are left, and the launchers that run them. No torch until a worker starts."""

from tokenprune.sweep.plan import standing, training_flops
from tokenprune.sweep.progress import CellRow, Watcher
from tokenprune.sweep.run import Begun, begin, overview, run_here, run_on_cluster, survey
