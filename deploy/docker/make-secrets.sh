#!/bin/sh
# Makes what compose.yaml mounts as secrets, in ./secrets, and .env if there is none. What is there already stays.
#
#   deploy/docker/make-secrets.sh              make what is missing
#   deploy/docker/make-secrets.sh renew NAME   make one anew: jwt_keys, ml_service_token, metrics_token, database_password,
#                                              postgres_password, valkey_password or grafana_password
#
# Nobody but their owner may enter the folder. Inside of it the files are readable, since each is mounted into containers of several users.
set -eu
cd "$(dirname "$0")/../.."
folder=secrets

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

write() { # NAME, with the content on standard input; complete or not at all
  cat >"$folder/.new"
  chmod 0444 "$folder/.new"
  mv -f "$folder/.new" "$folder/$1"
}

umask 077
mkdir -p "$folder"
chmod 0700 "$folder"

if [ "${1:-}" = renew ]; then
  name=${2:?which secret? the head of this file lists them}
  case $name in
    # The first key signs, the one behind it still verifies.
    jwt_keys) printf '%.8s:%s,%s\n' "$(random)" "$(random)" "$(cut -d, -f1 "$folder/jwt_keys")" | write jwt_keys ;;
    ml_service_token | metrics_token | database_password | valkey_password | grafana_password) random | write "$name" ;;
    postgres_password)
      echo "Set it in the server first (docs/COMPOSE.md): the file alone changes nothing there" >&2
      exit 1
      ;;
    *)
      echo "There is no secret $name" >&2
      exit 1
      ;;
  esac
elif [ $# -gt 0 ]; then
  echo "Usage: $0 [renew NAME]" >&2
  exit 2
fi

[ -e "$folder/jwt_keys" ] || printf '%.8s:%s\n' "$(random)" "$(random)" | write jwt_keys
for name in ml_service_token metrics_token database_password postgres_password valkey_password grafana_password; do
  [ -e "$folder/$name" ] || random | write "$name"
done
# What holds another secret follows it.
printf 'postgresql://gateway:%s@postgres:5432/assistant\n' "$(cat "$folder/database_password")" | write database_url
printf 'redis://:%s@valkey:6379/0\n' "$(cat "$folder/valkey_password")" | write redis_url
printf 'requirepass %s\n' "$(cat "$folder/valkey_password")" | write valkey_config

[ -e .env ] || cp .env.example .env
