"""`assistant draft`"""

import argparse
from contextlib import closing, suppress
from itertools import chain
from uuid import UUID

from assistant_client.client import Client
from assistant_client.command_line.output import Output, shown
from assistant_client.command_line.threads import NoThread, find_thread
from assistant_client.models import ActionResult, Draft, GenerateContext, Message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("thread", help="the name of a thread or of a person in it, or the thread's id")
    parser.add_argument("--max-tokens", type=int, default=256, help="the longest draft (256)")
    parser.add_argument("--temperature", type=float, default=0.7, help="how freely words are chosen, 0 to 2 (0.7)")
    parser.add_argument("--fresh", action="store_true", help="a new draft even if this one was made before")
    parser.add_argument("--json", action="store_true", help="the draft as JSON; asks nothing")
    then = parser.add_mutually_exclusive_group()
    then.add_argument("--accept", action="store_true", help="accept the draft without asking")
    then.add_argument("--edit", metavar="TEXT", help="say that you would have written this instead")
    then.add_argument("--reject", nargs="?", const="", metavar="REASON", help="reject the draft without asking")


def run(arguments: argparse.Namespace, client: Client) -> int:
    output = Output()
    conversation_id, name = find_thread(client, arguments.thread)
    message = _last_incoming(client, conversation_id, name)
    if not arguments.json:
        output.note(f"{message.sender_name or message.sender_id}: {message.text}")
    context = GenerateContext(max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    draft = _streamed(client, message, context, output, arguments)
    if draft.response is None:
        output.error("The draft was cancelled")
        return 1
    result = _act(client, draft, output, arguments)
    if arguments.json:
        output.json({"draft": draft, "action": result})
    elif result is not None:
        output.note(f"{result.action.capitalize()}ed: that is a sample to learn from")
    else:
        output.note(f"Nothing was said about draft {draft.response_id}; --accept, --edit TEXT and --reject do it without asking")
    return 0


def _last_incoming(client: Client, conversation_id: UUID, name: str) -> Message:
    for message in client.all_messages(conversation_id):
        if message.direction == "incoming" and message.message_type in {"text", "attachment"} and message.text:
            return message
    raise NoThread(f"Nobody has written anything in {name} that could be answered")


def _streamed(client: Client, message: Message, context: GenerateContext, output: Output, arguments: argparse.Namespace) -> Draft:
    with closing(client.stream_draft(message.id, context, fresh=arguments.fresh)) as parts:
        with output.notes.status("Reading the thread"):
            first = next(parts)
        for part in chain([first], parts):
            if isinstance(part, Draft):
                if not arguments.json:
                    output.line("")
                return part
            if not arguments.json:
                output.console.file.write(shown(part.text))
                output.console.file.flush()
    raise AssertionError("a draft's stream ends with the draft")


def _act(client: Client, draft: Draft, output: Output, arguments: argparse.Namespace) -> ActionResult | None:
    """Tell the gateway what became of the draft; asks if the arguments do not say, and there is somebody to ask."""
    if arguments.accept:
        return client.accept(draft.response_id)
    if arguments.edit is not None:
        return client.edit(draft.response_id, arguments.edit)
    if arguments.reject is not None:
        return client.reject(draft.response_id, arguments.reject or None)
    if arguments.json or not output.interactive:
        return None
    match input("[a]ccept, [e]dit, [r]eject, or Enter for nothing: ").strip().lower()[:1]:
        case "a":
            return client.accept(draft.response_id)
        case "e":
            text = _edited(draft.response or "")
            return client.edit(draft.response_id, text) if text.strip() else None
        case "r":
            return client.reject(draft.response_id, input("Why (Enter for no reason): ").strip() or None)
    return None


def _edited(text: str) -> str:
    """Asks for another text, beginning with this one where the terminal can do that."""
    with suppress(ImportError):
        import readline

        readline.set_startup_hook(lambda: readline.insert_text(shown(text).replace("\n", " ")))
        try:
            return input("> ")
        finally:
            readline.set_startup_hook(None)
    return input("> ")
