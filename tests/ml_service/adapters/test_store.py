"""What every store does: one in a folder, and ones in buckets."""

import asyncio
import itertools
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from ml_service.adapters.store import AdapterExists, AdapterStore
from ml_service.engine.protocol import AdapterRefused
from shared.adapter_store.manifest import MANIFEST, WEIGHTS
from shared.adapter_store.storage import BucketStorage, FolderStorage, StoreAway
from tests.fixtures.loras import BASE, random_tensors, write_lora
from tests.ml_service.adapters.conftest import store_on

pytestmark = pytest.mark.anyio

Replica = Callable[[], AdapterStore]
"""Opens the same store as another machine would, with files of its own."""


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3", "memory"])
def replica(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replica:
    if request.param == "folder":
        return lambda: store_on(FolderStorage(tmp_path / "adapters"))
    url = f"memory://{uuid4().hex}/adapters"
    if request.param == "s3":
        bucket = f"bucket-{uuid4().hex}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("bucket_server"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
        url = f"s3://{bucket}/adapters"
    numbers = itertools.count()
    return lambda: store_on(BucketStorage(url, tmp_path / f"cache-{next(numbers)}"))


async def publish(store: AdapterStore, lora: Path, scope: str = "ana", adapter_id: str = "ana-1") -> None:
    await store.publish(lora, scope=scope, adapter_id=adapter_id, base_model=BASE)


async def folder_of(store: AdapterStore, adapter_id: str) -> Path:
    stored = await store.find("ana", adapter_id)
    assert stored is not None
    return await store.folder(stored)


async def test_what_one_publishes_another_finds(replica: Replica, lora: Path) -> None:
    manifest = await replica().publish(lora, scope="ana", adapter_id="ana-1", base_model=BASE)

    other = replica()
    stored = await other.find("ana", "ana-1")

    assert stored is not None
    assert stored == manifest
    assert (manifest.rank, manifest.base_model) == (8, BASE)
    folder = await other.folder(stored)
    assert folder.is_absolute()
    assert (folder / WEIGHTS).read_bytes() == (lora / WEIGHTS).read_bytes()
    assert manifest.size_bytes == sum((folder / name).stat().st_size for name in manifest.files)
    assert not (folder / "README.md").exists()


async def test_it_is_found_in_its_own_scope_only(replica: Replica, lora: Path) -> None:
    store = replica()
    await publish(store, lora)
    assert await store.find("sam", "ana-1") is None
    assert await store.find("ana", "ana-2") is None
    assert await store.of_scope("sam") == []


@pytest.mark.parametrize("name", ["..", "../sam/ana-1", "a/b", "", ".", "a" * 101, "ana-1\x00", "é"])
async def test_a_path_is_no_name(replica: Replica, lora: Path, name: str) -> None:
    store = replica()
    await publish(store, lora)
    assert await store.find("ana", name) is None
    assert await store.find(name, "ana-1") is None
    assert not await store.delete("ana", name)
    await store.delete_scope(name)
    for scope, adapter_id in (("ana", name), (name, "ana-1")):
        with pytest.raises(AdapterRefused, match="letters, digits"):
            await publish(store, lora, scope, adapter_id)
    assert await store.find("ana", "ana-1") is not None


async def test_publishing_the_same_bytes_again_changes_nothing(replica: Replica, lora: Path) -> None:
    store = replica()
    first = await store.publish(lora, scope="ana", adapter_id="ana-1", base_model=BASE)
    assert await replica().publish(lora, scope="ana", adapter_id="ana-1", base_model=BASE) == first


async def test_an_adapter_never_changes(replica: Replica, lora: Path, tmp_path: Path) -> None:
    store = replica()
    await publish(store, lora)
    with pytest.raises(AdapterExists, match="never changes"):
        await publish(store, write_lora(tmp_path / "other", random_tensors(seed=1)))
    stored = await store.find("ana", "ana-1")
    assert stored is not None
    assert (await store.folder(stored) / WEIGHTS).read_bytes() == (lora / WEIGHTS).read_bytes()


async def test_what_cannot_be_served_is_not_stored(replica: Replica, lora: Path) -> None:
    store = replica()
    with pytest.raises(AdapterRefused, match="catalogue"):
        await store.publish(lora, scope="ana", adapter_id="ana-1", base_model="unknown")
    elsewhere = {name.replace("layers.0", "layers.99"): tensor for name, tensor in random_tensors().items()}
    with pytest.raises(AdapterRefused, match="not a layer of the base"):
        await publish(store, write_lora(lora.parent / "wrong", elsewhere))
    (lora / WEIGHTS).write_bytes((lora / WEIGHTS).read_bytes()[:-1])
    with pytest.raises(AdapterRefused, match="cut off"):
        await publish(store, lora)
    assert await store.of_scope("ana") == []


async def test_the_newest_comes_first(replica: Replica, lora: Path) -> None:
    store = replica()
    for number in (1, 2, 3):
        await publish(store, lora, adapter_id=f"ana-{number}")
    assert [each.adapter_id for each in await store.of_scope("ana")] == ["ana-3", "ana-2", "ana-1"]


async def test_what_is_deleted_is_gone_everywhere(replica: Replica, lora: Path, tmp_path: Path) -> None:
    store, other = replica(), replica()
    await publish(store, lora)
    stored = await other.find("ana", "ana-1")
    assert stored is not None
    copy = await other.folder(stored)
    assert await store.delete("ana", "ana-1")
    assert not await store.delete("ana", "ana-1")
    assert await other.find("ana", "ana-1") is None
    await other.prune()
    assert not copy.exists()


async def test_a_withdrawn_adapter_is_not_found_but_keeps_its_files(replica: Replica, lora: Path) -> None:
    store = replica()
    await publish(store, lora)
    stored = await store.find("ana", "ana-1")
    assert stored is not None
    folder = await store.folder(stored)
    assert await store.withdraw("ana", "ana-1")
    assert await store.find("ana", "ana-1") is None
    assert (folder / WEIGHTS).exists()


async def test_a_scope_is_deleted_with_all_that_is_left_of_it(replica: Replica, lora: Path) -> None:
    store = replica()
    for scope, adapter_id in (("ana", "ana-1"), ("ana", "ana-2"), ("sam", "sam-1"), ("ana", "ana-3")):
        await publish(store, lora, scope, adapter_id)
    await store.withdraw("ana", "ana-3")  # as if a deletion had not come to its end
    for _ in range(2):
        await store.delete_scope("ana")
        assert await store.of_scope("ana") == []
    assert len(await store.of_scope("sam")) == 1


async def test_bytes_that_changed_in_the_store_are_not_served(replica: Replica, lora: Path) -> None:
    await publish(replica(), lora)
    store = replica()
    stored = await store.find("ana", "ana-1")
    assert stored is not None
    weights = await store.folder(stored) / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(AdapterRefused, match="damaged"):
        await store.folder(stored)


async def test_publishing_at_once_gives_one_adapter(replica: Replica, lora: Path, tmp_path: Path) -> None:
    manifests = await asyncio.gather(
        *(replica().publish(lora, scope="ana", adapter_id="ana-1", base_model=BASE) for _ in range(4)), return_exceptions=True
    )
    assert not [each for each in manifests if isinstance(each, BaseException)]
    assert len(await replica().of_scope("ana")) == 1


async def test_no_event_loop_waits_for_a_disk(replica: Replica, lora: Path) -> None:
    store = replica()
    publishing = asyncio.create_task(publish(store, lora))
    turns = 0
    while not publishing.done():
        await asyncio.sleep(0)
        turns += 1
    await publishing
    assert turns > 20


def _publish_for_ever(root: Path, lora: Path) -> None:
    async def run() -> None:
        for number in itertools.count():
            await publish(store_on(FolderStorage(root)), lora, adapter_id=f"ana-{number}")

    asyncio.run(run())


async def test_a_publisher_that_is_killed_leaves_whole_adapters_only(lora: Path, tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    store = store_on(FolderStorage(root))
    for _ in range(3):
        process = multiprocessing.get_context("spawn").Process(target=_publish_for_ever, args=(root, lora))
        process.start()
        known = len(await store.of_scope("ana"))
        async with asyncio.timeout(60):
            while len(await store.of_scope("ana")) < known + 3:
                await asyncio.sleep(0.001)
        process.kill()
        process.join()
        for stored in await store.of_scope("ana"):
            assert await store.folder(stored)
        await store.delete_scope("ana")
        assert not (root / "ana").exists()


async def test_a_half_deleted_adapter_does_not_block_its_id(store: AdapterStore, lora: Path) -> None:
    await publish(store, lora)
    await store.withdraw("ana", "ana-1")
    await publish(store, lora)
    assert await store.find("ana", "ana-1") is not None


async def test_a_manifest_that_someone_wrote_is_not_believed(store: AdapterStore, lora: Path, tmp_path: Path) -> None:
    await publish(store, lora)
    manifest = tmp_path / "adapters" / "ana" / "ana-1" / MANIFEST
    good = manifest.read_text()
    for bad, reason in (
        ("{", "cannot be read"),
        (good.replace('"ana-1"', '"ana-2"'), "another adapter"),
        (good.replace(WEIGHTS, "../../x"), "must name"),
        (good.replace('"rank": 8', '"rank": 4'), "rank is 8"),
    ):
        manifest.write_text(bad)
        with pytest.raises(AdapterRefused, match=reason):
            await folder_of(store, "ana-1")


async def test_a_manifest_of_an_older_version_is_read(store: AdapterStore, lora: Path, tmp_path: Path) -> None:
    await publish(store, lora)
    manifest = tmp_path / "adapters" / "ana" / "ana-1" / MANIFEST
    manifest.write_text(manifest.read_text().replace("{", '{"evaluation": {"eval_loss": 1.0, "baseline_eval_loss": null},', 1))
    assert (await folder_of(store, "ana-1")).is_dir()


async def test_a_disk_that_cannot_be_written_is_said_so(lora: Path, tmp_path: Path) -> None:
    (tmp_path / "adapters").write_text("a file where the folder should be")
    with pytest.raises(StoreAway, match="disk"):
        await publish(store_on(FolderStorage(tmp_path / "adapters")), lora)


async def test_a_bucket_that_is_away_is_said_so(lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(StoreAway) as away:
        await store_on(BucketStorage("s3://bucket/adapters", tmp_path)).find("ana", "ana-1")
    assert away.value.retry_after


async def test_files_that_vanish_are_said_so(store: AdapterStore, lora: Path, tmp_path: Path) -> None:
    await publish(store, lora)
    stored = await store.find("ana", "ana-1")
    assert stored is not None
    shutil.rmtree(tmp_path / "adapters" / "ana" / "ana-1")
    with pytest.raises(AdapterRefused, match="missing"):
        await store.folder(stored)
