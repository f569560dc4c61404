"""`assistant devices`"""

import argparse
from typing import get_args
from uuid import UUID

from assistant_client.client import Client
from assistant_client.command_line.output import Output, moment
from assistant_client.device import this_device
from assistant_client.models import DeviceRegistration, Platform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--add", metavar="NAME", help="announce another device, and show the id and the code to type into it")
    parser.add_argument("--platform", choices=get_args(Platform), default="ios", help="what the added device is (ios)")
    parser.add_argument("--deactivate", type=UUID, metavar="ID", help="shut a device out, at once")
    parser.add_argument("--json", action="store_true", help="JSON, a line each")


def run(arguments: argparse.Namespace, client: Client) -> int:
    output = Output()
    if arguments.add is not None:
        registration = DeviceRegistration(
            name=arguments.add, hardware_id=this_device().hardware_id, platform=arguments.platform, os_version="unknown"
        )
        pairing = client.add_device(registration)
        output.line(f"Type into it, until {moment(pairing.expires_at)}:\n  device  {pairing.device_id}\n  code    {pairing.code}")
        output.note(f"With this program: assistant pair --url {client.url} --device {pairing.device_id} --code {pairing.code}")
    elif arguments.deactivate is not None:
        device = client.deactivate_device(arguments.deactivate)
        output.line(f"{device.name} is shut out")
    else:
        devices = client.devices()
        if arguments.json:
            for device in devices:
                output.json(device)
            return 0
        rows = [
            [
                device.name + (" (this one)" if device.current else ""),
                device.platform,
                device.status,
                moment(device.last_seen_at),
                str(device.id),
            ]
            for device in devices
        ]
        output.table(["name", "platform", "status", "last seen", "id"], rows)
    return 0
