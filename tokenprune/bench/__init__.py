"""Speed as ratios in one run: everything against a plain implementation, turn by turn, medians."""

from tokenprune.bench.table import BENCHMARKS, run
