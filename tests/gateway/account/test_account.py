"""GET /api/account."""

from tests.factories import message, own_rows, paired_device, sync
from tests.fixtures.gateway import GatewayProcess


def test_says_whose_it_is_and_how_much_is_in_it(gateway: GatewayProcess, database_url: str) -> None:
    device = paired_device(gateway.url)
    paired_device(gateway.url, owner=device)
    own_rows(database_url, device)
    sync(device, [message(), message()])
    device.client.post("/api/sync/contacts", json={"contacts": [{"email": "sam@example.com"}]}).raise_for_status()

    account = device.client.get("/api/account").json()

    assert account.pop("createdAt").endswith("Z")
    assert account == {
        "id": str(device.account_id), "devices": 2, "contacts": 1, "conversations": 2, "messages": 2, "responses": 1, "samples": 1,
        "trainingJobs": 1, "adapters": 1,
    }  # fmt: skip


def test_its_id_deletes_it(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    account_id = device.client.get("/api/account").json()["id"]

    assert device.client.request("DELETE", "/api/account", json={"confirm": account_id}).status_code == 204
    assert device.client.get("/api/account").status_code == 401


def test_a_stranger_sees_an_account_of_their_own(gateway: GatewayProcess, database_url: str) -> None:
    device, stranger = paired_device(gateway.url), paired_device(gateway.url)
    own_rows(database_url, device)

    account = stranger.client.get("/api/account").json()

    assert account["id"] == str(stranger.account_id)
    assert {account[kind] for kind in ("conversations", "responses", "samples", "trainingJobs", "adapters")} == {0}
