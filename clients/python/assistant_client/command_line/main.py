"""`assistant`: its commands, and what becomes of errors."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from assistant_client.client import Client
from assistant_client.command_line import devices, drafting, exporting, pairing, threads, training, watching
from assistant_client.command_line.output import Output
from assistant_client.errors import AssistantError, NotPaired, Refused, Unreachable
from assistant_client.exchange import Retries
from assistant_client.storage import FileStore, KeyringStore, TokenStore


class CommandModule(Protocol):
    """What a module of a command has; so has the importers' (`importers/command.py`)."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, arguments: argparse.Namespace, client: Client, /) -> int: ...


COMMANDS: dict[str, tuple[CommandModule, str]] = {
    "pair": (pairing, "pair this machine with a gateway"),
    "devices": (devices, "list the account's devices, add one, shut one out"),
    "threads": (threads, "list threads"),
    "draft": (drafting, "draft a reply, and say what you think of it"),
    "train": (training, "train a personal adapter on your replies"),
    "watch": (watching, "show what happens in the account"),
    "export": (exporting, "write all data of the account to a file"),
}
FAILED, NOT_PAIRED, AWAY, INTERRUPTED = 1, 3, 4, 130
"""Exit codes beside 0, and 2 for arguments that make no sense."""
_HASTY, _PATIENT, _ENDLESS = Retries(attempts=3), Retries(attempts=12), Retries(attempts=10_000)
"""For whoever waits before a screen; for an import, which takes minutes anyway; and for what shall run for days."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser(with_import=arguments[:1] == ["import"]).parse_args(arguments)
    output = Output()
    try:
        store = _store(parsed.keyring)
        with Client(_url(parsed), store, retries=_retries(parsed), on_wait=lambda error, seconds: _tell(output, error, seconds)) as client:
            code = int(parsed.run(parsed, client))
        sys.stdout.flush()
        return code
    except NotPaired as error:
        output.error(f"{error}. Pair it: assistant pair{f' --url {parsed.url}' if parsed.url else ''}")
        return NOT_PAIRED
    except Unreachable as error:
        output.error(f"{error}. Is the gateway running? `make run` in its folder starts it; --url names another address")
        return AWAY
    except Refused as error:
        output.error(_refusal(error))
        return FAILED
    except (AssistantError, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError):  # whoever reads has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        output.error(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser(*, with_import: bool) -> argparse.ArgumentParser:
    """`with_import`: with the arguments of `import`; no other command waits for all that importing needs."""
    parser = argparse.ArgumentParser(prog="assistant", description="Your conversation assistant from the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        _add(commands, name, summary, module)
    if find_spec("assistant_client.importers") is not None:
        summary = "import messages and contacts"
        if with_import:
            _add(commands, "import", summary, import_module("assistant_client.importers.command"))
        else:
            commands.add_parser("import", help=summary)
    return parser


def _add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, module: CommandModule) -> None:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.add_argument("--url", help="the gateway, such as http://127.0.0.1:3100; by default the one that this machine is paired with")
    parser.add_argument("--keyring", action="store_true", help="keep the token in the system's keyring, not in a file")
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)


def _url(parsed: argparse.Namespace) -> str | None:
    """The gateway that is meant; without one, the one that this machine is paired with. What sends nothing needs no pairing."""
    needs_none = parsed.command == "pair" or getattr(parsed, "dry_run", False)
    return parsed.url or (pairing.DEFAULT_URL if needs_none else None)


def _retries(parsed: argparse.Namespace) -> Retries:
    if parsed.command == "import":
        return _ENDLESS if getattr(parsed, "follow", False) else _PATIENT
    return _HASTY if parsed.command in {"pair", "devices", "threads"} else Retries()


def _store(keyring: bool) -> TokenStore:
    """The keyring if it was asked for, or if it has what no file has."""
    file = FileStore()
    if keyring or (not file.path.exists() and find_spec("keyring") is not None and _in_keyring()):
        return KeyringStore()
    return file


def _in_keyring() -> bool:
    try:
        return KeyringStore().load() is not None
    except AssistantError:  # no keyring that works here
        return False


def _refusal(error: Refused) -> str:
    fields = "".join(f"\n  {problem.field}: {problem.message}" for problem in error.details if problem.field not in error.message)
    request = f"\n  (request {error.request_id}, for the gateway's log)" if error.request_id and error.status >= 500 else ""
    return f"{error.message}{fields}{request}"


def _tell(output: Output, error: AssistantError, seconds: float) -> None:
    if seconds >= 1:
        output.note(f"{error}; trying again in {seconds:.0f} s")
