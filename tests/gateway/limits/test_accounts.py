"""What one account may have, and what it hears when it wants more."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from gateway.settings import Settings
from shared.settings import SettingsError, load
from tests.factories import Device, message, paired_device, registration, thread
from tests.fixtures.database import rows
from tests.fixtures.gateway import JWT_KEYS, GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import eventually
from tests.gateway.events.readers import listening
from tests.gateway.responses.situations import ask_later, drafted, read, received

MODEL = "smollm2-135m-instruct"
KIB = 1024


def refusal(answer: httpx.Response, status: int, setting: str) -> dict[str, Any]:
    """The body of a refusal that names the limit."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert setting in body["message"]
    return body


class TestDrafts:
    def test_so_many_are_written_at_once_and_the_next_is_told_to_wait(self, owner: Device, ml_service: ScriptedMlService) -> None:
        messages = [received(owner, f"Question {number}") for number in range(3)]
        with ml_service.paced(0.2), ThreadPoolExecutor(2) as pool:
            written = [pool.submit(drafted, owner, message_id) for message_id in messages[:2]]
            eventually(lambda: owner.client.get("/api/responses", params={"status": "generating"}).json()["total"] == 2)

            third = owner.client.post("/api/responses/generate", json={"messageId": messages[2]})
            as_a_stream = owner.client.post(
                "/api/responses/generate", json={"messageId": messages[2]}, headers={"Accept": "text/event-stream"}
            )

        for answer in (third, as_a_stream):
            refusal(answer, 429, "MAX_DRAFTS_PER_ACCOUNT")
            assert int(answer.headers["Retry-After"]) > 0
        assert [draft.result()["status"] for draft in written] == ["completed", "completed"]
        assert drafted(owner, messages[2])["status"] == "completed"

    def test_another_account_has_places_of_its_own(
        self, owner: Device, narrow_gateway: GatewayProcess, ml_service: ScriptedMlService
    ) -> None:
        other = paired_device(narrow_gateway.url)
        message_id = received(other)
        with ml_service.paced(0.05), ThreadPoolExecutor(2) as pool:
            for number in range(2):
                pool.submit(drafted, owner, received(owner, f"Question {number}"))
            eventually(lambda: owner.client.get("/api/responses", params={"status": "generating"}).json()["total"] == 2)

            assert drafted(other, message_id)["status"] == "completed"

    def test_so_many_wait_in_the_queue(self, owner: Device) -> None:
        """No worker runs here, so they wait for ever."""
        message_id = received(owner)
        accepted = [ask_later(owner, message_id) for _ in range(2)]

        third = ask_later(owner, message_id)
        owner.client.post(f"/api/responses/{accepted[0].json()['responseId']}/cancel")

        assert [answer.status_code for answer in accepted] == [202, 202]
        refusal(third, 429, "MAX_QUEUED_DRAFTS_PER_ACCOUNT")
        assert int(third.headers["Retry-After"]) > 0
        eventually(lambda: ask_later(owner, message_id).status_code == 202)


class TestDevices:
    def test_so_many_and_one_that_is_deactivated_makes_room(self, owner: Device) -> None:
        def register() -> httpx.Response:
            return owner.client.post("/api/devices/register", json=registration())

        second, third = register(), register()

        fourth = register()
        owner.client.post(f"/api/devices/{second.json()['deviceId']}/deactivate").raise_for_status()
        after = register()

        assert (second.status_code, third.status_code, after.status_code) == (201, 201, 201)
        assert "deactivate" in refusal(fourth, 429, "MAX_DEVICES_PER_ACCOUNT")["message"]

    def test_a_known_device_gets_a_new_code_however_many_there_are(self, owner: Device) -> None:
        known = registration()
        bodies = [known, registration()]
        for body in bodies:
            owner.client.post("/api/devices/register", json=body).raise_for_status()

        assert owner.client.post("/api/devices/register", json=known).status_code == 201

    def test_deactivated_ones_that_are_about_to_come_back_count(self, owner: Device) -> None:
        bodies = [registration() for _ in range(3)]
        for body in bodies:
            device_id = owner.client.post("/api/devices/register", json=body).raise_for_status().json()["deviceId"]
            owner.client.post(f"/api/devices/{device_id}/deactivate").raise_for_status()

        answers = [owner.client.post("/api/devices/register", json=body).status_code for body in bodies]

        assert answers == [201, 201, 429]

    def test_two_registrations_at_once_do_not_share_the_last_place(self, owner: Device) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: owner.client.post("/api/devices/register", json=registration()).status_code, range(8)))

        assert sorted(answers) == [201] * 2 + [429] * 6


