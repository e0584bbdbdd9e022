#!/usr/bin/env bash
# The CPU protocol behind docs/results/claims-cpu: I1 to I8 at depth 1, 2, 4 and 6 on reduced composite CIFAR-10.
#
#     ./scripts/claims_cpu.sh [RUNS_DIR]              580 runs, of which 464 took two hours and ten minutes on two cores
#                                                    that did other work as well; run it again to go on
#     STAGES="0,1,2:1,2,4,6" ./scripts/claims_cpu.sh  SEEDS:DEPTHS, separated by spaces, instead of all
#
# Fixed before it was run: six sweeps at `--scale cpu`, whose settings share one recipe, `claims-cpu`; the last epoch's
# weights; seeds 0 to 4, in an order that does not look at results: 0, 1 and 2 of every depth, then 3 and 4 from shallow to deep.
# A cell that fails is recorded and does not stop the rest; the script then ends with status 4. Paths are from the
# project's folder.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-claims}
out=${OUT_DIR:-docs/results/claims-cpu}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
failed=0

for stage in ${STAGES:-0,1,2:1,2,4,6 3,4:1,2 3,4:4,6}; do
    for sweep in magnitude samples sparsify spurious noise starts; do
        $tokenprune sweep "$sweep" --scale cpu --runs-dir "$runs" --resume >/dev/null \
            --only run.seed="${stage%%:*}" --only model.depth="${stage##*:}" || failed=$?
        [ "$failed" = 0 ] || [ "$failed" = 4 ] || exit "$failed"
    done
done
./scripts/publish.sh "$runs" "$out" claims-matrix
exit "$failed"
