#!/usr/bin/env bash
# The long runs behind docs/results, one after the other, from what is packed there: any machine goes on.
#
#     ./scripts/evidence.sh list         what is finished, what is left and what it costs
#     ./scripts/evidence.sh [RUNS_DIR]   go on; finished cells are packed every HOUR seconds (3600), and at the end
#
# Ctrl-C stops it at any time: cells resume from their last checkpoint, and what is finished is packed first.
set -euo pipefail
cd "$(dirname "$0")/.."
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune}
samples=docs/results/samples/main.jsonl.gz
runs=${1:-runs-evidence}

unpack() { # FOLDER: so that the sweep counts packed cells as finished
    mkdir -p "$1"
    [ ! -f "$samples" ] || $tokenprune pack "$samples" "$1" >/dev/null
}

if [ "$runs" = list ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    unpack "$scratch"
    echo "Samples over alpha_* (docs/results/samples; 420 cells, about eleven hours of two cores in all):"
    $tokenprune sweep samples-picture --runs-dir "$scratch" --dry-run | tail -n 2 | sed 's/^/  /'
    echo "Recipes for small ViTs (docs/results/recipes; four hours of two cores, estimated):"
    if [ -f docs/results/recipes/search.jsonl.gz ]; then echo "  begun"; else echo "  not begun: ./scripts/recipes.sh"; fi
    echo "Published diagrams (docs/results/theory-match; ten minutes of two cores):"
    if [ -f docs/results/theory-match/runs.jsonl.gz ]; then echo "  finished"; else echo "  not begun: ./scripts/theory_match.sh"; fi
    exit
fi

[ -f docs/results/theory-match/runs.jsonl.gz ] || ./scripts/theory_match.sh "$runs/match"
unpack "$runs/samples"
$tokenprune sweep samples-picture --runs-dir "$runs/samples" --resume &
sweep=$!
trap 'kill -INT "$sweep" 2>/dev/null || true' INT TERM
while kill -0 "$sweep" 2>/dev/null; do
    for ((second = 0; second < ${HOUR:-3600}; second += 5)); do
        sleep 5 || true
        kill -0 "$sweep" 2>/dev/null || break
    done
    $tokenprune pack "$runs/samples" "$samples" || true # nothing is finished yet
done
wait "$sweep"
