#!/usr/bin/env bash
# ./scripts/publish.sh RUNS_DIR OUT: write the report on runs into OUT, with each run's recipe, environment and numbers
# beside it: what a committed result consists of. Weights and per-image predictions stay behind.
set -euo pipefail
runs=$1 out=$2
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
$tokenprune report --runs-dir "$runs" --out "$out"
rm -rf "$out/runs"
for run in "$runs"/*/result.json "$runs"/*/prune/*/result.json; do
    folder=$(dirname "$run")
    kept=$out/runs/${folder#"$runs"/}
    mkdir -p "$kept"
    for name in recipe.yaml resolved.yaml environment.json metrics.jsonl result.json; do
        [ ! -f "$folder/$name" ] || cp "$folder/$name" "$kept/"
    done
done
