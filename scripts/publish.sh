#!/usr/bin/env bash
# ./scripts/publish.sh RUNS OUT [FIGURE ...]: add finished runs to OUT/runs.jsonl.gz, and write beside it the verdicts and
# numbers of all that is packed there, and the figures that its README shows: what a committed result consists of. The
# page is made again by `tokenprune report --runs-dir OUT/runs.jsonl.gz`.
set -euo pipefail
runs=$1 out=$2
shift 2
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT
$tokenprune pack "$runs" "$out/runs.jsonl.gz"
$tokenprune report --runs-dir "$out/runs.jsonl.gz" --out "$report"
for name in claims.csv theory.csv; do
    [ ! -f "$report/$name" ] || cp "$report/$name" "$out/"
done
for figure in "$@"; do
    cp "$report/figures/$figure.png" "$out/"
done
