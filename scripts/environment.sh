#!/usr/bin/env bash
# ./scripts/environment.sh: makes or reuses .venv at the root of the repository, with tokenprune and its test tools.
# Installs only when pyproject.toml has changed since, or when the repository has moved.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usable='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
stamp=.venv/installed
wanted=$(printf '%s\n' "$PWD"; cat pyproject.toml)

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

# An environment whose Python has gone, is too old, or that was made in another folder cannot be reused.
if ! .venv/bin/python -c "$usable" 2>/dev/null || { [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$PWD" ]; }; then
    python=
    for candidate in python3.13 python3.12 python3.11 python3; do
        # Tried rather than looked up: a version manager's shim exists and yet may not run.
        if "$candidate" -c "$usable" >/dev/null 2>&1; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "error: no Python 3.11 or newer with its venv module was found; install one" \
            "(Debian, Ubuntu: apt install python3 python3-venv) and run this again" >&2
        exit 1
    fi
    echo "making .venv with $("$python" --version)" >&2
    [ ! -L .venv ] || rm .venv # a link: what it leads to is another's
    "$python" -m venv --clear .venv
fi

echo "installing tokenprune into .venv; the first time downloads torch, which takes minutes" >&2
rm -f "$stamp"
.venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[test]' >&2
printf '%s\n' "$wanted" >"$stamp"
