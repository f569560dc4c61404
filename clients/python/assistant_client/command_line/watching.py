"""`assistant watch`"""

import argparse
from contextlib import closing

from assistant_client.client import Client
from assistant_client.command_line.output import Output
from assistant_client.models import DraftDetails, DraftToken, Event, SyncCompleted, TrainingJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--after", metavar="ID", help="begin after the event with this id; 0 for all of the last hour")
    parser.add_argument("--tokens", action="store_true", help="also the pieces of drafts while they are written")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many events")
    parser.add_argument("--json", action="store_true", help="JSON, a line each")


def run(arguments: argparse.Namespace, client: Client) -> int:
    output = Output()
    client.devices()  # or else a program that is not paired would wait for ever
    if not arguments.json:
        output.note(f"Watching {client.url}; Ctrl-C ends it")
    with closing(client.events(arguments.after, tokens=arguments.tokens)) as events:
        for number, event in enumerate(events, start=1):
            if arguments.json:
                output.json(event)
            else:
                output.line(f"{event.at.astimezone():%H:%M:%S}  {event.type:<22} {_summary(event)}".rstrip())
            if number == arguments.count:
                break
    return 0


def _summary(event: Event) -> str:
    match event.body():
        case DraftToken() as token:
            return token.text
        case DraftDetails() as draft:
            return draft.response or draft.error or f"draft {draft.response_id}"
        case TrainingJob() as job:
            loss = f", loss {job.loss:.2f}" if job.loss is not None else ""
            return f"{job.progress:.0f} %{loss}" if not job.ended else (job.error or job.activation_note or "")
        case SyncCompleted() as synced:
            return f"{synced.created} new, {synced.updated} changed messages"
        case dict() as data:
            return ", ".join(f"{name} {value}" for name, value in data.items())
        case body:
            return str(body)
