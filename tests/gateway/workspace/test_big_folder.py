"""A project of a size that nobody reads or copies: 100,000 files, and one of 2 GiB."""

import threading
import time
from pathlib import Path

import pytest

from tests.fixtures.database import rows
from tests.fixtures.scripted_chat import answer, calls
from tests.gateway.workspace.conftest import Workspace

FOLDERS, FILES = 100, 1_000
LARGE = 2 * 2**30


@pytest.fixture
def big(workspace: Workspace) -> Workspace:
    for folder in range(FOLDERS):
        path = workspace.root / "data" / str(folder)
        path.mkdir(parents=True)
        for file in range(FILES):
            (path / f"{file}.txt").touch()
    with (workspace.root / "data" / "video.bin").open("wb") as video:
        video.truncate(LARGE)
    return workspace


def test_a_big_folder_neither_blocks_the_gateway_nor_is_copied(big: Workspace, database_url: str) -> None:
    waited: list[float] = []
    ended = threading.Event()

    def others() -> None:
        while not ended.wait(0.02):
            began = time.perf_counter()
            assert big.owner.client.get("/api/v1/status").status_code == 200
            waited.append(time.perf_counter() - began)

    beside = threading.Thread(target=others)
    beside.start()
    began = time.perf_counter()
    said = big.say(
        "Tidy up",
        calls(("search_project", {"contentPattern": "nobody"}), ("search_project", {"filePattern": "999.txt", "sizeMax": 10})),
        calls(("move_files", {"sources": ["data"], "destination": "archive", "createMissingDirectories": True})),
        calls(("rename_files", {"operations": [{"source": "archive/data/video.bin", "destination": "film.bin"}]})),
        answer("Done"),
    )
    seconds = time.perf_counter() - began
    ended.set()
    beside.join()

    assert said.status_code == 200, said.text
    assert seconds < 60
    assert max(waited) < 2
    assert (big.root / "film.bin").stat().st_size == LARGE
    [row] = rows(
        database_url,
        "select sum(octet_length(steps::text)) as steps, sum(cardinality(contents)) as contents from workspace_change join"
        " workspace_conversation c on c.id = conversation_id where c.name = $1",
        big.name,
    )
    assert row["steps"] < 10_000
    assert row["contents"] == 0

    for _ in range(2):
        assert big.ask("POST", "/undo").status_code == 200
    assert (big.root / "data" / "video.bin").stat().st_size == LARGE
    assert not (big.root / "archive").exists()
    assert sum(1 for _ in Path(big.root / "data").rglob("*.txt")) == FOLDERS * FILES
