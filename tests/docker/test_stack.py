"""The compose stack on a real engine, with the images that this project's files make: `make test-docker`.

One story, in the order of the tests: it starts, is used, loses each of its parts in turn, and is taken down. The figures are printed.
"""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.docker.stack import ComposeStack, eventually_slowly, missing, pair
from tests.fixtures.waiting import ENGINE_SECONDS, eventually

WHY_NOT = missing()
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""), pytest.mark.timeout(3600)]
LONG_RUNNING = ("caddy", "gateway", "ml", "generation-worker", "training-worker", "valkey", "postgres")


def say(what: str) -> None:
    print(f"\n    {what}", end="", flush=True)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    stack = ComposeStack(tmp_path_factory.mktemp("compose"))
    began = time.monotonic()
    try:
        stack.up()
        say(f"up after {time.monotonic() - began:.0f} s")
        stack.wait_until_settled()
        say(f"everything healthy after {time.monotonic() - began:.0f} s")
        yield stack
    except BaseException:
        say(stack.logs()[-20_000:])
        raise
    finally:
        stack.down()


@pytest.fixture(scope="module")
def owner(stack: ComposeStack) -> Iterator[httpx.Client]:
    """A device of the first account."""
    with stack.client() as client:
        pair(stack, client)
        yield client


@pytest.fixture(scope="module")
def message_id(owner: httpx.Client) -> str:
    """A message that waits for a reply."""
    thread = json.loads((files("gateway.console") / "static" / "example" / "sample_thread.json").read_text())
    synced = owner.post("/api/sync/messages", json=thread)
    assert synced.status_code == 200, synced.text
    return str(synced.json()["messages"][-1]["id"])


def test_two_gateways_run(stack: ComposeStack) -> None:
    assert len(stack.containers("gateway")) == 2


def test_strangers_make_no_account(stack: ComposeStack) -> None:
    device = {"name": "Stranger", "hardwareId": str(uuid4()), "platform": "linux", "osVersion": "1"}

    with stack.client() as client:
        assert client.post("/api/devices/register", json=device).status_code == 403


def test_who_does_not_know_the_local_authority_does_not_believe_it(stack: ComposeStack) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(stack.url)


def test_a_draft_is_written_for_who_waits(owner: httpx.Client, message_id: str) -> None:
    began = time.monotonic()

    drafted = owner.post("/api/responses/generate", json={"messageId": message_id, "context": {"maxTokens": 24}})

    assert drafted.status_code == 200, drafted.text
    assert drafted.json()["response"]
    say(f"a draft of 24 tokens over HTTPS in {time.monotonic() - began:.1f} s")


def test_a_draft_is_streamed_through_caddy(owner: httpx.Client, message_id: str) -> None:
    body = {"messageId": message_id, "context": {"maxTokens": 24}}
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}

    with owner.stream("POST", "/api/responses/generate", json=body, headers=headers) as answer:
        came = [(time.monotonic(), line) for line in answer.iter_lines() if line.startswith("event:")]

    assert came[-1][1] == "event: completed"
    assert len(came) > 2
    assert came[-1][0] - came[0][0] > 0.1  # piece by piece, and not all in the end


def test_wrong_codes_are_counted_by_the_address_of_the_client_and_not_by_caddy_s(stack: ComposeStack) -> None:
    with stack.client() as client:
        assert client.post("/api/devices/verify", json={"deviceId": str(uuid4()), "code": "000000"}).status_code == 401
    script = "REDISCLI_AUTH=$(cat /run/secrets/valkey_password) valkey-cli --scan --pattern '{pairing}*'"

    keys = stack.run_in("valkey", "sh", "-c", script).stdout.split()

    assert keys
    assert not [key for key in keys if stack.edge_prefix in key]


@pytest.mark.parametrize("service", ["gateway", "ml", "generation-worker", "training-worker", "caddy"])
def test_a_container_is_an_ordinary_user_s_and_cannot_be_changed(stack: ComposeStack, service: str) -> None:
    assert stack.run_in(service, "id", "-u").stdout.strip() == "10001"
    assert stack.run_in(service, "touch", "/opt/changed").returncode != 0
    assert stack.run_in(service, "touch", "/tmp/written").returncode == 0


