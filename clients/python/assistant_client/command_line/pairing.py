"""`assistant pair`"""

import argparse
from uuid import UUID

from assistant_client.client import Client
from assistant_client.command_line.output import Output
from assistant_client.errors import Forbidden, NotPaired, Unauthorized

DEFAULT_URL = "http://127.0.0.1:3100"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="what this machine is called; by default its own name")
    parser.add_argument("--device", type=UUID, metavar="ID", help="the device id that another device or the operator was given")
    parser.add_argument("--code", help="the six digits that came with it")
    parser.add_argument("--again", action="store_true", help="pair anew though this machine is paired")


def run(arguments: argparse.Namespace, client: Client) -> int:
    output = Output()
    if (arguments.device is None) != (arguments.code is None):
        output.error("--device and --code come together")
        return 2
    if not arguments.again and (problem := _in_the_way(arguments, client)):
        output.error(problem)
        return 1
    try:
        credentials = client.pair(arguments.name, device_id=arguments.device, code=arguments.code)
    except Forbidden as error:
        output.error(f"{error}\nThen: assistant pair --device ID --code CODE")
        return 1
    except Unauthorized as error:
        output.error(str(error))
        return 1
    output.line(f"Paired with {client.url}: device {credentials.device_id} of account {credentials.account_id}")
    output.note("Next: assistant import FILE, or assistant threads")
    return 0


def _in_the_way(arguments: argparse.Namespace, client: Client) -> str | None:
    """Why a pairing would lose one that is there."""
    if client.paired_with is None:
        return None
    if client.paired_with != client.url:
        return f"This machine is paired with {client.paired_with}. --again pairs it with {client.url} instead"
    if arguments.device is not None:
        return None
    try:
        client.devices()
    except (NotPaired, Forbidden):  # it is good for nothing any more
        return None
    return f"This machine is paired with {client.url} already. --again pairs it anew, with a new account"
