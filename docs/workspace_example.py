"""The workspace assistant in sixty lines: asks for two files to be moved, shows each step, and takes it back.

    python docs/workspace_example.py http://127.0.0.1:3100 TOKEN FOLDER

FOLDER is in one of the gateway's WORKSPACE_ROOTS. Needs `websockets` and `httpx`.
"""

import json
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from websockets.sync.client import connect

STATEMENT = "Move todo.txt and shopping.txt into the folder lists."
ENDS = ("conversationAnswer", "conversationError", "conversationCancelled")


def main(gateway: str, token: str, folder: Path) -> int:
    """0 when the files were moved and are back."""
    for name in ("todo.txt", "shopping.txt"):
        (folder / name).write_text(f"{name}\n")
    (folder / "lists").mkdir(exist_ok=True)
    conversation, start_dir = uuid4().hex, str(folder.resolve())
    headers = {"Authorization": f"Bearer {token}"}

    with connect(f"{gateway.replace('http', 'ws', 1)}/api/v1/ws/conversation/{conversation}", additional_headers=headers) as socket:
        socket.send(json.dumps({"task": "converse", "statement": STATEMENT, "startDir": start_dir}))
        message: dict[str, Any] = {}
        while message.get("type") not in ENDS:
            message = json.loads(socket.recv())
            show(message)

    print("moved" if not (folder / "todo.txt").exists() else "not moved")
    address = f"{gateway}/api/v1/conversation/{conversation}/undo"
    while (undone := httpx.post(address, params={"startDir": start_dir}, headers=headers)).status_code == 200:
        print(undone.json()["message"], undone.json()["files"])
    back = all((folder / name).read_text() == f"{name}\n" for name in ("todo.txt", "shopping.txt"))
    print("all as before" if back else "something is missing")
    return 0 if back else 1


def show(message: dict[str, Any]) -> None:
    """One line a step."""
    data = message["data"]
    entry = data.get("logEntry", {"entryType": message["type"], "content": data.get("error", data.get("message", ""))})
    if message["type"] != "conversationReady":
        print(f"{entry['entryType']:12} {entry.get('toolName', '')} {json.dumps(entry['content'])[:200]}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
