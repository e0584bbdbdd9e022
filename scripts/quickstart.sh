#!/usr/bin/env bash
# ./scripts/quickstart.sh: install, train a one-block ViT on pattern images, prune it with every method, write the report.
# Needs Python 3.11, nothing else. A finished run is reused: delete runs/ to start again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/environment.sh
tokenprune=.venv/bin/tokenprune

trained=$("$tokenprune" train --recipe quickstart --resume --json)
run=$(.venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["run"])' <<<"$trained")
"$tokenprune" prune --run "$run" --method all
"$tokenprune" report --out report

echo
echo "The run is in $PWD/runs/$run, the report is $PWD/report/index.html."
echo "Next: $tokenprune ls recipes"
