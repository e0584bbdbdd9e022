#!/usr/bin/env bash
# ./scripts/quickstart.sh: install, train a one-block ViT on pattern images with three seeds, prune each by magnitude, at
# random and by relevance, write the report with its verdicts: no claim is decided on fewer than three seeds. Some
# minutes. Needs Python 3.11, nothing else. A finished run is reused: delete runs/ to start again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/environment.sh
tokenprune=.venv/bin/tokenprune

resume=()
[ ! -d runs ] || resume=(--resume)
for seed in 0 1 2; do
    trained=$("$tokenprune" train --recipe quickstart --seed "$seed" "${resume[@]}" --json)
    run=$(.venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["run"])' <<<"$trained")
    "$tokenprune" prune --run "$run"
done
"$tokenprune" report --out report

echo
echo "The runs are in $PWD/runs, the report is $PWD/report/index.html."
echo "Next: $tokenprune ls recipes"