@pytest.mark.parametrize(
    ("service", "host", "port", "reached"),
    [
        ("generation-worker", "ml", 8100, True),
        ("generation-worker", "postgres", 5432, False),
        ("ml", "postgres", 5432, False),
        ("gateway", "ml", 8100, True),
    ],
)
def test_a_container_reaches_what_it_talks_to(stack: ComposeStack, service: str, host: str, port: int, reached: bool) -> None:
    program = f"import socket; socket.create_connection(({host!r}, {port}), timeout=3)"

    assert (stack.run_in(service, "python", "-c", program).returncode == 0) is reached


@pytest.mark.parametrize("service", ["gateway", "ml", "generation-worker", "training-worker"])
def test_no_environment_has_a_secret(stack: ComposeStack, service: str) -> None:
    password = stack.run_in(service, "cat", "/run/secrets/redis_url").stdout.removeprefix("redis://:").partition("@")[0]

    assert len(password) == 64
    for process in ("1", "self"):
        assert password not in stack.run_in(service, "cat", f"/proc/{process}/environ", f"/proc/{process}/cmdline").stdout


def test_an_adapter_is_trained_and_served(owner: httpx.Client, message_id: str) -> None:
    (person, *_) = json.loads((files("gateway.console") / "static" / "example" / "sample_history.json").read_text())
    asked = datetime(2026, 1, 5, 9, tzinfo=UTC)
    messages = [
        {
            "imessageGuid": f"history-{number}-{sender}",
            "senderId": sender,
            "direction": "outgoing" if sender == "me" else "incoming",
            "messageType": "text",
            "text": text,
            "sentAt": (asked + timedelta(days=number, minutes=minutes)).isoformat(),
        }
        for number, exchange in enumerate(person["exchanges"])
        for sender, text, minutes in ((person["handle"], exchange[0], 0), ("me", exchange[1], 4))
    ]
    thread = {"conversationImessageId": "history", "isGroup": False, "participantIds": [person["handle"]], "messages": messages}
    owner.post("/api/sync/messages", json=thread).raise_for_status()
    owner.post("/api/training/samples/import", json={}).raise_for_status()
    began = time.monotonic()

    started = owner.post("/api/training/start", json={"baseModel": "smollm2-135m-instruct", "epochs": 2, "learningRate": 5e-4})

    assert started.is_success, started.text

    def job() -> dict[str, Any]:
        return dict(owner.get(f"/api/training/jobs/{started.json()['job']['id']}").raise_for_status().json()["job"])

    eventually_slowly(lambda: job()["status"] in ("completed", "failed", "cancelled"), ENGINE_SECONDS)
    assert job()["status"] == "completed", job()["error"]
    say(f"trained on {len(person['exchanges'])} replies in {time.monotonic() - began:.0f} s")
    assert job()["activated"]
    drafted = owner.post("/api/responses/generate", json={"messageId": message_id, "context": {"maxTokens": 8}}).raise_for_status()
    assert drafted.json()["modelVersion"] != "smollm2-135m-instruct"


class Asking(threading.Thread):
    """An app that asks for queued drafts all the time, and notes which were accepted."""

    def __init__(self, client: httpx.Client, message_id: str) -> None:
        super().__init__(daemon=True)
        self.accepted: list[str] = []
        self.refused = 0
        self._client = client
        self._body = {"messageId": message_id, "context": {"maxTokens": 8}}
        self._done = threading.Event()

    def run(self) -> None:
        headers = {"Prefer": "respond-async", "Cache-Control": "no-cache"}
        while not self._done.wait(0.5):
            try:
                answer = self._client.post("/api/responses/generate", json=self._body, headers=headers, timeout=30)
            except httpx.HTTPError:
                self.refused += 1
                continue
            if answer.status_code == 202:
                self.accepted.append(answer.json()["responseId"])
            else:
                self.refused += 1

    def end(self) -> None:
        self._done.set()
        self.join()


def test_each_part_heals_and_no_accepted_draft_is_lost(stack: ComposeStack, owner: httpx.Client, message_id: str) -> None:
    asking = Asking(owner, message_id)
    asking.start()
    for service in LONG_RUNNING:
        accepted = len(asking.accepted)
        say(f"{service} healthy again after {stack.kill(service):.1f} s")
        eventually(lambda before=accepted: len(asking.accepted) > before, ENGINE_SECONDS)  # type: ignore[misc]
    asking.end()
    stack.wait_until_settled()

    def open_drafts() -> list[str]:
        return [each for each in asking.accepted if _draft(owner, each)["status"] in ("queued", "generating")]

    began = time.monotonic()
    eventually_slowly(lambda: not open_drafts(), ENGINE_SECONDS)
    ended = [_draft(owner, each)["status"] for each in asking.accepted]
    say(f"{len(ended)} drafts accepted, {asking.refused} requests refused; all had ended after {time.monotonic() - began:.0f} s")
    assert set(ended) == {"completed"}