class TestEventStreams:
    def test_so_many_are_open_and_one_that_closes_makes_room(self, owner: Device, narrow_gateway: GatewayProcess) -> None:
        with ExitStack() as stack:
            stack.enter_context(listening(narrow_gateway.url, owner.token))
            with listening(narrow_gateway.url, owner.token):
                with pytest.raises(InvalidStatus) as refused, listening(narrow_gateway.url, owner.token):
                    pass
                stream = owner.client.get("/api/events/stream")

            assert refused.value.response.status_code == 429
            assert "Retry-After" in refused.value.response.headers
            refusal(stream, 429, "MAX_EVENT_STREAMS_PER_ACCOUNT")
            eventually(lambda: opens(narrow_gateway, owner))


def opens(gateway: GatewayProcess, device: Device) -> bool:
    try:
        with listening(gateway.url, device.token):
            return True
    except InvalidStatus:
        return False


class TestStorage:
    def test_what_would_be_too_much_is_refused_whole(self, owner: Device) -> None:
        texts = ["x" * 90_000 for _ in range(12)]

        answer = owner.client.post("/api/sync/messages", json=thread([message(text=text) for text in texts]))

        assert "delete conversations" in refusal(answer, 413, "MAX_STORED_MIB_PER_ACCOUNT")["message"]
        assert owner.client.get("/api/conversations").json()["total"] == 0

    def test_deleting_a_conversation_makes_room(self, owner: Device) -> None:
        conversation_id = self._filled(owner)
        more = thread([message(text="y" * 90_000) for _ in range(3)], "another thread")
        assert owner.client.post("/api/sync/messages", json=more).status_code == 413

        owner.client.delete(f"/api/conversations/{conversation_id}").raise_for_status()

        assert owner.client.post("/api/sync/messages", json=more).status_code == 200

    def test_an_account_that_is_full_may_still_retract_and_send_again(self, owner: Device, database_url: str) -> None:
        sent = [message(text="x" * 90_000) for _ in range(11)]
        owner.client.post("/api/sync/messages", json=thread(sent)).raise_for_status()
        rows(database_url, "update conversation set stored_bytes = 1048576 where account_id = $1", owner.account_id)

        again = owner.client.post("/api/sync/messages", json=thread(sent))
        retracted = owner.client.post("/api/sync/messages", json=thread([{**sent[0], "retractedAt": "2024-01-01T13:00:00Z"}]))
        new = owner.client.post("/api/sync/messages", json=thread([message(text="short")]))

        assert (again.status_code, retracted.status_code, new.status_code) == (200, 200, 200)

    def test_edits_count(self, owner: Device) -> None:
        small = [message(text="x") for _ in range(12)]
        owner.client.post("/api/sync/messages", json=thread(small)).raise_for_status()

        grown = [{**each, "text": "x" * 90_000, "editedAt": "2024-01-01T13:00:00Z"} for each in small]

        refusal(owner.client.post("/api/sync/messages", json=thread(grown)), 413, "MAX_STORED_MIB_PER_ACCOUNT")

    def test_the_count_is_what_is_there(self, owner: Device, database_url: str) -> None:
        sent = [message(text="é" * 1000), message(text=None), message(text="gone soon")]
        owner.client.post("/api/sync/messages", json=thread(sent)).raise_for_status()
        changed = {**sent[2], "text": None, "retractedAt": "2024-01-01T13:00:00Z"}
        owner.client.post("/api/sync/messages", json=thread([changed])).raise_for_status()

        (row,) = rows(database_url, "select stored_bytes from conversation where account_id = $1", owner.account_id)

        # 500 for each of the thread, its one participant and three messages, and the text.
        assert row["stored_bytes"] == 5 * 500 + 2000

    def test_samples_count_as_they_come_and_go(self, owner: Device, database_url: str) -> None:
        draft = drafted(owner, received(owner))

        def counted() -> int:
            return int(rows(database_url, "select sample_bytes from account where id = $1", owner.account_id)[0][0])

        sample = owner.client.post(f"/api/responses/{draft['responseId']}/action", json={"action": "accept"}).json()["sampleId"]
        with_it = counted()

        owner.client.delete(f"/api/training/samples/{sample}").raise_for_status()

        assert (with_it > 500, counted()) == (True, 0)

    def test_a_full_account_imports_no_samples(self, owner: Device, database_url: str) -> None:
        owner.client.post(
            "/api/sync/messages",
            json=thread([message(), message(direction="outgoing", senderId="me", text="Sure", sentAt="2024-01-01T12:01:00Z")]),
        ).raise_for_status()
        rows(database_url, "update account set sample_bytes = 1048576 where id = $1", owner.account_id)

        refusal(owner.client.post("/api/training/samples/import", json={}), 413, "MAX_STORED_MIB_PER_ACCOUNT")

    def _filled(self, owner: Device) -> str:
        answer = owner.client.post("/api/sync/messages", json=thread([message(text="x" * 90_000) for _ in range(10)]))
        return str(answer.raise_for_status().json()["conversationId"])


