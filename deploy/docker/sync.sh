#!/bin/sh
# Inside of an image's build: installs a lock into /opt/venv. PyTorch's CPU wheel comes from /wheels if it is there, else from PyTorch's index.
set -eu
lock=$1
if ls /wheels/torch-*+cpu* >/dev/null 2>&1; then
  set -- --find-links /wheels
elif grep -q '^torch==.*+cpu' "$lock"; then
  set -- --torch-backend cpu
else
  set --
fi
exec /opt/uv/bin/uv pip sync --python /opt/venv --require-hashes "$@" "$lock"
