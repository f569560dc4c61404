"""`make demo-learning`: history becomes a personal adapter, and the next drafts sound like their owner. All through the public API."""

import json
import math
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from deploy.local.demo import DemoError, events, get, pair, post, tell
from deploy.local.settings import LocalSettings

_NEVER_SEEN = (
    "Can you feed the cat while I'm away?",
    "What time does the concert start?",
    "I baked far too many cookies",
    "Do you still have my umbrella?",
)
_BEGIN, _END = "heya", "xx"
"""How this owner's messages begin and end."""
_HOUR = timedelta(hours=1)
_FIRST_MESSAGE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_EPOCHS, _LEARNING_RATE = 4, 5e-4
"""Few samples and a small model: more and larger steps than the API's defaults."""


def _story(client: httpx.Client, console: Console, settings: LocalSettings) -> None:
    console.rule("[bold]1. A device, and the owner's own history", align="left")
    pair(client, console)
    _sync_history(client, console)
    console.rule("[bold]2. Past replies become samples", align="left")
    _import_samples(client, console)
    console.rule("[bold]3. Drafts before training, to messages never seen", align="left")
    messages = _sync_new_messages(client)
    before = [_draft(client, message) for message in messages]
    _show(console, {"draft": before})
    console.rule("[bold]4. Train a personal adapter", align="left")
    job = _train(client, console, base_model=before[0]["modelVersion"])
    _explain(console, job)
    console.rule("[bold]5. The same messages, drafted again", align="left")
    after = [_draft(client, message) for message in messages]
    _show(console, {"before": before, "after": after})
    console.print(f"In the owner's voice: {_in_voice(before)} of {len(before)} before, {_in_voice(after)} of {len(after)} after.")
    console.print(f"The drafts were written by {after[0]['modelVersion']}.")
    _save_report(client, console, job, Path(settings.data_dir))


def _sync_history(client: httpx.Client, console: Console) -> None:
    """Sync threads in which each message was answered a few minutes later, and the next came days after."""
    people = json.loads((files("gateway.console") / "static" / "example" / "sample_history.json").read_text())
    contacts = [
        {"email": person["handle"], "displayName": person["name"], "appleId": None, "phoneNumber": None, "avatarHash": None}
        for person in people
    ]
    post(client, "/api/sync/contacts", {"contacts": contacts})
    for number, person in enumerate(people):
        messages = []
        for index, (question, reply) in enumerate(person["exchanges"]):
            asked = _FIRST_MESSAGE + number * _HOUR + index * 49 * _HOUR
            guid = f"history-{person['handle']}-{index}"
            messages.append(_message(f"{guid}-asked", person["handle"], question, asked))
            messages.append(_message(f"{guid}-answered", "me", reply, asked + timedelta(minutes=4)))
        synced = post(client, "/api/sync/messages", _thread(f"history;-;{person['handle']}", person["handle"], messages))
        last = person["exchanges"][-1]
        console.print(Text(f"  {person['name']:>4}  {synced['created']} messages, the last: {last[0]} → {last[1]}", style="dim"))


def _import_samples(client: httpx.Client, console: Console) -> None:
    answer = post(client, "/api/training/samples/import", {})
    console.print(f"POST /api/training/samples/import → {answer['imported']} samples")
    sample = get(client, "/api/training/samples?pageSize=1")["samples"][0]
    console.print(Text(f"  asked     {sample['input']}\n  answered  {sample['output']}", style="cyan"))


def _sync_new_messages(client: httpx.Client) -> list[str]:
    """Each from a stranger, in a thread of its own: no history gives the owner's voice away."""
    asked = _FIRST_MESSAGE + timedelta(days=90)
    ids = []
    for number, text in enumerate(_NEVER_SEEN):
        handle = f"stranger-{number}@example.com"
        synced = post(client, "/api/sync/messages", _thread(f"new;-;{handle}", handle, [_message(f"new-{number}", handle, text, asked)]))
        ids.append(str(synced["messages"][0]["id"]))
    return ids


def _message(guid: str, sender: str, text: str, at: datetime) -> dict[str, Any]:
    direction = "outgoing" if sender == "me" else "incoming"
    return {
        "imessageGuid": guid, "senderId": sender, "direction": direction, "messageType": "text", "text": text, "sentAt": at.isoformat(),
    }  # fmt: skip


