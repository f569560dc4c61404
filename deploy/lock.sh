#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml: exact versions with hashes, and no address of any index.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
uv=".uv/bin/uv"

compile() { # OUTPUT, then what to lock
  local output=$1
  shift
  "$uv" pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
    --custom-compile-command "make lock" --override deploy/locks/overrides.txt pyproject.toml "$@" --output-file "deploy/locks/$output"
}

backend=()
compgen -G "${UV_FIND_LINKS:-/nonexistent}/torch-*" >/dev/null || backend=(--torch-backend cpu)
compile cpu.txt --override deploy/locks/overrides-cpu.txt --extra gateway --extra ml-cpu --extra train --extra local --extra dev "${backend[@]}"
wheels=$UV_FIND_LINKS
unset UV_FIND_LINKS
compile gpu.txt --extra gateway --extra ml-gpu --extra train --extra local --extra dev
compile gateway.txt --extra gateway
# In the versions that the whole project is tested with.
compile gateway-dev.txt --constraint deploy/locks/cpu.txt --extra gateway --extra ml --extra test
compile backup.txt --constraint deploy/locks/cpu.txt --extra gateway --extra servers
# What the images hold: of the same versions, and without what only tests and development need.
images=(deploy/locks/bundled-model.in --constraint)
compile ml-gpu.txt "${images[@]}" deploy/locks/gpu.txt --extra ml-gpu
compile worker-gpu.txt "${images[@]}" deploy/locks/gpu.txt --extra ml --extra train
[[ -z $wheels ]] || export UV_FIND_LINKS="$wheels"
cpu=(--override deploy/locks/overrides-cpu.txt "${backend[@]}")
compile ml-cpu.txt "${images[@]}" deploy/locks/cpu.txt --extra ml-cpu "${cpu[@]}"
compile worker-cpu.txt "${images[@]}" deploy/locks/cpu.txt --extra ml --extra train "${cpu[@]}"
