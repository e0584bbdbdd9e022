#!/usr/bin/env bash
# The three sibling papers in reduced form, within three hours of two cores: trains, measures, packs. Goes on where it stopped.
#
# Run:  ./scripts/siblings.sh [RUNS]     RUNS: where models are kept, runs-siblings by default. Stop it at any time.
#       ONLY="positional how heads"      parts to run; heads are made of the models of how
#       SWEEP_OPTIONS="--workers 1"      of `tokenprune sweep`
#       SCALE=gpu                        the published sizes, on a GPU; results in docs/results/positional-gpu and so on
#
# What it makes: docs/results/positional, docs/results/how, docs/results/heads.
set -euo pipefail
cd "$(dirname "$0")/.."
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune} python=${PYTHON:-.venv/bin/python}
runs=${1:-runs-siblings}
only=${ONLY:-positional how heads}
scale=(--scale cpu) out=
if [ "${SCALE:-cpu}" = gpu ]; then scale=() out=-gpu; fi
read -r -a options <<<"${SWEEP_OPTIONS:-}"

failed=0
for part in $only; do
  mkdir -p "$runs/$part"
  packed=docs/results/$part$out/runs.jsonl.gz
  [ ! -f "$packed" ] || "$tokenprune" pack "$packed" "$runs/$part" >/dev/null
  for seed in 0 1 2; do
    [ "$part" = heads ] ||
      "$tokenprune" sweep "$part" "${scale[@]}" --runs-dir "$runs/$part" --resume --only "run.seed=$seed" "${options[@]}"
    $python scripts/measure_siblings.py "$part" "$runs" "$seed" >/dev/null || failed=1 # said there; the rest goes on
    "$tokenprune" pack "$runs/$part" "$packed"
  done
done
exit "$failed"
