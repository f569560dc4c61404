"""`assistant threads`, and finding the thread that somebody means."""

import argparse
from itertools import islice
from uuid import UUID

from assistant_client.client import Client
from assistant_client.command_line.output import Output, moment
from assistant_client.errors import AssistantError
from assistant_client.models import Conversation


class NoThread(AssistantError):
    """There is no such thread, or there are several."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("search", nargs="?", help="words of the names of threads and people")
    parser.add_argument("--limit", type=int, default=20, help="how many at most (20)")
    parser.add_argument("--json", action="store_true", help="JSON, a line each")


def run(arguments: argparse.Namespace, client: Client) -> int:
    output = Output()
    found = list(islice(client.all_conversations(arguments.search), arguments.limit))
    if arguments.json:
        for conversation in found:
            output.json(conversation)
        return 0
    rows = [
        [name_of(each), str(each.message_count), moment(each.last_message_at), str(each.id), each.last_message_preview or ""]
        for each in found
    ]
    output.table(["name", "messages", "last", "id", ""], rows)
    if not found:
        output.note("No thread has such a name" if arguments.search else "There are no threads yet: assistant import FILE brings some")
    return 0


def name_of(conversation: Conversation) -> str:
    return conversation.display_name or conversation.imessage_id


def find_thread(client: Client, wanted: str) -> tuple[UUID, str]:
    """The id and the name of the thread with this id, or the one with this name, or else the only one in whose name these words are.

    Raises:
        NoThread: none, or more than one.
    """
    try:
        return UUID(wanted), wanted
    except ValueError:
        found = list(islice(client.all_conversations(wanted), 100))
    exact = [each for each in found if name_of(each).casefold() == wanted.casefold()]
    candidates = exact or found
    if not candidates:
        raise NoThread(f"No thread has the name {wanted}: assistant threads lists them")
    if len(candidates) > 1:
        names = "\n".join(f"  {each.id}  {name_of(each)}" for each in candidates[:10])
        raise NoThread(f"Several threads have this name; take the id of the one that you mean:\n{names}")
    return candidates[0].id, name_of(candidates[0])
