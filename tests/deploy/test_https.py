"""Caddy before a gateway, as `make run HTTPS=1` starts it."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets.sync.client

from deploy.local.https import HttpsAddresses, HttpsProxy, own_names, qr_code
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port


@pytest.fixture(scope="module")
def proxy(run_folder: Path, gateway: GatewayProcess) -> Iterator[tuple[HttpsAddresses, HttpsProxy]]:
    folder = run_folder / "https"
    folder.mkdir()
    addresses = HttpsAddresses(names=["127.0.0.1", "localhost"], https_port=free_port(), http_port=free_port())
    proxy = HttpsProxy(folder, addresses, gateway.port, folder / "https.log")
    proxy.start()
    yield addresses, proxy
    proxy.stop()


def test_the_gateway_is_behind_a_certificate_that_only_its_own_authority_signed(proxy: tuple[HttpsAddresses, HttpsProxy]) -> None:
    addresses, caddy = proxy
    assert httpx.get(f"{addresses.gateway}/health/live", verify=ssl.create_default_context(cafile=str(caddy.authority))).status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{addresses.gateway}/health/live")


def test_the_page_hands_out_the_certificate_and_nothing_else(proxy: tuple[HttpsAddresses, HttpsProxy]) -> None:
    addresses, caddy = proxy
    page = httpx.get(addresses.page)
    assert addresses.gateway in page.text
    certificate = httpx.get(f"{addresses.page}/authority.crt")
    assert certificate.headers["content-type"] == "application/x-x509-ca-cert"
    assert certificate.text == caddy.authority.read_text()
    for path in ("/root.key", "/Caddyfile", "/health/live", "/api/conversations", "/../root.key"):
        assert httpx.get(f"{addresses.page}{path}").status_code == 404


def test_sockets_pass_through_it(proxy: tuple[HttpsAddresses, HttpsProxy]) -> None:
    addresses, caddy = proxy
    context = ssl.create_default_context(cafile=str(caddy.authority))
    url = addresses.gateway.replace("https", "wss") + "/api/events"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused, websockets.sync.client.connect(url, ssl=context):
        pass
    assert refused.value.response.status_code == 401


def test_its_keys_are_for_their_owner_only(proxy: tuple[HttpsAddresses, HttpsProxy]) -> None:
    _, caddy = proxy
    assert caddy.authority.with_name("root.key").stat().st_mode & 0o077 == 0


def test_loopback_is_always_among_its_names() -> None:
    assert {"127.0.0.1", "localhost"} <= set(own_names())


def test_an_address_is_a_square_of_blocks() -> None:
    lines = qr_code("http://192.168.1.20:3180").splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert abs(2 * len(lines) - len(lines[0])) <= 1
    assert set("".join(lines)) <= set("█▀▄ ")
