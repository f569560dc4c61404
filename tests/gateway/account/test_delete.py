import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.factories import Device, calls_from, new_address, own_rows, paired_device, registration
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import eventually


def delete(device: Device, confirm: object) -> httpx.Response:
    return device.client.request("DELETE", "/api/account", json={"confirm": confirm})


def tables_with_rows_of(database_url: str, device: Device) -> set[str]:
    """Every table that still has a row with the account's id in any column."""
    columns = rows(
        database_url,
        "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        " and (column_name in ('account_id', 'owner') or (table_name, column_name) = ('account', 'id'))",
    )
    return {
        column["table_name"]
        for column in columns
        if rows(database_url, f"select from {column['table_name']} where {column['column_name']}::text = $1", str(device.account_id))
    }


def test_everything_of_the_account_goes_and_nothing_else(gateway: GatewayProcess, database_url: str) -> None:
    device, bystander = paired_device(gateway.url), paired_device(gateway.url)
    for account in (device, bystander):
        own_rows(database_url, account)
        account.client.post("/api/devices/register", json=registration(), headers={"Idempotency-Key": str(uuid4())}).raise_for_status()
    there_was = tables_with_rows_of(database_url, device)
    assert there_was >= {
        "account", "device", "conversation", "message", "response", "sample", "training_job", "adapter", "idempotent_answer",
    }  # fmt: skip

    answer = delete(device, str(device.account_id))

    assert (answer.status_code, answer.content) == (204, b"")
    # What may be left is the order to delete the adapters in the ML service, which this gateway cannot reach, but another may.
    assert tables_with_rows_of(database_url, device) <= {"deletion_order"}
    assert tables_with_rows_of(database_url, bystander) == there_was


def test_its_tokens_are_void_at_once(gateway: GatewayProcess, second_gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    delete(device, str(device.account_id)).raise_for_status()
    elsewhere = calls_from(second_gateway.url, new_address(), device.token)

    assert elsewhere.get("/api/devices").status_code == 401
    assert elsewhere.post("/api/devices/refresh", json={"refreshToken": device.refresh_token}).status_code == 401


@pytest.mark.parametrize("confirm", ["00000000-0000-0000-0000-000000000000", "yes", None])
def test_a_wrong_confirmation_is_400_and_deletes_nothing(gateway: GatewayProcess, confirm: str | None) -> None:
    device = paired_device(gateway.url)

    answer = delete(device, confirm)

    assert answer.status_code == 400
    assert [problem["field"] for problem in answer.json()["details"]] == ["confirm"]
    assert device.client.get("/api/devices").status_code == 200


def test_without_a_body_it_is_400(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)

    assert device.client.delete("/api/account").status_code == 400
    assert device.client.get("/api/devices").status_code == 200


@pytest.fixture
def ml_calls() -> Iterator[tuple[str, list[str]]]:
    """An ML service that only notes what it is asked to drop: its URL and the list of calls."""
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/forget" and asked["extent"] == "everything":
                calls.append(asked["scope"])
            body = b'{"complete": true}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()
        thread.join()


def test_the_ml_service_is_told_to_forget_it(
    run_folder: Path, own_database_url: str, redis_url: str, ml_calls: tuple[str, list[str]]
) -> None:
    url, calls = ml_calls
    gateway = GatewayProcess(run_folder, database_url=own_database_url, redis_url=redis_url, ml_service_url=url)
    gateway.start()
    try:
        device = paired_device(gateway.url)
        delete(device, str(device.account_id)).raise_for_status()
        eventually(lambda: str(device.account_id) in calls)
    finally:
        gateway.stop()


def test_requests_that_run_meanwhile_are_refused_plainly(gateway: GatewayProcess, database_url: str) -> None:
    message = {"senderId": "a@b.c", "direction": "incoming", "messageType": "text", "text": "Hello", "sentAt": "2024-01-01T12:00:00Z"}
    statuses: set[int] = set()
    for _ in range(2):
        device = paired_device(gateway.url)

        def sync(worker: int, device: Device = device) -> None:
            for batch in range(8):
                messages = [{**message, "imessageGuid": f"{worker}-{batch}-{number}"} for number in range(100)]
                body = {"conversationImessageId": "thread", "isGroup": False, "participantIds": ["a@b.c"], "messages": messages}
                statuses.add(device.client.post("/api/sync/messages", json=body).status_code)

        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(sync, worker) for worker in range(4)]
            time.sleep(0.1)
            deleted = delete(device, str(device.account_id))
        for future in running:
            future.result()

        assert deleted.status_code in (204, 503)
        assert deleted.status_code == 503 or tables_with_rows_of(database_url, device) <= {"deletion_order"}
    assert statuses <= {200, 401, 409, 503}
