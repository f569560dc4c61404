"""What is backed up comes back, and is used."""

import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from deploy.local.servers import EmbeddedPostgres, EmbeddedValkey
from tests.factories import Device, calls_from, device_with, message, new_address, own_rows, paired_device, sync
from tests.fixtures.backups import Place, manifest_of, members_of, publish
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import START_SECONDS, eventually
from tests.gateway.backup.conftest import WORD, System

PAGES = (
    "/api/devices", "/api/conversations", f"/api/messages/search?q={WORD}", "/api/training/samples", "/api/training/jobs", "/api/responses",
)  # fmt: skip


def pages(device: Device) -> dict[str, object]:
    """What an account's lists say; when a device was last seen is another matter."""
    answers = {page: device.client.get(page) for page in PAGES}
    assert all(answer.status_code == 200 for answer in answers.values()), answers
    assert WORD in answers[f"/api/messages/search?q={WORD}"].text
    return {page: re.sub(r'"lastSeenAt":[^,}]*', "", answer.text) for page, answer in answers.items()}


def test_an_account_lives_on_elsewhere(system: System, ml_service: ScriptedMlService, redis_url: str, tmp_path: Path) -> None:
    """In another PostgreSQL, with an empty Redis: its lists, its tokens, its adapter, and the draft that waited for its turn."""
    drafting = GatewayProcess(tmp_path, database_url=system.place.url, redis_url=redis_url, ml_service_url=ml_service.url)
    drafting.start()
    owner = paired_device(drafting.url)
    [stored] = sync(owner, [message(text=f"{WORD}?")])["messages"]
    queued = owner.client.post("/api/responses/generate", json={"messageId": stored["id"]}, headers={"Prefer": "respond-async"})
    assert queued.status_code == 202, queued.text
    adapter_id = own_rows(system.place.url, owner)["adapter_id"]
    publish(Path(system.place.store), str(owner.account_id), str(adapter_id), os.urandom(100_000), tmp_path / "made")
    before = pages(owner)

    backup = system.place.back_up(tmp_path / "backup.tar")
    drafting.stop()
    postgres, valkey = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "log"), EmbeddedValkey(tmp_path / "valkey", tmp_path / "log")
    ml = ScriptedMlService(tmp_path, valkey.url, adapter_store=str(tmp_path / "adapters"), data_dir=str(tmp_path / "data"))
    gateway = GatewayProcess(tmp_path, database_url=postgres.url, redis_url=valkey.url, ml_service_url=ml.url)
    try:
        postgres.start()
        target = Place(postgres.url, tmp_path / "adapters")
        target.restore(backup)
        assert target.counts() == manifest_of(backup)["rows"]
        assert target.files() == system.place.files()
        valkey.start()
        ml.start()
        gateway.start()
        same = device_with(gateway.url, owner.token, owner.refresh_token)

        assert pages(same) == before
        [adapter] = same.client.get("/api/training/adapters").json()["adapters"]
        assert (UUID(adapter["id"]), adapter["status"]) == (adapter_id, "ready")
        refreshed = calls_from(gateway.url, new_address()).post("/api/devices/refresh", json={"refreshToken": owner.refresh_token})
        assert refreshed.status_code == 200
        gateway.log_with("job is asked for anew")
        with Redis.from_url(valkey.url) as redis:
            eventually(lambda: any(queued.json()["responseId"].encode() in key for key in redis.scan_iter()))
    finally:
        for part in (gateway, ml, valkey, postgres):
            part.stop()


