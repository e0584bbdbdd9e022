#!/usr/bin/env bash
# The CPU protocol behind docs/results/cpu: depth 1 and 6 on composite CIFAR-10, three seeds each, then pruning.
#
#     ./scripts/cpu_depth.sh [RUNS_DIR]        about two hours on two cores; run it again to go on where it stopped
#
# Fixed before it was run: recipe `shallow` as shipped (all 50,000 images) but for 4 epochs, so that depth 6 fits; the
# last epoch's weights; magnitude, random (three draws) and oracle at ratios 1 to 0.1, site before:0.
# A process per core, each with one thread: as fast as one process with two, and not slowed by anything else that runs.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-cpu}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}

train() { # DEPTH SEED
    $tokenprune train --recipe shallow --seed "$2" --runs-dir "$runs" --resume \
        --set model.depth="$1" --set train.epochs=4 --set run.threads=1
    local run
    run=$(cd "$runs" && grep -l "^  depth: $1\$" shallow-*-s"$2"/resolved.yaml | head -n 1)
    $tokenprune prune --run "$(dirname "$run")" --runs-dir "$runs"
}

(train 6 0 && train 6 2) &
(train 1 0 && train 6 1 && train 1 1 && train 1 2) &
wait
./scripts/publish.sh "$runs" docs/results/cpu
