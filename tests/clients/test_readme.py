"""The code on the pages about the library runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from assistant_client import Client, FileStore

from tests.clients.threads import thread
from tests.fixtures.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
def test_the_example_runs(client: Client, tmp_path: Path, page: str) -> None:
    [code] = re.findall(r"```python\n(.*?)```", Path(page).read_text(), re.DOTALL)
    client.sync_messages(thread("What time?"))
    store = FileStore(tmp_path / "conversation-assistant" / "device.json")
    store.save(client.credentials)

    done = subprocess.run(
        [sys.executable, "-c", code.replace("http://127.0.0.1:3100", client.url)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "clients/python", "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    with Client(store=store) as reader:
        [draft] = reader.drafts().responses
    assert draft.response
    assert draft.response in done.stdout
