#!/usr/bin/env bash
# The GPU protocols: `trained` for docs/results/trained-h100, `claims` for docs/results/claims-h200.
#
#     ./scripts/gpu.sh trained [RUNS_DIR]                run it again to go on where it stopped
#     PIECE=540 ./scripts/gpu.sh trained                 stop by itself after nine minutes, everything saved
#     STATE=runs.tar PIECE=540 ./scripts/gpu.sh trained  begin with the results in runs.tar, end by writing it anew:
#                                                        what goes from machine to machine, without weights
#     SMALL=1 ./scripts/gpu.sh trained /tmp/small        the same steps at toy size, on a CPU in about five minutes
#
# Status 75: the piece is over and there is more to do. 4: some cells failed, everything else is done. Paths are from the
# project's folder.
#
# Fixed before it is run: `trained`, sweep `trained` at scale gpu (dim 192, 200 epochs, depth 1 to 12, and all methods that
# need no training); `claims`, the sweeps `samples`, `sparsify`, `magnitude`, `spurious`, `noise` and `starts`, whose
# settings share one recipe, `claims`; the last epoch's weights; seed 0 of everything first, then 1, then 2. PER_GPU models
# share the GPU. A cell that a piece has not finished goes on from its checkpoint, or, on another machine, from the beginning.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-}
runs=${2:-runs-gpu-$what}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
until=$(($(date +%s) + ${PIECE:-1000000}))
small=() options=(--per-gpu "${PER_GPU:-4}") seeds=(0 1 2)
case $what in
trained)
    sweeps=(trained) scale=(--scale gpu) out=docs/results/trained-h100 depth=6
    tiny=(--set model.dim=12 --set model.heads=3 --set train.epochs=1 --set train.warmup_epochs=0
        --set data.train_size=500 --set data.test_size=100)
    ;;
claims)
    sweeps=(magnitude samples sparsify spurious noise starts) scale=() out=docs/results/claims-h200 depth=1
    tiny=(--set model.dim=12 --set data.test_size=100)
    [ -z "${SMALL:-}" ] || scale=(--scale cpu)
    ;;
*)
    echo "usage: ./scripts/gpu.sh trained|claims [RUNS_DIR]" >&2
    exit 2
    ;;
esac
out=${OUT_DIR:-$out}
if [ -n "${SMALL:-}" ]; then
    small=("${tiny[@]}") options=(--only model.depth=$depth) seeds=(0) out="$runs/report"
fi

mkdir -p "$runs"
[ ! -f "${STATE:-}" ] || tar -xf "$STATE" -C "$runs"
finished='import json, sys
for cell in json.load(sys.stdin)["cells"]:
    if cell["state"] == "finished" and not cell["run"].startswith("pretrain-"): print(cell["run"])'
pack() { # finished cells alone: others start anew elsewhere, and pretraining is worth nothing without its weights
    [ -n "${STATE:-}" ] || return 0
    for sweep in "${sweeps[@]}"; do
        $tokenprune sweep "$sweep" "${scale[@]}" --runs-dir "$runs" --dry-run --json "${small[@]}" | .venv/bin/python -c "$finished"
    done | sort -u | (cd "$runs" && while read -r run; do
        find "$run" -type f ! -name '*.safetensors' ! -name '*.pt' ! -name '*.lock' ! -name '*.npz'
    done | tar -cf - -T -) >"$STATE.part"
    mv "$STATE.part" "$STATE"
}

failed=0
for seed in "${seeds[@]}"; do
    for sweep in "${sweeps[@]}"; do
        left=$((until - $(date +%s) - 20)) status=124
        if [ "$left" -ge 30 ]; then
            status=0
            timeout --signal=TERM "$left" $tokenprune sweep "$sweep" "${scale[@]}" --runs-dir "$runs" --resume \
                --only run.seed="$seed" "${options[@]}" "${small[@]}" >/dev/null || status=$?
        fi
        case $status in
        0) ;;
        4) failed=4 ;; # recorded; the rest go on
        124 | 130)
            pack
            echo "this piece is over; run this script again to go on" >&2
            exit 75
            ;;
        *)
            pack
            exit "$status"
            ;;
        esac
    done
done
pack
./scripts/publish.sh "$runs" "$out" claims-matrix
exit "$failed"
