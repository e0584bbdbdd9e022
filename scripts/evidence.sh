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
runs=${1:-runs-evidence}
# Large pages, and none given back to the system between steps: fewer page faults.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4000000000:glibc.malloc.top_pad=268435456}

search=docs/results/recipes/search.jsonl.gz
samples=docs/results/samples/main.jsonl.gz

unpack() { # PACKED FOLDER: so that the sweep counts packed cells as finished
    mkdir -p "$2"
    [ ! -f "$1" ] || $tokenprune pack "$1" "$2" >/dev/null
}

validation() { # FOLDER: the images that the search of recipes is measured on
    mkdir -p "$1"
    [ -f "$1/validation.npz" ] || $python scripts/hold_out.py "${TOKENPRUNE_DATA:-.data}/cifar10.npz" "$1/validation.npz"
    echo "data.source=$1/validation.npz"
}

if [ "$runs" = list ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    left() { # PACKED SWEEP [OPTIONS]
        local packed=$1 sweep=$2
        shift 2
        unpack "$packed" "$scratch/$sweep"
        $tokenprune sweep "$sweep" --runs-dir "$scratch/$sweep" --dry-run "$@" | tail -n 2 | sed 's/^/  /'
    }
    echo "Recipes for small ViTs (docs/results/recipes; 29 cells, about twenty minutes of one core each):"
    left "$search" recipes --set "$(validation "$scratch/recipes")"
    echo "Samples over alpha_* (docs/results/samples; 420 cells, about eleven hours of two cores in all):"
    left "$samples" samples-picture
    echo "Published diagrams (docs/results/theory-match; ten minutes of two cores):"
    if [ -f docs/results/theory-match/runs.jsonl.gz ]; then echo "  finished"; else echo "  not begun: ./scripts/theory_match.sh"; fi
    exit
fi

go() { # PACKED SWEEP [OPTIONS]: go on with a sweep, and pack what is finished every HOUR seconds
    local packed=$1 name=$2 sweep
    shift 2
    unpack "$packed" "$runs/$name"
    $tokenprune sweep "$name" --runs-dir "$runs/$name" --resume "$@" &
    sweep=$!
    trap 'kill -INT "$sweep" 2>/dev/null || true' INT TERM
    while kill -0 "$sweep" 2>/dev/null; do
        for ((second = 0; second < ${HOUR:-3600}; second += 5)); do
            sleep 5 || true
            kill -0 "$sweep" 2>/dev/null || break
        done
        $tokenprune pack "$runs/$name" "$packed" || true # nothing is finished yet
    done
    wait "$sweep"
}

[ -f docs/results/theory-match/runs.jsonl.gz ] || ./scripts/theory_match.sh "$runs/match"
go "$search" recipes --set "$(validation "$runs/recipes")"
go "$samples" samples-picture
