"""`make demo`: the main job from beginning to end, through the public API, on one screen; and what `make demo-learning` shares with it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import httpx
from assistant_client.sse import EventParser
from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from websockets.sync.client import connect

from deploy.local.settings import LocalSettings
from shared.settings import SettingsError, load

_DRAFT_SECONDS = 60
_EDITED = "10 is perfect, i'll have coffee and cake ready"


class DemoError(Exception):
    """The story cannot be told; the message says why."""


def tell(story: Callable[[httpx.Client, Console, LocalSettings], None]) -> int:
    """Tell a story against the gateway that runs, or start everything first and stop it afterwards; returns the exit code."""
    console = Console(highlight=False)
    try:
        settings = load(LocalSettings, os.environ)
        with _running_gateway(settings, console) as url, httpx.Client(base_url=url, timeout=180) as client:
            story(client, console, settings)
    except KeyboardInterrupt:
        return 130
    except (SettingsError, DemoError) as error:
        problem = str(error)
    except httpx.HTTPStatusError as error:
        problem = f"{error.request.method} {error.request.url.path}: {_message(error.response)}"
    except httpx.TransportError as error:
        problem = f"The gateway went away in the middle ({type(error).__name__}): see .data/logs"
    else:
        return 0
    console.print(f"[red]✗[/] {problem}")
    return 1


def pair(client: httpx.Client, console: Console) -> None:
    """Make an account with this device in it; from here on the client speaks as that."""
    registered = _register(client, "Demo laptop", "linux")
    console.print(f"POST /api/devices/register → device {registered['deviceId']}, code [bold]{registered['code']}[/]")
    verified = _verify(client, registered)
    client.headers["Authorization"] = f"Bearer {verified['token']}"
    console.print(f"POST /api/devices/verify   → a token until {verified['expiresAt']}")


def _register(client: httpx.Client, name: str, platform: str) -> dict[str, Any]:
    device = {"name": name, "hardwareId": f"demo-{platform}-{time.time_ns()}", "platform": platform, "osVersion": "1"}
    return post(client, "/api/devices/register", device)


def _verify(client: httpx.Client, registered: dict[str, Any]) -> dict[str, Any]:
    return post(client, "/api/devices/verify", {"deviceId": registered["deviceId"], "code": registered["code"]})


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return dict(client.post(path, json=body).raise_for_status().json())


def get(client: httpx.Client, path: str) -> dict[str, Any]:
    return dict(client.get(path).raise_for_status().json())


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events: a name and JSON data each."""
    parser = EventParser()
    for chunk in answer.iter_bytes():
        for sent in parser.feed(chunk):
            if sent.data:
                yield sent.name, json.loads(sent.data)


def _end_line(console: Console) -> None:
    """A live display that is not on a terminal leaves its last line open."""
    if not console.is_terminal:
        console.print()


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, httpx.ResponseNotRead):
        return f"{answer.status_code} {answer.reason_phrase}"


@contextmanager
def _running_gateway(settings: LocalSettings, console: Console) -> Iterator[str]:
    """The address of a gateway that can draft: the one that runs here, or one started for the time of the story."""
    url = f"http://127.0.0.1:{settings.gateway_port}"
    if _can_draft(url):
        yield url
        return
    console.print("Nothing runs yet, so everything is started first (`make run` in another terminal keeps it running).")
    stack = subprocess.Popen([sys.executable, "-m", "deploy.local"])
    try:
        while not _can_draft(url):
            if stack.poll() is not None:
                raise DemoError("It could not be started; the line above says why")
            time.sleep(0.5)
        time.sleep(0.5)  # lets the start's last line come before the story's first
        yield url
    finally:
        stack.terminate()
        stack.wait()


