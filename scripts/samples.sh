#!/usr/bin/env bash
# The protocol behind docs/results/samples: how many samples are needed over alpha_*, where only alpha_* moves.
#
#     ./scripts/samples.sh pilot [RUNS_DIR]    learning rate by depth, on images held out of the training images
#     ./scripts/samples.sh main [RUNS_DIR]     the experiment, about eleven hours of two cores
#
# Run it again to go on where it stopped; what is finished is packed into docs/results/samples/STAGE.jsonl.gz.
set -euo pipefail
cd "$(dirname "$0")/.."
stage=${1:?pilot or main}
runs=${2:-runs-samples-$stage}
out=docs/results/samples
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune} python=${PYTHON:-.venv/bin/python}
data=${TOKENPRUNE_DATA:-.data}
failed=0

case $stage in
pilot)
    mkdir -p "$runs"
    [ -f "$runs/validation.npz" ] || $python scripts/hold_out.py "$data/cifar10.npz" "$runs/validation.npz"
    $tokenprune sweep samples-pilot --runs-dir "$runs" --resume --set data.source="$runs/validation.npz" >/dev/null ||
        failed=$?
    $tokenprune pack "$runs" "$out/pilot.jsonl.gz"
    ;;
main)
    $tokenprune sweep samples-picture --runs-dir "$runs" --resume >/dev/null || failed=$?
    $tokenprune pack "$runs" "$out/main.jsonl.gz"
    ;;
*)
    echo "unknown stage $stage" >&2
    exit 2
    ;;
esac
exit "$failed"
