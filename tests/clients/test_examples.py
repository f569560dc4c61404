"""The examples of docs/examples do what they say."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from threading import Thread
from typing import IO

import pytest
from assistant_client import Client
from assistant_client.models import Draft, Message

from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually

EXAMPLES = Path("docs/examples")
PATH = {"PATH": os.environ["PATH"]}


def shortcut(url: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = ["sh", str(EXAMPLES / "draft.sh"), *arguments]
    return subprocess.run(
        command, env={**PATH, "GATEWAY": url, **environment}, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def test_the_shortcut_drafts_a_reply_to_any_text(client: Client) -> None:
    text = 'He said "see you at 8"\\o/\nok? 🎉'
    done = shortcut(client.url, "sam@example.com", text, TOKEN=client.credentials.token)

    [draft] = client.drafts().responses
    [message] = client.messages(draft.conversation_id).messages
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{draft.response}\n", "")
    assert (message.text, message.sender_id) == (text, "sam@example.com")


def test_the_shortcut_pairs_itself(drafting_gateway: GatewayProcess) -> None:
    first = shortcut(drafting_gateway.url, "sam@example.com", "What time?")
    token = re.fullmatch(r"TOKEN=(\S+)\n", first.stderr)
    assert token is not None
    second = shortcut(drafting_gateway.url, "sam@example.com", "And where?", TOKEN=token[1])

    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")


def test_the_shortcut_shows_what_the_gateway_says(drafting_gateway: GatewayProcess) -> None:
    done = shortcut(drafting_gateway.url, "sam@example.com", "What time?", TOKEN="nonsense")

    assert done.returncode != 0
    assert "Unauthorized" in done.stdout + done.stderr


class Shown:
    """The drafts that the JavaScript example prints, each with its texts in order."""

    def __init__(self, output: IO[str]) -> None:
        self.texts: dict[str, list[str]] = {}
        self._thread = Thread(target=self._read, args=(output,))
        self._thread.start()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            draft_id, _status, text = line.split(" ", 2)
            self.texts.setdefault(draft_id, []).append(json.loads(text))

    def grew(self, draft: Draft) -> bool:
        """Whether it was seen from its beginning to its end: what was asked for before there was a reader was not."""
        texts = self.texts.get(str(draft.response_id), [""])
        return texts[-1] == draft.response and len(set(texts)) > 3 and all(map(str.startswith, texts[1:], texts))

    def join(self) -> None:
        self._thread.join()


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_javascript_shows_drafts_while_they_are_written(frail_gateway: GatewayProcess, at_frail_gateway: Client, asked: Message) -> None:
    environment = {**PATH, "GATEWAY": at_frail_gateway.url, "TOKEN": at_frail_gateway.credentials.token}
    with subprocess.Popen(["node", str(EXAMPLES / "live-drafts.mjs")], env=environment, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        shown = Shown(node.stdout)
        try:
            eventually(lambda: shown.grew(at_frail_gateway.draft(asked.id, fresh=True)))
            frail_gateway.kill()
            frail_gateway.start()
            eventually(lambda: shown.grew(at_frail_gateway.draft(asked.id, fresh=True)))
        finally:
            node.kill()
            shown.join()
