#!/usr/bin/env bash
# The smoke (tools/smoke.py) from the built wheel, in an empty environment for each Python and torch:
#   tools/versions.sh [PYTHON:TORCH ...]
# Without arguments: every torch below on python3.11, and the fixed one on every other python3.N of the PATH.
# An environment takes 5 GB where the index has CUDA builds only, and is deleted before the next. Where uv is installed
# it is used in pip's place: it keeps what environments share.
set -euo pipefail
cd "$(dirname "$0")/.."
torches=(2.8.0 2.9.1 2.10.0 2.11.0 2.12.1 2.13.0 2.14.1 2.15.0) fixed=2.13.0
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
pairs=("$@")
if [ ${#pairs[@]} -eq 0 ]; then
    pairs=("${torches[@]/#/python3.11:}")
    for minor in 10 12 13 14; do
        if "python3.$minor" -c '' 2> /dev/null; then pairs+=("python3.$minor:$fixed"); fi
    done
fi
"${pairs[0]%%:*}" -m venv "$work/build" && "$work/build/bin/pip" install --quiet build
"$work/build/bin/python" -m build --outdir "$work/dist" . > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mkdir "$work/smoke"
cp -r --parents tools/smoke.py tests/__init__.py tests/golden tests/support/golden.py "$work/smoke"
echo "Measured on $(date +%F):"; echo; echo '| Python | torch | smoke |'; echo '|---|---|---|'
failed=0
for pair in "${pairs[@]}"; do
    python=${pair%%:*} torch=${pair#*:}
    rm -rf "$work/env"
    "$python" -m venv "$work/env"
    pip=("$work/env/bin/pip" install)
    if command -v uv > /dev/null; then pip=(uv pip install --python "$work/env/bin/python"); fi
    if ! "${pip[@]}" --quiet "torch${torch:+==$torch}" "$work"/dist/*.whl > "$work/log" 2>&1; then
        echo "| $python | $torch | can't be installed: $(tail -1 "$work/log") |"; failed=1; continue
    fi
    (cd "$work" && env -u PYTHONPATH "$work/env/bin/python" smoke/tools/smoke.py 2> "$work/log") ||
        { cat "$work/log" >&2; failed=1; }
done
exit $failed
