#!/usr/bin/env bash
# The smoke (tools/smoke.py) from the built wheel, in an empty environment for each Python and torch:
#   tools/versions.sh [PYTHON:TORCH ...]          default: every python3.N on the PATH with the newest torch
# Each environment is deleted before the next; give CPU builds with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS where the
# index has CUDA builds only, which take several gigabytes.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
pairs=("$@")
if [ ${#pairs[@]} -eq 0 ]; then
    for minor in 10 11 12 13 14; do
        if command -v "python3.$minor" > /dev/null; then pairs+=("python3.$minor:"); fi
    done
fi
"${pairs[0]%%:*}" -m venv "$work/build" && "$work/build/bin/pip" install --quiet build
"$work/build/bin/python" -m build --outdir "$work/dist" . > "$work/log" || { cat "$work/log"; exit 1; }
cp tools/smoke.py "$work/smoke.py"
echo '| Python | torch | smoke |'; echo '|---|---|---|'
failed=0
for pair in "${pairs[@]}"; do
    python=${pair%%:*} torch=${pair#*:}
    rm -rf "$work/env"
    "$python" -m venv "$work/env"
    if ! "$work/env/bin/pip" install --quiet "torch${torch:+==$torch}" "$work"/dist/*.whl > "$work/log" 2>&1; then
        echo "| $python | $torch | can't be installed: $(tail -1 "$work/log") |"; failed=1; continue
    fi
    (cd "$work" && env -u PYTHONPATH "$work/env/bin/python" smoke.py 2> "$work/log") || { cat "$work/log" >&2; failed=1; }
done
exit $failed