def test_syncs_go_on_meanwhile(system: System, empty: Place, tmp_path: Path) -> None:
    """What is in the backup is what there was at one moment: the first so many messages, each with all that belongs to it."""
    owner = paired_device(system.gateway.url)
    sent: list[str] = []
    enough = threading.Event()

    def go_on() -> None:
        while not enough.is_set():
            guid = uuid4().hex
            sync(owner, [message(guid)], name=guid)
            sent.append(guid)

    syncing = threading.Thread(target=go_on)
    syncing.start()
    try:
        eventually(lambda: len(sent) > 3)
        backup = system.place.back_up(tmp_path / "backup.tar")
    finally:
        enough.set()
        syncing.join()
    empty.restore(backup)

    query = "select imessage_guid as guid from message where account_id = $1 order by id"
    restored = [row["guid"] for row in rows(empty.url, query, owner.account_id)]
    conversations = rows(empty.url, "select count(*) as number from conversation where account_id = $1", owner.account_id)
    assert 3 < len(restored) < len(sent)
    assert restored == sent[: len(restored)]
    assert conversations[0]["number"] == len(restored)
    assert empty.counts() == manifest_of(backup)["rows"]


def test_adapters_are_published_meanwhile(system: System, empty: Place, tmp_path: Path) -> None:
    owner = paired_device(system.gateway.url)
    enough = threading.Event()
    published: list[UUID] = []

    def go_on() -> None:
        while not enough.is_set():
            adapter_id = uuid4()
            publish(Path(system.place.store), str(owner.account_id), str(adapter_id), os.urandom(50_000), tmp_path / adapter_id.hex)
            query = (
                "insert into adapter (id, account_id, base_model, sample_ids, eval_loss, baseline_eval_loss, created_at)"
                " values ($1, $2, 'model', '{}', 2, 2.5, now())"
            )
            rows(system.place.url, query, adapter_id, owner.account_id)
            published.append(adapter_id)

    publishing = threading.Thread(target=go_on)
    publishing.start()
    try:
        eventually(lambda: len(published) > 3)
        backup = system.place.back_up(tmp_path / "backup.tar")
    finally:
        enough.set()
        publishing.join()
    empty.restore(backup)

    manifest = manifest_of(backup)
    assert 3 < manifest["rows"]["adapter"] < len(rows(system.place.url, "select id from adapter"))
    assert (manifest["adapters"], manifest["adapters_without_files"]) == (manifest["rows"]["adapter"], 0)
    assert len(empty.files()) == 3 * manifest["adapters"]


def test_adapters_that_are_not_whole_are_left_out_and_said(system: System, empty: Place, tmp_path: Path) -> None:
    """A row without files, files that are damaged, files without a row."""
    store, bare, damaged, unnamed = (
        Path(system.place.store),
        paired_device(system.gateway.url),
        paired_device(system.gateway.url),
        str(uuid4()),
    )
    own_rows(system.place.url, bare)
    damaged_id = str(own_rows(system.place.url, damaged)["adapter_id"])
    publish(store, str(damaged.account_id), damaged_id, b"weights", tmp_path / "damaged")
    (store / str(damaged.account_id) / damaged_id / "adapter_model.safetensors").write_bytes(b"Weights")
    publish(store, str(bare.account_id), unnamed, b"weights", tmp_path / "unnamed")

    done = system.place.run("backup", str(tmp_path / "backup.tar"))
    empty.restore(tmp_path / "backup.tar")

    assert done.returncode == 0
    assert b"2 adapters have no whole files" in done.stderr
    manifest = manifest_of(tmp_path / "backup.tar")
    assert manifest["adapters_without_files"] == 2
    assert manifest["rows"]["adapter"] == manifest["adapters"] + 2
    assert not any(name.startswith((str(bare.account_id), str(damaged.account_id))) for name in empty.files())


def test_through_pipes(system: System, empty: Place) -> None:
    taken = system.place.run("backup", "-")
    done = empty.run("restore", "-", given=taken.stdout)

    assert (taken.returncode, done.returncode) == (0, 0), taken.stderr + done.stderr
    assert empty.files() != {}
    assert rows(empty.url, "select count(*) as number from message where text like $1", f"{WORD}%")[0]["number"] >= 20


