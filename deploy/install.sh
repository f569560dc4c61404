#!/usr/bin/env bash
# Makes .venv with everything in it: deploy/install.sh [cpu|gpu]. With gateway-dev it makes .venv-gateway: what the gateway's tests need.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-cpu}
folder=.venv
[[ $kind != gateway-dev ]] || folder=.venv-gateway
python_version=3.11
uv_version=0.13.9

say() { printf '  %-34s %s\n' "$1" "$2"; }
fail() { printf 'install: %s\n' "$1" >&2; exit 1; }
timed() { # WHAT, command
  local what=$1 begin=$SECONDS
  shift
  "$@" || fail "$what failed; the lines above say why"
  say "$what" "$((SECONDS - begin)) s"
}

# The locks were written on x86-64, and PyTorch's CPU wheel for other processors is known to its own index only.
if [[ $kind == cpu && $(uname -m) != x86_64 ]] && [[ $(grep -A3 '^torch==' deploy/locks/cpu.txt | grep -c -- --hash) == 1 ]]; then
  fail "the lock has PyTorch's CPU wheel for x86-64 only: docs/COMPOSE.md, 'On ARM', says how it gets the one for $(uname -m)"
fi

# pip's own settings hold for uv too, so that a mirror or a folder of wheels is named once.
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
[[ -z ${PIP_INDEX_URL:-} ]] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"

uv=".uv/bin/uv"
if [[ $("$uv" --version 2>/dev/null) != "uv $uv_version"* ]]; then
  command -v python3 >/dev/null || fail "python3 is not installed: install Python 3.11 or newer"
  python3 -m venv --clear .uv || fail "python3 cannot make virtual environments: install its venv module (Debian: apt install python3-venv)"
  timed "uv $uv_version" .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi

[[ -x $folder/bin/python ]] || timed "Python $python_version environment" "$uv" venv --quiet --python "$python_version" "$folder"

# vLLM's CPU build needs PyTorch's CPU wheel: from the wheel folder if there is one, else from PyTorch's own index.
backend=()
if [[ $kind == cpu ]] && ! compgen -G "${UV_FIND_LINKS:-/nonexistent}/torch-*+cpu*" >/dev/null; then backend=(--torch-backend cpu); fi
timed "Packages ($kind)" "$uv" pip sync --quiet --python "$folder" --require-hashes "${backend[@]}" "deploy/locks/$kind.txt"
timed "The project itself" "$uv" pip install --quiet --python "$folder" --no-deps --no-build-isolation --editable . --editable clients/python
printf '%s\n' "$kind" >"$folder/.installed"
