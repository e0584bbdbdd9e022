#!/usr/bin/env bash
# Every experiment of the theory laboratory, at the settings of docs/theory.md, into one folder of runs and one report.
#
#   ./scripts/theory.sh [FOLDER]        FOLDER (default theory-runs) gets runs/ and report/; 45 minutes on two cores
#
# Safe to stop and to start again: what is finished is left as it is, what was interrupted goes on.
# TRIALS=2 makes a quick trial of the script itself.
set -euo pipefail

folder=${1:-theory-runs}
trials=${TRIALS:-20}
python=${PYTHON:-python}
wide=50,70,100,140,200,280,400,560,800,1120,1600,2240,3200
wider=1600,3200,6400,12800,25600,51200,102400

theory() {
  local experiment=$1
  shift
  "$python" -m tokenprune theory "$experiment" --trials "$trials" --runs-dir "$folder/runs" --resume "$@" >/dev/null
}

# As published, and the axes about which nothing numerical was published.
theory phase --axis alpha
theory phase --axis confusion
theory time
theory time --set model.neurons=200
theory time --set data.count=40
theory time --set train.batch_size=8
theory time --set convergence.success=1e-2
if "$python" -m tokenprune theory spatial --help >/dev/null 2>&1; then
  theory spatial
fi

# The claims, at the default setting and at five others. The first --set of each line names it.
settings=("train.batch_size=4" "train.batch_size=8" "data.count=40" "model.neurons=200" "step" "success")
for setting in "${settings[@]}"; do
  curve=(--set "$setting") grid=(--set "$setting") removal=(--set "$setting")
  if [ "$setting" = step ]; then # half of each recipe's own
    grid=(--set train.step_size=0.6) removal=(--set train.step_size=0.6) curve=(--set train.step_size=0.3)
  elif [ "$setting" = success ]; then
    grid=(--set grid.success=1e-2) removal=(--set removal.success=1e-2) curve=(--set curve.test_samples=400)
  fi
  theory phase --recipe complexity --samples "$wide" "${grid[@]}"
  theory phase --recipe complexity --model cnn --samples "$wider" "${grid[@]}"
  theory phase --axis noise "${grid[@]}"
  theory phase --axis start "${grid[@]}"
  theory attention "${curve[@]}"
  theory sparsify "${removal[@]}"
done

"$python" -m tokenprune report --runs-dir "$folder/runs" --out "$folder/report"
