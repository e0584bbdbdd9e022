#!/usr/bin/env bash
# The long runs behind docs/results, one after the other, from what is packed there: any machine goes on.
#
#     ./scripts/evidence.sh list         what is finished, what is left and what it costs
#     ./scripts/evidence.sh [RUNS_DIR]   go on; finished cells are packed every HOUR seconds (3600), and at the end
#
# Ctrl-C stops it at any time: cells resume from their last checkpoint, and what is finished is packed first.
set -euo pipefail
cd "$(dirname "$0")/.."
tokenprune=${TOKENPRUNE:-.venv/bin/tokenprune} python=${PYTHON:-.venv/bin/python}
runs=${1:-runs-evidence} list=
# Large pages, and none given back to the system between steps: fewer page faults.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4000000000:glibc.malloc.top_pad=268435456}

if [ "$runs" = list ]; then
    list=yes runs=$(mktemp -d)
    trap 'rm -rf "$runs"' EXIT
fi

held_out() { # the images that recipes are chosen on
    mkdir -p "$runs"
    [ -f "$runs/validation.npz" ] || $python scripts/hold_out.py "${TOKENPRUNE_DATA:-.data}/cifar10.npz" "$runs/validation.npz"
    echo "data.source=$runs/validation.npz"
}

sweep() { # PACKED COST SWEEP [OPTIONS]: go on with a sweep from docs/results/PACKED.jsonl.gz, which sweeps may share
    local packed=docs/results/$1.jsonl.gz folder=$runs/$1 cost=$2 name=$3 running
    shift 3
    mkdir -p "$folder"
    [ ! -f "$packed" ] || $tokenprune pack "$packed" "$folder" >/dev/null
    if [ -n "$list" ]; then
        echo "$name ($packed; $cost in all):"
        $tokenprune sweep "$name" --runs-dir "$folder" --dry-run "$@" | tail -n 2 | sed 's/^/  /'
        return
    fi
    $tokenprune sweep "$name" --runs-dir "$folder" --resume "$@" &
    running=$!
    trap 'kill -INT "$running" 2>/dev/null || true' INT TERM
    while kill -0 "$running" 2>/dev/null; do
        for ((second = 0; second < ${HOUR:-3600}; second += 5)); do
            sleep 5 || true
            kill -0 "$running" 2>/dev/null || break
        done
        $tokenprune pack "$folder" "$packed" || true # nothing is finished yet
    done
    wait "$running"
}

if [ -n "$list" ]; then
    echo "Published diagrams (docs/results/theory-match; ten minutes of two cores):"
    if [ -f docs/results/theory-match/runs.jsonl.gz ]; then echo "  finished"; else echo "  not begun: ./scripts/theory_match.sh"; fi
elif [ ! -f docs/results/theory-match/runs.jsonl.gz ]; then
    ./scripts/theory_match.sh "$runs/match"
fi
# In hours of two cores, of Intel's with AMX at 300 training images a second and core (depth 6, dim 128).
sweep recipes/search "3 h" recipes --set "$(held_out)"
sweep recipes/composite "1.5 h" recipes-composite --set "$(held_out)"
sweep trained/runs "6 h" trained
sweep trained/runs "5 h" sparsify --scale trained
sweep recipes/muon "4 h" recipes-muon --set "$(held_out)"
sweep trained/runs "2 h" spurious --scale trained
sweep trained/runs "3.5 h" noise --scale trained
sweep samples/main "11 h" samples-picture
