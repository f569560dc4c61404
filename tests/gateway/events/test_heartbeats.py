"""Whoever is silent for 20 seconds is still there."""

import base64
import os
import socket
import time

from tests.factories import Device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.gateway.events.readers import streaming

PING = 0x89
"""The first byte of a ping that is one frame (RFC 6455 section 5.2)."""


def test_sockets_are_pinged_and_streams_get_a_comment(gateway: GatewayProcess, owner: Device) -> None:
    begin = time.monotonic()
    with raw_socket(gateway, owner) as raw, streaming(gateway.url, owner.token) as events:
        opening = next(events)
        comment = next(events)
        first = raw.recv(1)[0]

    assert opening == {"retry": "2000", "comment": "events follow", "id": "0-0"}
    assert comment == {"comment": "heartbeat"}
    assert first == PING
    assert 19 < time.monotonic() - begin < 40  # not before they are due, and not only when the next ones are


def raw_socket(gateway: GatewayProcess, owner: Device) -> socket.socket:
    """An open WebSocket whose frames nobody answers."""
    raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_SECONDS)
    lines = [
        "GET /api/events HTTP/1.1",
        f"Host: 127.0.0.1:{gateway.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        f"Authorization: Bearer {owner.token}",
    ]
    raw.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += raw.recv(1)
    assert answer.startswith(b"HTTP/1.1 101")
    return raw
