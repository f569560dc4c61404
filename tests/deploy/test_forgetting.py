"""What was deleted is nowhere any more: in no row, no key of Redis and no file but PostgreSQL's own (docs/API.md says what those keep)."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from deploy.local.servers import EmbeddedPostgres, EmbeddedValkey
from tests.end_to_end.client import synced_thread
from tests.factories import Device, paired_device
from tests.fixtures.local_run import LocalRun
from tests.fixtures.redis_client import Redis
from tests.fixtures.waiting import START_SECONDS, eventually


def rows_with(data: Path, word: str) -> list[str]:
    """Tables in which a word stands."""

    async def search() -> list[str]:
        connection = await asyncpg.connect(EmbeddedPostgres(data / "postgres", data / "log").url)
        try:
            tables = [row["tablename"] for row in await connection.fetch("select tablename from pg_tables where schemaname = 'public'")]
            question = "select exists (select from \"{}\" as row where row::text like '%' || $1 || '%')"
            return [table for table in tables if await connection.fetchval(question.format(table), word)]
        finally:
            await connection.close()

    return asyncio.run(search())


def value_of(redis: Any, key: bytes) -> Any:
    reads: dict[bytes, Callable[[bytes], Any]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"zset": lambda name: redis.zrange(name, 0, -1),
        b"list": lambda name: redis.lrange(name, 0, -1),
        b"stream": redis.xrange,
        b"none": lambda _: None,  # it has just run out
    }
    return reads[redis.type(key)](key)


def keys_with(data: Path, word: str) -> list[bytes]:
    """Keys of Redis in which a word stands."""
    with Redis.from_url(EmbeddedValkey(data / "valkey", data / "log").url) as redis:
        return [key for key in redis.scan_iter() if word in str(key) or word in str(value_of(redis, key))]


def files_with(data: Path, word: str) -> list[Path]:
    """Files in which a word stands."""
    found = []
    for path in data.rglob("*"):
        if path.is_file() and not path.is_relative_to(data / "postgres") and not path.is_relative_to(data / "models"):
            try:
                if word.encode() in path.read_bytes():
                    found.append(path)
            except FileNotFoundError:  # it has just been replaced
                continue
    return found


def found(data: Path, word: str) -> list[Any]:
    return [*rows_with(data, word), *keys_with(data, word), *files_with(data, word)]


def spoken_of(device: Device, word: str) -> str:
    """A thread in which a word is said, with a draft that was waited for, one that was queued, and a sample; its last message's id."""
    message_id = synced_thread(device, f"Do you remember {word}?", "I do", f"And shall we talk about {word} on Friday?")
    waited = device.client.post("/api/responses/generate", json={"messageId": message_id}).json()
    edit = {"action": "edit", "editedResponse": "Not on a Friday"}
    assert device.client.post(f"/api/responses/{waited['responseId']}/action", json=edit).status_code == 200
    headers = {"Prefer": "respond-async", "Cache-Control": "no-cache"}
    queued = device.client.post("/api/responses/generate", json={"messageId": message_id}, headers=headers).json()["responseId"]
    eventually(lambda: device.client.get(f"/api/responses/{queued}").json()["status"] == "completed")
    assert device.client.post("/api/training/samples/import", json={}).json()["imported"] == 1
    return message_id


def delete_conversation(device: Device, _: str) -> None:
    (conversation,) = device.client.get("/api/conversations").json()["conversations"]
    assert device.client.delete(f"/api/conversations/{conversation['id']}").status_code == 204


def retract_all(device: Device, _: str) -> None:
    (conversation,) = device.client.get("/api/conversations").json()["conversations"]
    (thread,) = device.client.get("/api/sync/state").json()["conversations"]
    messages = device.client.get(f"/api/conversations/{conversation['id']}/messages").json()["messages"]
    retracted = [
        {
            **{name: message[name] for name in ("imessageGuid", "senderId", "direction", "messageType", "sentAt")},
            "retractedAt": "2026-03-07T12:00:00Z",
        }
        for message in messages
    ]
    body = {"conversationImessageId": thread["conversationImessageId"], "messages": retracted}
    answer = device.client.post("/api/sync/messages", json=body)
    assert answer.json()["updated"] == len(messages), answer.text


def delete_account(device: Device, _: str) -> None:
    answer = device.client.request("DELETE", "/api/account", json={"confirm": str(device.account_id)})
    assert answer.status_code == 204


@pytest.mark.parametrize("delete", [delete_conversation, retract_all, delete_account])
def test_what_was_deleted_is_found_nowhere(shared_run: LocalRun, delete: Any) -> None:
    data = Path(shared_run.environment["DATA_DIR"])
    word = f"zebra{uuid4().hex}"
    device = paired_device(shared_run.url)
    message_id = spoken_of(device, word)
    assert rows_with(data, word)
    assert files_with(data, word)

    delete(device, message_id)

    assert rows_with(data, word) == []
    eventually(lambda: not found(data, word), START_SECONDS)
