#!/usr/bin/env bash
# The laboratory at a setting chosen by the authors' ViT diagram alone, and the CNN there, once: docs/results/theory-match.
#
#     ./scripts/theory_match.sh [RUNS_DIR] [OUT]     some ten minutes on two cores; run it again to go on
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-match} out=${2:-docs/results/theory-match}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune} python=${PYTHON:-.venv/bin/python}
mkdir -p "$runs" "$out"
mapfile -t best < <($python scripts/theory_match.py "$runs/search" "$out/search.csv")
settings=()
for each in "${best[@]}"; do settings+=(--set "$each"); done
settings+=(--seed 1) # the search saw seed 0
# All published cells with 20 trials; then the CNN once, over N that hold the published ones.
$tokenprune theory phase --recipe phase-alpha --trials 20 "${settings[@]}" --runs-dir "$runs/final" --resume >/dev/null
$tokenprune theory phase --recipe phase-alpha --trials 20 "${settings[@]}" --model cnn \
    --samples 40,80,120,160,200,240,280,320,360,400,560,800,1120,1600,2240,3200 --runs-dir "$runs/final" --resume >/dev/null
TOKENPRUNE=$tokenprune ./scripts/publish.sh "$runs/final" "$out"
