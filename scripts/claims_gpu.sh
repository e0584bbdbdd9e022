#!/usr/bin/env bash
# The GPU protocol for docs/results/claims-h200: I1 to I8 at depth 1 to 12, three seeds, on all of CIFAR-10.
#
#     ./scripts/claims_gpu.sh [RUNS_DIR]                 run it again to go on where it stopped
#     PIECE=540 ./scripts/claims_gpu.sh                  stop by itself after nine minutes, everything saved
#     STATE=claims.tar PIECE=540 ./scripts/claims_gpu.sh  begin with the results in claims.tar, end by writing it anew:
#                                                        what goes from machine to machine, without weights
#     SMALL=1 ./scripts/claims_gpu.sh /tmp/small         the same steps at toy size, on a CPU in about five minutes
#
# Status 75: the piece is over and there is more to do. 4: some cells failed, everything else is done. Paths are from the
# project's folder.
#
# Fixed before it is run: the sweeps `samples`, `sparsify`, `magnitude`, `spurious`, `noise` and `starts`, whose settings
# share one recipe, `claims`; the last epoch's weights; seed 0 of everything first, then 1, then 2. PER_GPU models share
# the GPU. A cell that a piece has not finished goes on from its checkpoint, or, on another machine, from the beginning.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-claims-gpu}
out=${OUT_DIR:-docs/results/claims-h200}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
until=$(($(date +%s) + ${PIECE:-1000000}))
scale=() small=() options=(--per-gpu "${PER_GPU:-4}") seeds=(0 1 2)
if [ -n "${SMALL:-}" ]; then
    scale=(--scale cpu) seeds=(0) out="$runs/report"
    small=(--set model.dim=12 --set data.test_size=100) options=(--only model.depth=1)
fi

mkdir -p "$runs"
[ ! -f "${STATE:-}" ] || tar -xf "$STATE" -C "$runs"
finished='import json, sys
for cell in json.load(sys.stdin)["cells"]:
    if cell["state"] == "finished" and not cell["run"].startswith("pretrain-"): print(cell["run"])'
pack() { # finished cells alone: others start anew elsewhere, and pretraining is worth nothing without its weights
    [ -n "${STATE:-}" ] || return 0
    for sweep in magnitude samples sparsify spurious noise starts; do
        $tokenprune sweep "$sweep" "${scale[@]}" --runs-dir "$runs" --dry-run --json "${small[@]}" | .venv/bin/python -c "$finished"
    done | sort -u | (cd "$runs" && while read -r run; do
        find "$run" -type f ! -name '*.safetensors' ! -name '*.pt' ! -name '*.lock' ! -name '*.npz'
    done | tar -cf - -T -) >"$STATE.part"
    mv "$STATE.part" "$STATE"
}

failed=0
for seed in "${seeds[@]}"; do
    for sweep in magnitude samples sparsify spurious noise starts; do
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
