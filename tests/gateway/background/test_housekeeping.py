from pathlib import Path
from uuid import uuid4

from tests.factories import calls_from, new_address, paired_device, registration
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import eventually


def test_what_has_run_out_is_forgotten_and_nothing_else(
    run_folder: Path, database_url: str, redis_url: str, gateway: GatewayProcess
) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    kept, stale = paired_device(gateway.url), paired_device(gateway.url)
    for device in (kept, stale):
        device.client.post("/api/devices/register", json=registration(), headers=key).raise_for_status()
    nobody = calls_from(gateway.url, new_address()).post("/api/devices/register", json=registration()).json()["deviceId"]
    waiting = calls_from(gateway.url, new_address()).post("/api/devices/register", json=registration()).json()["deviceId"]
    rows(database_url, "update idempotent_answer set created_at = now() - interval '25 hours' where owner = $1", str(stale.account_id))
    rows(database_url, "update refresh_token set expires_at = now() - interval '1 hour' where device_id = $1", stale.device_id)
    rows(
        database_url,
        "update account set created_at = now() - interval '2 days' where id = $1 or id = $2",
        kept.account_id,
        stale.account_id,
    )
    old_account = "update account set created_at = now() - interval '2 days' where id = (select account_id from device where id = $1)"
    rows(database_url, old_account, nobody)
    rows(database_url, old_account, waiting)
    rows(database_url, "update pairing_code set expires_at = now() - interval '2 days' where device_id = $1", nobody)

    another = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url="http://127.0.0.1:1")
    another.start()
    try:
        eventually(lambda: not rows(database_url, "select from device where id = $1", nobody))
    finally:
        another.stop()

    def left(query: str, value: object) -> int:
        return len(rows(database_url, query, value))

    assert left("select from idempotent_answer where owner = $1", str(stale.account_id)) == 0
    assert left("select from idempotent_answer where owner = $1", str(kept.account_id)) == 1
    assert left("select from refresh_token where device_id = $1", stale.device_id) == 0
    assert left("select from refresh_token where device_id = $1", kept.device_id) == 1
    assert left("select from device where id = $1", waiting) == 1
    assert left("select from account where id = $1", stale.account_id) == 1
