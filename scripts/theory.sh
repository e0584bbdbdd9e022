#!/usr/bin/env bash
# The protocol of docs/theory.md, behind docs/results/theory: every experiment of the theory laboratory, at six settings.
#
#     ./scripts/theory.sh [RUNS_DIR] [OUT]     about half an hour on two cores; run it again to go on where it stopped
#
# TRIALS=2 makes a quick trial of the script itself.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-theory} out=${2:-docs/results/theory}
trials=${TRIALS:-20}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
wide=50,70,100,140,200,280,400,560,800,1120,1600,2240,3200
wider=1600,3200,6400,12800,25600,51200,102400

theory() { # EXPERIMENT [OPTION ...]
    local experiment=$1
    shift
    $tokenprune theory "$experiment" --trials "$trials" --runs-dir "$runs" --resume "$@" >/dev/null
}

# As published, and what is not varied below.
theory phase --axis alpha
theory phase --axis confusion
theory time
theory time --set model.neurons=200
theory time --set data.count=40
theory time --set train.batch_size=8
theory time --set convergence.success=1e-2
theory spatial

# The claims at the default setting (batch 4 is the default's own) and at five others.
for setting in train.batch_size=4 train.batch_size=8 data.count=40 model.neurons=200 step success; do
    curve=(--set "$setting") grid=(--set "$setting") removal=(--set "$setting")
    if [ "$setting" = step ]; then # half of each recipe's own
        grid=(--set train.step_size=0.6) removal=(--set train.step_size=0.6) curve=(--set train.step_size=0.3)
    elif [ "$setting" = success ]; then # no success in the attention curve: another alpha_* there
        grid=(--set grid.success=1e-2) removal=(--set removal.success=1e-2) curve=(--set data.relevant=0.3)
    fi
    if [ "$setting" = step ] || [ "$setting" = train.batch_size=8 ]; then # half the progress from as many samples
        removal+=(--set removal.curve_samples=800)
    fi
    theory phase --recipe complexity --samples "$wide" "${grid[@]}"
    theory phase --recipe complexity --model cnn --samples "$wider" "${grid[@]}"
    theory phase --axis noise "${grid[@]}"
    theory phase --axis start "${grid[@]}"
    theory attention "${curve[@]}"
    theory sparsify "${removal[@]}"
done

./scripts/publish.sh "$runs" "$out" theory-exponents
