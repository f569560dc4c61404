#!/bin/sh
# Sends one message that somebody wrote, and prints a reply to it: what a Shortcut on a phone does with two "Get contents of URL".
#
#   TOKEN=… docs/examples/draft.sh sam@example.com "Are we still on for Saturday?"
#
# Without TOKEN it makes an account of its own and says its token, for the next time. GATEWAY is http://127.0.0.1:3100 if you do not say.
set -eu
gateway=${GATEWAY:-http://127.0.0.1:3100}
sender=${1:?who wrote it?} text=${2:?what does it say?}

post() { # PATH BODY
  answer=$(curl -sS --fail-with-body -H "Content-Type: application/json" ${TOKEN:+-H "Authorization: Bearer $TOKEN"} "$gateway$1" -d "$2") || {
    printf '%s\n' "$answer" >&2
    return 1
  }
  printf '%s' "$answer"
}
field() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }
quoted() { python3 -c "import json, sys; print(json.dumps(sys.argv[1]))" "$1"; }

if [ -z "${TOKEN:-}" ]; then
  registered=$(post /api/devices/register '{"name": "Shortcut", "hardwareId": "shortcut", "platform": "ios", "osVersion": "18"}')
  device=$(printf %s "$registered" | field '["deviceId"]') code=$(printf %s "$registered" | field '["code"]')
  verified=$(post /api/devices/verify "{\"deviceId\": \"$device\", \"code\": \"$code\"}")
  TOKEN=$(printf %s "$verified" | field '["token"]')
  echo "TOKEN=$TOKEN" >&2
fi

synced=$(post /api/sync/messages "{
  \"conversationImessageId\": $(quoted "$sender"), \"participantIds\": [$(quoted "$sender")],
  \"messages\": [{
    \"imessageGuid\": \"$(date +%s)-$$\", \"senderId\": $(quoted "$sender"), \"direction\": \"incoming\", \"messageType\": \"text\",
    \"text\": $(quoted "$text"), \"sentAt\": \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"
  }]
}")
message=$(printf %s "$synced" | field '["messages"][0]["id"]')
draft=$(post /api/responses/generate "{\"messageId\": \"$message\"}")
printf %s "$draft" | field '["response"]'
