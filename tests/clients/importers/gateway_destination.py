"""The gateway as an import's destination, in a few lines of httpx."""

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
from assistant_client.models import ContactCard, MessageBatch, SyncedContacts, SyncedMessages, SyncState

from tests.factories import NO_TLS, Device
from tests.fixtures.waiting import PATIENCE_SECONDS


class GatewayDestination:
    """Sends as a device, and looks at what is stored."""

    def __init__(self, device: Device) -> None:
        self._client = httpx.Client(
            base_url=device.client.base_url,
            headers={"Authorization": f"Bearer {device.token}", "Content-Type": "application/json"},
            timeout=PATIENCE_SECONDS,
            verify=NO_TLS,
        )
        self.batches: list[int] = []
        """How many messages each batch had."""

    def __enter__(self) -> "GatewayDestination":
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def sync_messages(self, batch: MessageBatch) -> SyncedMessages:
        self.batches.append(len(batch.messages))
        return msgspec.json.decode(self._post("/api/sync/messages", batch), type=SyncedMessages)

    def sync_contacts(self, cards: Sequence[ContactCard], default_region: str | None = None) -> SyncedContacts:
        body = {"contacts": cards} | ({"defaultRegion": default_region} if default_region else {})
        return msgspec.json.decode(self._post("/api/sync/contacts", body), type=SyncedContacts)

    def sync_state(self) -> SyncState:
        return msgspec.json.decode(self._get("/api/sync/state").content, type=SyncState)

    def threads(self) -> list[dict[str, Any]]:
        """The conversations as they are listed."""
        threads: list[dict[str, Any]] = self._get("/api/conversations?pageSize=100").json()["conversations"]
        return threads

    def thread(self, imessage_id: str) -> dict[str, Any]:
        return next(each for each in self.threads() if imessage_id in each["imessageIds"])

    def messages(self, imessage_id: str) -> list[dict[str, Any]]:
        """A thread's messages as they are listed, oldest first."""
        page = self._get(f"/api/conversations/{self.thread(imessage_id)['id']}/messages?pageSize=200").json()
        return list(reversed(page["messages"]))

    def texts(self, imessage_id: str) -> list[str | None]:
        return [each["text"] for each in self.messages(imessage_id)]

    def _post(self, path: str, body: object) -> bytes:
        answer = self._client.post(path, content=msgspec.json.encode(body))
        assert answer.is_success, answer.text
        return answer.content

    def _get(self, path: str) -> httpx.Response:
        return self._client.get(path).raise_for_status()
