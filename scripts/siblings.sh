#!/usr/bin/env bash
# The three sibling papers in reduced form, within three hours of two cores: trains, measures, packs. Goes on where it stopped.
#
# Run:  ./scripts/siblings.sh [RUNS]     RUNS: where models are kept, runs-siblings by default. Stop it at any time.
#       ONLY="positional how"            parts to run
#       SWEEP_OPTIONS="--workers 1"      of `tokenprune sweep`
#
# What it makes: docs/results/positional, docs/results/how, docs/results/heads.
set -euo pipefail
cd "$(dirname "$0")/.."
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
runs=${1:-runs-siblings}
only=${ONLY:-positional how}
read -r -a options <<<"${SWEEP_OPTIONS:-}"

measure() { # FOLDER SEED MEASUREMENT [OPTIONS]: of every finished run of that seed; what is there is read, not made again
  local folder=$1 seed=$2
  shift 2
  for run in "$folder"/*-s"$seed"; do
    if [ -f "$run/result.json" ] && [ -f "$run/weights.safetensors" ]; then
      "$tokenprune" measure "$@" --run "$run" --quiet >/dev/null || echo "$run: $1 is not measured" >&2
    fi
  done
}

what_attention_does() { # FOLDER SEED
  for each in fourier variance rank; do measure "$1" "$2" "$each"; done
  for each in lesion frequency-noise; do measure "$1" "$2" "$each" --option images=2000; done
  measure "$1" "$2" hessian --option images=320 --option steps=60
}

before_and_after() { # FOLDER SEED: pruning, of the plain Vision Transformer
  local pruned=(--option "methods=[magnitude,random]" --option "keep=[0.7,0.5,0.3]" --option site=before:4)
  for run in "$1"/*-s"$2"; do
    for sign in "train_size: 10000" "attention: content" "stages: null" "label_smoothing: 0.0" "keep_ratio: 1.0"; do
      grep -q "$sign" "$run/resolved.yaml" || continue 2
    done
    for each in fourier variance; do "$tokenprune" measure "$each" --run "$run" "${pruned[@]}" --quiet >/dev/null; done
    "$tokenprune" measure hessian --run "$run" "${pruned[@]}" --option images=320 --option steps=60 --quiet >/dev/null
    "$tokenprune" measure landscape --run "$run" --option images=500 --option size=11 --quiet >/dev/null
  done
}

for part in $only; do
  mkdir -p "$runs/$part"
  packed=docs/results/$part/runs.jsonl.gz
  [ ! -f "$packed" ] || "$tokenprune" pack "$packed" "$runs/$part" >/dev/null
  for seed in 0 1 2; do
    "$tokenprune" sweep "$part" --scale cpu --runs-dir "$runs/$part" --resume --only "run.seed=$seed" "${options[@]}"
    case $part in
    positional) measure "$runs/$part" "$seed" association ;;
    how)
      what_attention_does "$runs/$part" "$seed"
      before_and_after "$runs/$part" "$seed"
      ;;
    esac
    "$tokenprune" pack "$runs/$part" "$packed"
  done
done