def test_contacts_have_so_many_handles(owner: Device) -> None:
    def send(*addresses: str) -> httpx.Response:
        return owner.client.post("/api/sync/contacts", json={"contacts": [{"email": each, "displayName": "Ana"} for each in addresses]})

    # Each has an id besides.
    assert send("a@example.com", "b@example.com", "c@example.com").status_code == 200
    refusal(send("c@example.com", "d@example.com"), 413, "MAX_CONTACT_HANDLES_PER_ACCOUNT")
    assert send("c@example.com").status_code == 200


class TestTrainings:
    def test_so_many_adapters(self, owner: Device, database_url: str) -> None:
        for _ in range(2):
            store_adapter(database_url, owner)

        answer = owner.client.post("/api/training/start", json={"baseModel": MODEL})

        assert "delete one" in refusal(answer, 429, "MAX_ADAPTERS_PER_ACCOUNT")["message"]

    def test_so_many_seconds_a_day(self, owner: Device, database_url: str) -> None:
        job(database_url, owner, "completed", began="5 hours", lasted="61 minutes")

        answer = owner.client.post("/api/training/start", json={"baseModel": MODEL})

        refusal(answer, 429, "MAX_TRAINING_SECONDS_A_DAY_PER_ACCOUNT")
        assert 18 * 3600 < int(answer.headers["Retry-After"]) <= 19 * 3600

    def test_what_was_trained_a_day_ago_does_not_count(self, owner: Device, database_url: str) -> None:
        job(database_url, owner, "completed", began="26 hours", lasted="100 minutes")

        answer = owner.client.post("/api/training/start", json={"baseModel": MODEL})

        assert answer.status_code == 400  # for want of samples


def store_adapter(database_url: str, owner: Device) -> None:
    rows(
        database_url,
        "insert into adapter (id, account_id, base_model, sample_ids, eval_loss, baseline_eval_loss, created_at)"
        " values ($1, $2, 'model', '{}', 2, 2.5, now())",
        job(database_url, owner, "completed", began="40 hours", lasted="1 minute"),
        owner.account_id,
    )


def job(database_url: str, owner: Device, status: str, *, began: str, lasted: str) -> UUID:
    """A training of so long ago."""
    job_id = uuid4()
    rows(
        database_url,
        "insert into training_job (id, account_id, device_id, status, base_model, method, epochs, learning_rate, sample_ids, created_at,"
        " heard_at, started_at, completed_at) values ($1, $2, $3, $4, 'model', 'sft', 3, 0.0001, '{}', now(), now(),"
        " now() - $5::text::interval, now() - $5::text::interval + $6::text::interval)",
        job_id,
        owner.account_id,
        owner.device_id,
        status,
        began,
        lasted,
    )
    return job_id


@pytest.mark.parametrize("value", ["0", "none", "-1"])
def test_no_limit_is_lifted_by_a_word_that_could_mean_so(value: str) -> None:
    environment = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", "JWT_KEYS": JWT_KEYS, "MAX_DEVICES_PER_ACCOUNT": value}

    with pytest.raises(SettingsError, match="MAX_DEVICES_PER_ACCOUNT cannot be used"):
        load(Settings, environment)


def test_a_draft_that_was_cancelled_gives_its_place_back(owner: Device, ml_service: ScriptedMlService) -> None:
    messages = [received(owner, f"Question {number}") for number in range(2)]
    with ml_service.paced(60), ThreadPoolExecutor(2) as pool:
        for message_id in messages:
            pool.submit(owner.client.post, "/api/responses/generate", json={"messageId": message_id})

        def generating() -> list[Any]:
            return list(owner.client.get("/api/responses", params={"status": "generating"}).json()["responses"])

        eventually(lambda: len(generating()) == 2)
        for draft in generating():
            owner.client.post(f"/api/responses/{draft['responseId']}/cancel").raise_for_status()
            assert read(owner, draft["responseId"])["status"] == "cancelled"

    assert drafted(owner, messages[0])["status"] == "completed"