def _can_draft(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK and bool(answer.json()["mlService"])


def _story(client: httpx.Client, console: Console, _settings: LocalSettings) -> None:
    console.rule("[bold]1. Pair a device", align="left")
    pair(client, console)
    conversation = _sync(client, console)
    message = _show_thread(client, console, conversation)
    response_id, draft = _stream_draft(client, console, message)
    _edit(client, console, response_id, draft)
    _show_sample(client, console)
    _watch_from_two_devices(client, console, message)


def _sync(client: httpx.Client, console: Console) -> str:
    console.rule("[bold]2. Sync a thread", align="left")
    thread = json.loads((files("gateway.console") / "static" / "example" / "sample_thread.json").read_text())
    contact = {"email": "sam@example.com", "displayName": "Sam", "appleId": None, "phoneNumber": None, "avatarHash": None}
    post(client, "/api/sync/contacts", {"contacts": [contact]})
    synced = post(client, "/api/sync/messages", thread)
    again = post(client, "/api/sync/messages", thread)
    console.print(f"POST /api/sync/messages → {synced['created']} created; the same batch once more → {again['unchanged']} unchanged")
    return str(synced["conversationId"])


def _show_thread(client: httpx.Client, console: Console, conversation: str) -> str:
    messages = get(client, f"/api/conversations/{conversation}/messages")["messages"]
    for message in reversed(messages):
        mine = message["direction"] == "outgoing"
        name = "me" if mine else message["senderName"] or message["senderId"]
        console.print(Text(f"  {name:>6}  {message['text']}", style="cyan" if mine else ""))
    return str(messages[0]["id"])


def _stream_draft(client: httpx.Client, console: Console, message: str) -> tuple[str, str]:
    console.rule("[bold]3. Get a draft, as it is written", align="left")
    begin = time.monotonic()
    first = 0.0
    text = ""
    body = {"messageId": message, "context": {"maxTokens": 60}}
    # no-cache: whoever runs the demo twice wants to see the model write twice
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    with (
        Live(console=console, refresh_per_second=20) as live,
        client.stream("POST", "/api/responses/generate", json=body, headers=headers) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            answer.read()
        answer.raise_for_status()
        for event, data in events(answer):
            match event:
                case "token":
                    first = first or time.monotonic() - begin
                    text += data["text"]
                    live.update(Panel(text, title="draft", width=90))
                case "completed":
                    live.update(Panel(data["response"], title="draft", width=90))
                    result = data
                case _:
                    raise DemoError(f"The draft did not come: {data.get('message', event)}")
    _end_line(console)
    console.print(
        f"{result['modelVersion']} wrote {result['tokensUsed']} tokens in {time.monotonic() - begin:.1f} s, the first after"
        f" {first * 1000:.0f} ms; confidence {result['confidence']:.2f}"
    )
    return str(result["responseId"]), str(result["response"])


def _edit(client: httpx.Client, console: Console, response_id: str, draft: str) -> None:
    console.rule("[bold]4. Edit it, as the owner would", align="left")
    console.print(Text(f"  draft   {draft}", style="dim strike"))
    console.print(Text(f"  edited  {_EDITED}", style="green"))
    acted = post(client, f"/api/responses/{response_id}/action", {"action": "edit", "editedResponse": _EDITED})
    console.print(f"POST /api/responses/…/action → sample {acted['sampleId']}")


def _show_sample(client: httpx.Client, console: Console) -> None:
    console.rule("[bold]5. What there is to learn from it", align="left")
    sample = get(client, "/api/training/samples")["samples"][0]
    table = Table(show_header=False, width=100)
    for field in ("source", "quality", "input", "output", "rejectedOutput"):
        table.add_row(field, Text(str(sample[field])))
    console.print(table)
    console.print("The owner's text is what will be learnt, and the draft is what it is preferred to.")


def _watch_from_two_devices(client: httpx.Client, console: Console, message: str) -> None:
    console.rule("[bold]6. A queued draft, watched from two devices", align="left")
    phone = _verify(client, _register(client, "Demo phone", "ios"))  # of the same account: the laptop asks for it
    address = str(client.base_url).replace("http", "ws", 1).rstrip("/") + "/api/events?tokens=true"
    authorizations = {"laptop": client.headers["Authorization"], "phone": f"Bearer {phone['token']}"}
    screens = {name: _Screen(address, authorization) for name, authorization in authorizations.items()}
    try:
        body = {"messageId": message, "context": {"maxTokens": 40}}
        headers = {"Prefer": "respond-async", "Cache-Control": "no-cache"}
        queued = client.post("/api/responses/generate", json=body, headers=headers).raise_for_status()
        console.print(f"POST /api/responses/generate, Prefer: respond-async → {queued.status_code} {queued.json()['status']}")
        with Live(console=console, refresh_per_second=20) as live:
            deadline = time.monotonic() + _DRAFT_SECONDS
            done = False
            while not done:
                if time.monotonic() > deadline:
                    raise DemoError(f"The queued draft did not reach both devices within {_DRAFT_SECONDS} s: see .data/logs")
                time.sleep(0.05)
                done = all(screen.done for screen in screens.values())
                live.update(Columns([screen.panel(name) for name, screen in screens.items()]))
    finally:
        for screen in screens.values():
            screen.close()
    _end_line(console)
    same = len({tuple(screen.events) for screen in screens.values()}) == 1
    console.print("Both devices saw the same events in the same order." if same else "The devices saw different events.")


class _Screen:
    """What one device shows: the events that it gets over its WebSocket, and the draft as it grows."""

    def __init__(self, address: str, authorization: str) -> None:
        self.events: list[str] = []
        self.text = ""
        self.done = False
        self._socket = connect(address, additional_headers={"Authorization": authorization})
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def panel(self, name: str) -> Panel:
        return Panel(Group(Text("\n".join(self.events), style="dim"), Text(self.text)), title=name, width=58)

    def close(self) -> None:
        self._socket.close()
        self._reading.join(timeout=5)

    def _read(self) -> None:
        for frame in self._socket:
            event = json.loads(frame)
            if event["type"] == "response:token":
                self.text += event["data"]["text"]
                continue
            self.events.append(event["type"])
            if event["type"] in ("response:completed", "response:failed", "response:cancelled"):
                self.text = event["data"]["response"] or ""
                self.done = True


if __name__ == "__main__":
    sys.exit(tell(_story))
