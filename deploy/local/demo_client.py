"""What the demonstrations share: a gateway to talk to, and the public API as a client uses it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console

from deploy.local.settings import LocalSettings
from shared.settings import SettingsError, load

_START_SECONDS = 900


class DemoError(Exception):
    """The story cannot be told; the message says why."""


def tell(story: Callable[[httpx.Client, Console, LocalSettings], None]) -> int:
    """Tell a story against the gateway that runs, or start everything first and stop it afterwards; returns the exit code."""
    console = Console(highlight=False)
    try:
        settings = load(LocalSettings, os.environ)
        with _running_gateway(settings, console) as url, httpx.Client(base_url=url, timeout=180) as client:
            story(client, console, settings)
    except (SettingsError, DemoError) as error:
        console.print(f"[red]✗[/] {error}")
        return 1
    except httpx.HTTPStatusError as error:
        console.print(f"[red]✗[/] {error.request.method} {error.request.url.path}: {_message(error.response)}")
        return 1
    except httpx.TransportError as error:
        console.print(f"[red]✗[/] The gateway went away in the middle ({type(error).__name__}): see .data/logs")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def pair(client: httpx.Client, console: Console, name: str = "Demo laptop") -> None:
    """Make an account with this device in it; from here on the client speaks as that."""
    device = {"name": name, "hardwareId": f"demo-{time.time_ns()}", "platform": "linux", "osVersion": "1"}
    registered = post(client, "/api/devices/register", device)
    console.print(f"POST /api/devices/register → device {registered['deviceId']}, code [bold]{registered['code']}[/]")
    verified = post(client, "/api/devices/verify", {"deviceId": registered["deviceId"], "code": registered["code"]})
    client.headers["Authorization"] = f"Bearer {verified['token']}"
    console.print(f"POST /api/devices/verify   → a token until {verified['expiresAt']}")


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return dict(client.post(path, json=body).raise_for_status().json())


def get(client: httpx.Client, path: str) -> dict[str, Any]:
    return dict(client.get(path).raise_for_status().json())


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events (the HTML standard, section 9.2): a name and JSON data each."""
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            yield name, json.loads(value)


def end_line(console: Console) -> None:
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
        deadline = time.monotonic() + _START_SECONDS
        while not _can_draft(url):
            if stack.poll() is not None:
                raise DemoError("It could not be started; the line above says why")
            if time.monotonic() > deadline:
                raise DemoError(f"It was not ready after {_START_SECONDS} s: see .data/logs")
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
