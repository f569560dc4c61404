"""What a client app does all day. A device does one thing after the other, as a person does."""

import random
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote
from uuid import uuid4

from tests.load.client import Client

_DRAFT = "/api/responses/generate"
_DRAFT_TOKENS = 32
_REMEMBERED = 50
"""So many of the last messages of an account may be answered."""
_TEXTS = (
    "Are we still on for Saturday?",
    "The train is late again, sorry",
    "Could you bring the salad, and something to drink?",
    "Happy birthday! When do we celebrate?",
    "What do you think of the second flat?",
    "Grandma asks whether you come for dinner on Sunday",
)
_WORDS = ("saturday", "train late", "salad", '"something to drink"', "birthday", "flat -train", "dinner or lunch")


def sync(device: Client) -> None:
    account = device.account
    now = datetime.now(UTC).isoformat()
    messages = [
        {
            "imessageGuid": str(uuid4()),
            "senderId": "me" if outgoing else "sam@example.com",
            "direction": "outgoing" if outgoing else "incoming",
            "messageType": "text",
            "text": f"{random.choice(_TEXTS)} ({uuid4().hex[:6]})",
            "sentAt": now,
        }
        for outgoing in random.choices((True, False), k=random.randint(1, 5))
    ]
    thread = {"conversationImessageId": random.choice(account.threads), "isGroup": False, "messages": messages}
    if found := device.call("POST", "/api/sync/messages", "sync", thread):
        account.conversations.add(found["conversationId"])
        incoming = {message["imessageGuid"] for message in messages if message["direction"] == "incoming"}
        account.answerable += [message["id"] for message in found["messages"] if message["imessageGuid"] in incoming]
        del account.answerable[:-_REMEMBERED]


def list_conversations(device: Client) -> None:
    device.call("GET", "/api/conversations", "conversations")


def read_messages(device: Client) -> None:
    if device.account.conversations:
        conversation = random.choice(sorted(device.account.conversations))
        device.call("GET", f"/api/conversations/{conversation}/messages", "messages of a conversation")


def search(device: Client) -> None:
    device.call("GET", f"/api/messages/search?q={quote(random.choice(_WORDS))}", "search")


def list_drafts(device: Client) -> None:
    device.call("GET", "/api/responses", "drafts")


def ask_where_threads_stand(device: Client) -> None:
    device.call("GET", "/api/sync/state", "sync state")


def wait_for_draft(device: Client) -> None:
    if body := _answering(device):
        _judge_later(device, device.call("POST", _DRAFT, "draft, waited for", body, Cache_Control="no-cache"))


def stream_draft(device: Client) -> None:
    if body := _answering(device):
        _judge_later(device, device.streamed(_DRAFT, "draft, streamed", body))


def queue_draft(device: Client) -> None:
    body = _answering(device)
    if body and (found := device.call("POST", _DRAFT, "draft, queued", body, Prefer="respond-async", Cache_Control="no-cache")):
        device.account.accepted[found["responseId"]] = found["status"]


def judge_draft(device: Client) -> None:
    if device.account.to_judge:
        draft = device.account.to_judge.pop()
        actions = ({"action": "accept"}, {"action": "edit", "editedResponse": "sure, see you!"}, {"action": "reject"})
        device.call("POST", f"/api/responses/{draft}/action", "feedback", random.choice(actions))


def refresh_token(device: Client) -> None:
    body = {"refreshToken": device.paired.refresh_token}
    if found := device.call("POST", "/api/devices/refresh", "token refreshed", body):
        device.paired.token, device.paired.refresh_token = found["token"], found["refreshToken"]


def _answering(device: Client) -> dict[str, Any] | None:
    if not device.account.answerable:
        return None
    return {"messageId": random.choice(device.account.answerable), "context": {"maxTokens": _DRAFT_TOKENS}}


def _judge_later(device: Client, draft: Any) -> None:
    if draft is not None:
        device.account.to_judge.append(draft["responseId"])


class Device(Client):
    """Does each of these so often, beside the others."""

    tasks: ClassVar = {
        sync: 25,
        list_conversations: 20,
        read_messages: 20,
        search: 10,
        list_drafts: 5,
        ask_where_threads_stand: 5,
        wait_for_draft: 5,
        stream_draft: 7,
        queue_draft: 7,
        judge_draft: 8,
        refresh_token: 1,
    }
