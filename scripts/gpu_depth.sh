#!/usr/bin/env bash
# The GPU protocol for docs/results/h200: depth 1, 6 and 12 on composite CIFAR-10 to convergence, three seeds, pruning.
#
#     ./scripts/gpu_depth.sh [RUNS_DIR]                     run it again to go on where it stopped
#     PIECE=540 ./scripts/gpu_depth.sh                      stop by itself after nine minutes, everything saved
#     SMALL=1 ./scripts/gpu_depth.sh /tmp/small             the same steps at toy size, on a CPU in a few minutes
#
# Fixed before it is run: 100 epochs, batch 512, RandAugment 2 x 9, label smoothing 0.1, moving average; the last
# epoch's weights; magnitude, random (three draws) and oracle at ratios 1 to 0.1, site before:0 at every depth.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-gpu}
out=${OUT_DIR:-docs/results/h200}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
until=$(($(date +%s) + ${PIECE:-1000000}))

settings=(train.epochs=100 train.batch_size=512 train.learning_rate=2e-3 train.label_smoothing=0.1
    train.ema_decay=0.999 train.warmup_epochs=5
    train.augment.randaugment_ops=2 train.augment.randaugment_magnitude=9)
depths=(1 6 12) seeds=(0 1 2)
if [ -n "${SMALL:-}" ]; then
    settings=(train.epochs=2 train.batch_size=64 train.ema_decay=0.9 train.augment.randaugment_ops=2
        data.train_size=256 data.test_size=200 model.dim=24)
    depths=(1 2) seeds=(0 1 2) out="$runs/report"
fi
words=()
for setting in "${settings[@]}"; do words+=(--set "$setting"); done

piece() { # COMMAND...: run it in what is left of this piece; a training run saves a checkpoint when told to stop
    local left=$((until - $(date +%s) - 20))
    if [ "$left" -lt 30 ] || ! timeout --signal=TERM "$left" "$@"; then
        echo "stopped; run this script again to go on" >&2
        exit 1
    fi
}

for seed in "${seeds[@]}"; do
    for depth in "${depths[@]}"; do
        trained=$(piece $tokenprune train --recipe shallow --seed "$seed" --runs-dir "$runs" --resume --json \
            --set model.depth="$depth" "${words[@]}")
        run=$(.venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["run"])' <<<"$trained")
        piece $tokenprune prune --run "$run" --runs-dir "$runs" >/dev/null
    done
done
./scripts/publish.sh "$runs" "$out"