class Person(threading.Thread):
    """Waits for one draft after the other, and asks again with the same key until it comes."""

    def __init__(self, client: httpx.Client, message_id: str) -> None:
        super().__init__(daemon=True)
        self.drafts = 0
        self.again = 0
        """Requests that had to be repeated."""
        self.wrong: list[str] = []
        self._client = client
        self._body = {"messageId": message_id, "context": {"maxTokens": 8}}
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            self._draft({"Cache-Control": "no-cache", "Idempotency-Key": str(uuid4())})

    def _draft(self, headers: dict[str, str]) -> None:
        deadline = time.monotonic() + ENGINE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self._client.post("/api/responses/generate", json=self._body, headers=headers)
            except httpx.TransportError:
                self.again += 1
                continue
            if answer.status_code == 200:
                self.drafts += 1
                return
            if answer.status_code not in (409, 502, 503):  # 409: the gateway that died holds the key for a moment
                self.wrong.append(f"{answer.status_code} {answer.text}")
                return
            self.again += 1
            time.sleep(1)
        self.wrong.append("never came")

    def end(self) -> None:
        self._done.set()
        self.join()


def test_one_of_three_gateways_and_two_replicas_is_killed_each_minute(stack: ComposeStack, owner: httpx.Client, message_id: str) -> None:
    stack.scale(gateways=3, replicas=2)
    people = [Person(owner, message_id) for _ in range(3)]
    for person in people:
        person.start()
    try:
        for service, number in (("ml", 0), ("gateway", 0), ("ml", 1), ("gateway", 1), ("gateway", 2)):
            killed = time.monotonic()
            say(f"{service} {number + 1} healthy again after {stack.kill(service, number):.1f} s")
            time.sleep(max(0, 60 - (time.monotonic() - killed)))
    finally:
        for person in people:
            person.end()

    say(f"{sum(person.drafts for person in people)} drafts came, {sum(person.again for person in people)} requests were repeated")
    assert [person.wrong for person in people] == [[]] * 3
    assert all(person.drafts > 5 for person in people)


def _draft(client: httpx.Client, response_id: str) -> dict[str, Any]:
    return dict(client.get(f"/api/responses/{response_id}").raise_for_status().json())


def test_everything_goes_on_with_renewed_secrets(stack: ComposeStack, owner: httpx.Client, message_id: str) -> None:
    """Also after everything was stopped. The device stays paired: the former signing key still verifies."""
    before = owner.get("/api/conversations").json()
    stack.compose("down", "--timeout", "60")
    for name in ("jwt_keys", "ml_service_token", "database_password", "valkey_password"):
        stack.renew(name)
    began = time.monotonic()

    stack.up()
    stack.wait_until_settled()

    say(f"everything healthy after another {time.monotonic() - began:.0f} s")
    with stack.client(headers=owner.headers) as client:
        assert client.get("/api/conversations").json() == before
        headers = {"Cache-Control": "no-cache"}
        body = {"messageId": message_id, "context": {"maxTokens": 8}}
        assert client.post("/api/responses/generate", json=body, headers=headers).status_code == 200


def test_a_backup_comes_back_in_a_fresh_stack(stack: ComposeStack, owner: httpx.Client, tmp_path: Path) -> None:
    """The last one: it takes everything away. The signing keys stay, so the device is still paired."""
    before = owner.get("/api/conversations").json()
    adapters = owner.get("/api/training/adapters").json()["adapters"]
    file = tmp_path / "assistant.tar"
    began = time.monotonic()
    stack.back_up(file)
    say(f"a backup of {file.stat().st_size / 2**20:.1f} MiB after {time.monotonic() - began:.0f} s")
    stack.down()

    stack.compose("up", "--detach", "--no-build", "database-role")
    eventually_slowly(lambda: all(each.settled for each in stack.containers("database-role")), ENGINE_SECONDS)
    stack.restore(file)
    stack.up()
    stack.wait_until_settled()

    with stack.client(headers=owner.headers) as client:
        assert client.get("/api/conversations").json() == before
        again = client.get("/api/training/adapters").json()["adapters"]
        assert [(each["id"], each["active"], each["status"]) for each in again] == [
            (each["id"], each["active"], "ready") for each in adapters
        ]
        assert adapters
