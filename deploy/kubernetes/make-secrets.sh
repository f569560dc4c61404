#!/bin/sh
# Prints new values for the keys that secrets.example.env documents; nothing is written to a file.
set -eu

hex() { # so many random bytes
  head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

gateway_password=$(hex 24)
valkey_password=$(hex 24)
cat <<END
JWT_KEYS=$(hex 4):$(hex 32)
ML_SERVICE_TOKEN=$(hex 32)
METRICS_TOKEN=$(hex 32)
DATABASE_URL=postgresql://gateway:$gateway_password@postgres:5432/assistant
REDIS_URL=redis://:$valkey_password@valkey:6379/0
POSTGRES_PASSWORD=$(hex 24)
GATEWAY_DATABASE_PASSWORD=$gateway_password
VALKEY_PASSWORD=$valkey_password
END
