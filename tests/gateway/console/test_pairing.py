"""How a browser gets in and out: the button, a code, a link, two tabs, signing out, and a page of a stranger."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Route, expect

from tests.factories import Device, paired_device, registration
from tests.fixtures.browser import Chromium
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.gateway.console.visits import expect_live, visited

# A stranger's page sends with cookies, or shows the console inside itself.
SEND = "([url, method]) => fetch(url, {method, credentials: 'include'}).catch(() => 'refused')"
FRAME = """(url) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.onload = () => resolve(frame.contentDocument ? frame.contentDocument.title : "nothing");
  frame.src = url;
  document.body.append(frame);
})"""


@pytest.fixture
def owner(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def announced(owner: Device) -> tuple[str, str]:
    """The id and the code of a device that the owner announces."""
    pairing = owner.client.post("/api/devices/register", json=registration(platform="web", name="Desk")).json()
    return pairing["deviceId"], pairing["code"]


def test_one_button_begins_an_account(chromium: Chromium, gateway: GatewayProcess) -> None:
    page = visited(chromium, gateway.url)

    page.reload()

    expect(page.get_by_text("No threads yet")).to_be_visible()
    assert page.evaluate("Object.keys(sessionStorage).length") == 0
    assert page.evaluate("Object.keys(localStorage)") == ["console.browser"]
    assert page.evaluate("document.cookie") == ""


def test_a_code_is_typed_in(chromium: Chromium, gateway: GatewayProcess, owner: Device) -> None:
    device_id, code = announced(owner)
    page = chromium.open(f"{gateway.url}/")
    page.get_by_label("Device id").fill("not an id")
    page.get_by_role("button", name="Pair this browser").click()
    expect(page.get_by_text("A device id looks like")).to_be_visible()
    expect(page.get_by_label("Device id")).to_be_focused()

    page.get_by_label("Device id").fill(device_id)
    page.get_by_label("Code").fill(f"{(int(code) + 1) % 1_000_000:06d}")
    page.get_by_label("Code").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The code is not right")
    page.get_by_label("Code").fill(code)
    page.get_by_label("Code").press("Enter")

    expect_live(page)
    names = [(device["name"], device["status"]) for device in owner.client.get("/api/devices").json()["devices"]]
    assert ("Desk", "active") in names


def test_a_link_pairs_at_once_and_its_code_is_gone_from_the_address(chromium: Chromium, gateway: GatewayProcess, owner: Device) -> None:
    device_id, code = announced(owner)

    page = chromium.open(f"{gateway.url}/#/pair/{device_id}/{code}")

    expect_live(page)
    expect(page).to_have_url(f"{gateway.url}/#/threads")
    page.go_back()
    assert code not in page.url
    assert code not in gateway.log()


def test_a_link_that_does_not_work_says_why(chromium: Chromium, gateway: GatewayProcess, owner: Device) -> None:
    device_id, code = announced(owner)
    page = chromium.open(f"{gateway.url}/#/pair/{device_id}/{(int(code) + 1) % 1_000_000:06d}")
    expect(page.get_by_role("alert")).to_contain_text("The code is not right")
    assert code not in page.url


def test_where_registration_is_closed_the_page_says_how_to_get_a_code(chromium: Chromium, second_gateway: GatewayProcess) -> None:
    page = chromium.open(f"{second_gateway.url}/")
    expect(page.get_by_text("make pair")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_have_count(0)


def test_many_tabs_that_load_at_once_keep_the_session(chromium: Chromium, gateway: GatewayProcess) -> None:
    page = visited(chromium, gateway.url)
    tabs = [page.context.new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto(f"{gateway.url}/", wait_until="commit")
    for tab in tabs:
        expect_live(tab)
    for tab in tabs:
        tab.reload(wait_until="commit")
    for tab in tabs:
        expect_live(tab)


def test_an_answer_to_a_refresh_that_gets_lost_costs_nothing(chromium: Chromium, gateway: GatewayProcess) -> None:
    """The gateway answers, and the network breaks before the browser has it: cookie and token are lost."""
    page = visited(chromium, gateway.url)
    lost = []

    def lose(route: Route) -> None:
        lost.append(route.fetch())
        route.abort()

    page.route("**/console/session/refresh", lose, times=1)
    page.reload()
    expect(page.get_by_role("heading", name="The gateway does not answer")).to_be_visible()
    assert [answer.status for answer in lost] == [200]

    expect_live(page)  # it tries again by itself


def test_signing_out_ends_it_in_every_tab(chromium: Chromium, gateway: GatewayProcess) -> None:
    page = visited(chromium, gateway.url)
    other = page.context.new_page()
    other.goto(f"{gateway.url}/")
    expect_live(other)

    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("dialog").get_by_role("button", name="Sign out").click()

    for tab in (page, other):
        expect(tab.get_by_role("heading", name="Replies in your own voice")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    assert page.context.cookies() == []


def test_a_device_that_is_shut_out_is_at_the_door_at_once(chromium: Chromium, gateway: GatewayProcess, owner: Device) -> None:
    device_id, code = announced(owner)
    page = chromium.open(f"{gateway.url}/#/pair/{device_id}/{code}")
    expect_live(page)

    owner.client.post(f"/api/devices/{device_id}/deactivate").raise_for_status()

    expect(page.get_by_role("heading", name="Replies in your own voice")).to_be_visible()


@pytest.fixture
def strangers_page() -> Iterator[str]:
    """A page on another port of this machine: for cookies the same site."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>A stranger</title>")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", free_port()), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_page_of_a_stranger_cannot_use_the_session(chromium: Chromium, gateway: GatewayProcess, strangers_page: str) -> None:
    page = visited(chromium, gateway.url)
    stranger = page.context.new_page()
    stranger.goto(strangers_page)
    cookies = page.context.cookies()

    for path, method in (("/console/session/refresh", "POST"), ("/console/session", "DELETE")):
        stranger.evaluate(SEND, [f"{gateway.url}{path}", method])
    framed = stranger.evaluate(FRAME, f"{gateway.url}/")

    assert framed == "nothing"
    assert page.context.cookies() == cookies
    page.reload()
    expect_live(page)
    noted = [problem for problem in chromium.problems if not re.search(r"request to another host|frame-ancestors|CORS policy", problem)]
    chromium.problems[:] = noted  # what the stranger tried
