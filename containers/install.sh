#!/bin/sh
# Install hepcnn with the versions of requirements.lock: containers/install.sh cpu|cuda [PYTHON]
# What the Dockerfile and the Apptainer definition run; PYTHON is that of a virtual environment elsewhere.
set -eu
variant=${1:?cpu or cuda}
python=${2:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
list=$(mktemp)
trap 'rm -f "$list"' EXIT

"$python" "$here/containers/requirements.py" "$variant" > "$list"
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore uv==0.13.8
"$python" -m uv pip install --quiet --python "$python" --require-hashes -r "$list"
if [ "$variant" = cpu ]; then
    "$python" "$here/containers/requirements.py" torch > "$list"
    "$python" -m uv pip install --quiet --python "$python" --torch-backend cpu --no-deps -r "$list"
fi
"$python" -m uv pip install --quiet --python "$python" --no-deps "$here"