def test_a_file_is_for_its_owner_only_and_has_no_words(backup: Path) -> None:
    """The dump is compressed, so that the manifest alone is looked at."""
    members = members_of(backup)

    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [path.name for path in backup.parent.iterdir()] == ["good.tar"]
    assert WORD.encode() not in members["manifest.json"]
    assert set(manifest_of(backup)) == {
        "format", "created_at", "schema", "server", "dumped_with", "rows", "database", "adapters", "adapters_without_files", "files",
    }  # fmt: skip


def test_postgresql_own_programs_can_read_it_too(backup: Path, tmp_path: Path) -> None:
    """A backup must not depend on the release that made it."""
    from gateway.backup.programs import newest

    members = members_of(backup)
    dump = b"".join(data for name, data in members.items() if name.startswith("database/"))
    (tmp_path / "dump").write_bytes(dump)

    listed = subprocess.run([newest("pg_restore").path, "--list", str(tmp_path / "dump")], capture_output=True, text=True, check=True)

    assert "TABLE DATA public message" in listed.stdout


def test_an_older_schema_is_brought_up_to_date(new_place: Callable[[], Place], tmp_path: Path) -> None:
    older, newer = new_place(), new_place()
    environment = {**os.environ, "DATABASE_URL": older.url, "PICCOLO_CONF": "gateway.piccolo_conf"}
    command = [sys.executable, "-m", "piccolo.main", "migrations", "forwards", "gateway", "2026-11-26T18:00:00:000000"]
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=START_SECONDS)
    account = uuid4()
    rows(older.url, "insert into account (id, created_at, sample_bytes) values ($1, now(), 0)", account)

    backup = older.back_up(tmp_path / "older.tar")
    newer.restore(backup)

    assert manifest_of(backup)["schema"] == "2026-11-26T18:00:00:000000"
    assert rows(newer.url, "select id from account")[0]["id"] == account
    assert rows(newer.url, "select true from pg_indexes where indexname = 'message_search'") != []
    newest = "select max(name) as name from migration"
    assert rows(newer.url, newest)[0]["name"] > manifest_of(backup)["schema"]


def test_what_is_there_is_replaced_when_that_is_wanted(system: System, backup: Path, empty: Place, tmp_path: Path) -> None:
    """With the adapters that were made after the backup: nobody would ever delete them. Other files are nobody's business."""
    empty.restore(backup)
    newer = uuid4()
    rows(empty.url, "insert into account (id, created_at, sample_bytes) values ($1, now(), 0)", newer)
    publish(Path(empty.store), str(newer), str(uuid4()), b"weights", tmp_path / "newer")
    own = Path(empty.store) / "photos" / "one"
    own.mkdir(parents=True)
    (own / "manifest.json").write_text("{}")

    said = empty.restore(backup, replace=True)

    assert "1 adapters in ADAPTER_STORE were made after the backup: removed" in said
    assert empty.counts() == manifest_of(backup)["rows"]
    assert rows(empty.url, "select true from account where id = $1", newer) == []
    assert set(empty.files()) == {*(name.removeprefix("adapters/") for name in manifest_of(backup)["files"]), "photos/one/manifest.json"}
    assert rows(empty.url, "select true from pg_namespace where nspname = 'before_restore'") == []


def test_adapters_of_a_bucket(
    system: System, backup: Path, new_place: Callable[[], Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder into a bucket, and from there into another folder."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        access = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("adapters")
        bucket, folder = Place(new_place().url, "s3://adapters/ours"), new_place()
        into = bucket.run("restore", str(backup), environment=access)
        out_of = bucket.run("backup", str(tmp_path / "second.tar"), environment=access)
        folder.restore(tmp_path / "second.tar")
    finally:
        server.stop()

    assert (into.returncode, out_of.returncode) == (0, 0), into.stderr + out_of.stderr
    assert manifest_of(tmp_path / "second.tar")["files"] == manifest_of(backup)["files"] != {}
    assert set(folder.files()) == {name.removeprefix("adapters/") for name in manifest_of(backup)["files"]}
