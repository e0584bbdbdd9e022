"""Results on disk: run folders, atomic files, environment, typed records, queries."""

from tokenprune.runs import atomic
from tokenprune.runs.atomic import Busy
from tokenprune.runs.environment import describe, processor
from tokenprune.runs.folder import Progress, RunFolder, image_hashes, settle_prune
from tokenprune.runs.query import all_runs, check_resumable, find_run, latest_finished, run_name
from tokenprune.runs.records import (
    SCHEMA,
    DataFacts,
    Epoch,
    MeasureResult,
    ModelFacts,
    PrunePoint,
    PruneResult,
    Status,
    TrainResult,
    Values,
)
from tokenprune.runs.results import read_record, read_result, read_text, save_result