def _thread(name: str, handle: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"conversationImessageId": name, "isGroup": False, "participantIds": [handle], "messages": messages}


def _draft(client: httpx.Client, message: str) -> dict[str, Any]:
    """The likeliest draft: what differs before and after is then the adapter's doing and not chance's."""
    return post(client, "/api/responses/generate", {"messageId": message, "context": {"maxTokens": 40, "temperature": 0}})


def _show(console: Console, columns: dict[str, list[dict[str, Any]]]) -> None:
    table = Table("message", *columns, width=min(console.width, 140), show_lines=True)
    for number, question in enumerate(_NEVER_SEEN):
        table.add_row(question, *(_voiced(drafts[number]["response"]) for drafts in columns.values()))
    console.print(table)


def _voiced(text: str) -> Text:
    return Text(text, style="green" if _sounds_like_owner(text) else "")


def _sounds_like_owner(text: str) -> bool:
    return text.strip().startswith(_BEGIN) and text.strip().endswith(_END)


def _in_voice(drafts: list[dict[str, Any]]) -> int:
    return sum(_sounds_like_owner(draft["response"]) for draft in drafts)


def _train(client: httpx.Client, console: Console, base_model: str) -> dict[str, Any]:
    """Start a job and watch it on the event stream until it has ended."""
    body = {"baseModel": base_model, "epochs": _EPOCHS, "learningRate": _LEARNING_RATE}
    bar = Progress(
        TextColumn("{task.fields[status]:<11}"), BarColumn(40), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[step]}"),
        TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn(), console=console,
    )  # fmt: skip
    with client.stream("GET", "/api/events/stream", timeout=httpx.Timeout(180)) as stream:
        stream.raise_for_status()
        job = post(client, "/api/training/start", body)["job"]
        console.print(f"POST /api/training/start → job {job['id']}")
        with bar:
            task = bar.add_task("training", total=100, status=job["status"], step="", loss="…")
            for name, event in events(stream):
                if not name.startswith("training:") or event["data"]["id"] != job["id"]:
                    continue
                job = event["data"]
                _advance(bar, task, job)
                if job["status"] in ("completed", "failed", "cancelled"):
                    break
            else:
                raise DemoError("The event stream ended before the training did: see .data/logs")
    if job["status"] != "completed":
        raise DemoError(f"The training {job['status']}: {job['error'] or 'somebody stopped it'}")
    return dict(get(client, f"/api/training/jobs/{job['id']}")["job"])


def _advance(bar: Progress, task: TaskID, job: dict[str, Any]) -> None:
    step = f"step {job['step']} of {job['totalSteps']}" if job["totalSteps"] else ""
    loss = f"{job['loss']:.2f}" if job["loss"] is not None else "…"
    bar.update(task, completed=job["progress"], status=job["status"], step=step, loss=loss)
    bar.refresh()


def _explain(console: Console, job: dict[str, Any]) -> None:
    before, after = job["baselineEvalLoss"], job["evalLoss"]
    table = Table("held-out replies", "loss (nats a token)", "perplexity")
    table.add_row("before", f"{before:.2f}", f"{math.exp(before):.1f}")
    table.add_row("after", f"{after:.2f}", f"{math.exp(after):.1f}")
    console.print(table)
    seconds = datetime.fromisoformat(job["completedAt"]) - datetime.fromisoformat(job["startedAt"])
    outcome = "It is in use now" if job["activated"] else "It is kept, but not used, because it did not beat what was in use"
    console.print(f"Trained in {seconds.total_seconds():.0f} s. {outcome}.")


def _save_report(client: httpx.Client, console: Console, job: dict[str, Any], data_dir: Path) -> None:
    report = client.get(f"/api/training/jobs/{job['id']}/report").raise_for_status()
    path = data_dir / "reports" / f"{time.strftime('%Y-%m-%d-%H%M%S')}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.text)
    console.print(f"The loss curve and the comparison, to open in a browser: {path}")


if __name__ == "__main__":
    sys.exit(tell(_story))
