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

hold_out() { # 5,000 of the training images, 500 a class, as test images of a data set of its own
    $python - "$data/cifar10.npz" "$1" <<'PY'
import sys

import numpy as np

with np.load(sys.argv[1]) as arrays:
    images, labels, names = arrays["train_images"], arrays["train_labels"], arrays["classes"]
order = np.random.default_rng(0).permutation(len(labels))
ranks = np.empty(len(labels), int)
for label in range(len(names)):
    own = order[labels[order] == label]
    ranks[own] = np.arange(len(own))
held = ranks < 500
np.savez(
    sys.argv[2],
    train_images=images[~held],
    train_labels=labels[~held],
    test_images=images[held],
    test_labels=labels[held],
    classes=names,
)
PY
}

case $stage in
pilot)
    mkdir -p "$runs"
    [ -f "$runs/validation.npz" ] || hold_out "$runs/validation.npz"
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
