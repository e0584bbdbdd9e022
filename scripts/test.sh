#!/usr/bin/env bash
# ./scripts/test.sh: format, lint, types, import rules and tests. Arguments go to pytest: ./scripts/test.sh tests/cli -x
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
./scripts/environment.sh
PATH=$root/.venv/bin:$PATH

ruff format --check --quiet .
ruff check --quiet .
mypy
lint-imports
python -m pytest --numprocesses auto --maxprocesses 4 "$@"
