#!/usr/bin/env bash
# The search behind docs/results/recipes: one change of a recipe at a time, on images held out of the training images.
#
#     ./scripts/recipes.sh [RUNS_DIR]    some four hours of two cores, estimated
#
# Run it again to go on where it stopped; what is finished is packed into docs/results/recipes/search.jsonl.gz.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-recipes}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune} python=${PYTHON:-.venv/bin/python}
failed=0
mkdir -p "$runs"
[ -f "$runs/validation.npz" ] || $python scripts/hold_out.py "${TOKENPRUNE_DATA:-.data}/cifar10.npz" "$runs/validation.npz"
$tokenprune sweep recipes --runs-dir "$runs" --resume --set data.source="$runs/validation.npz" >/dev/null || failed=$?
$tokenprune pack "$runs" docs/results/recipes/search.jsonl.gz
exit "$failed"
