"""The browser's session over plain HTTP: the cookie, its rotation, lost answers, signing out, and pages of strangers."""

from http.cookies import Morsel, SimpleCookie
from uuid import uuid4

import httpx
import pytest

from tests.factories import NO_TLS, calls_from, new_address, paired_device, registration
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS

SESSION = "/console/session"
REFRESH = "/console/session/refresh"
NINETY_DAYS = 90 * 24 * 60 * 60


def browser(gateway: GatewayProcess) -> httpx.Client:
    """Keeps cookies, and calls from an address of its own."""
    return calls_from(gateway.url, new_address())


def announced(gateway: GatewayProcess) -> dict[str, str]:
    """A device that waits for its code: what somebody types into the page."""
    client = paired_device(gateway.url).client
    pairing = client.post("/api/devices/register", json=registration(platform="web")).json()
    return {"deviceId": pairing["deviceId"], "code": pairing["code"]}


def cookie_of(answer: httpx.Response) -> Morsel[str]:
    cookies = SimpleCookie(answer.headers["set-cookie"])
    return cookies["console_session"]


def works(gateway: GatewayProcess, token: str) -> bool:
    answer = httpx.get(f"{gateway.url}/api/devices", headers={"Authorization": f"Bearer {token}"}, verify=NO_TLS, timeout=PATIENCE_SECONDS)
    return answer.status_code == 200


@pytest.fixture
def paired(gateway: GatewayProcess) -> httpx.Client:
    """A browser with a session."""
    client = browser(gateway)
    assert client.post(SESSION, json=announced(gateway)).status_code == 200
    return client


def test_a_code_begins_a_session_whose_refresh_token_no_script_can_read(gateway: GatewayProcess) -> None:
    answer = browser(gateway).post(SESSION, json=announced(gateway))

    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "expiresAt"}
    assert works(gateway, answer.json()["token"])
    cookie = cookie_of(answer)
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "strict"
    assert cookie["path"] == SESSION
    assert cookie["max-age"] == str(NINETY_DAYS)
    assert not cookie["secure"]
    assert cookie["domain"] == ""
    assert answer.headers["cache-control"] == "no-store"


def test_over_https_the_cookie_goes_over_https_only(second_gateway: GatewayProcess, gateway: GatewayProcess) -> None:
    """The second gateway is behind a proxy that it trusts; the first one believes nobody."""
    behind_tls = {"X-Forwarded-Proto": "https", "X-Forwarded-For": new_address()}
    proof = announced(gateway)  # both have the same data
    answer = httpx.post(f"{second_gateway.url}{SESSION}", json=proof, headers=behind_tls, verify=NO_TLS, timeout=PATIENCE_SECONDS)
    assert cookie_of(answer)["secure"] is True

    unbelieved = browser(gateway).post(SESSION, json=announced(gateway), headers=behind_tls)
    assert not cookie_of(unbelieved)["secure"]


def test_a_wrong_code_begins_none(gateway: GatewayProcess) -> None:
    proof = announced(gateway)
    answer = browser(gateway).post(SESSION, json={**proof, "code": f"{(int(proof['code']) + 1) % 1_000_000:06d}"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_the_cookie_buys_a_token_again_and_again(gateway: GatewayProcess, paired: httpx.Client) -> None:
    cookies = []
    for _ in range(3):
        answer = paired.post(REFRESH)
        assert answer.status_code == 200
        assert works(gateway, answer.json()["token"])
        cookies.append(cookie_of(answer).value)
    assert len(set(cookies)) == 3


def test_without_a_cookie_there_is_no_session(gateway: GatewayProcess) -> None:
    answer = browser(gateway).post(REFRESH)
    assert answer.status_code == 401
    assert answer.json()["message"] == "This browser has no session here; pair it"


def test_an_answer_that_got_lost_is_given_again_with_its_cookie(gateway: GatewayProcess, paired: httpx.Client) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    old = dict(paired.cookies)
    lost = paired.post(REFRESH, headers=key)
    paired.cookies.clear()
    for name, value in old.items():  # neither the cookie nor the token arrived
        paired.cookies.set(name, value, domain="127.0.0.1", path=SESSION)

    again = paired.post(REFRESH, headers=key)

    assert again.json() == lost.json()
    assert cookie_of(again).value == cookie_of(lost).value
    assert paired.post(REFRESH, headers={"Idempotency-Key": uuid4().hex}).status_code == 200
    assert works(gateway, lost.json()["token"])


def test_an_answer_of_which_only_the_cookie_arrived_is_given_again(gateway: GatewayProcess, paired: httpx.Client) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    half_lost = paired.post(REFRESH, headers=key)

    again = paired.post(REFRESH, headers=key)

    assert again.json() == half_lost.json()
    assert works(gateway, again.json()["token"])


def test_signing_out_ends_the_tokens_and_takes_the_cookie_away(gateway: GatewayProcess, paired: httpx.Client) -> None:
    token = paired.post(REFRESH).json()["token"]
    copied = dict(paired.cookies)

    answer = paired.delete(SESSION)

    assert answer.status_code == 204
    assert (cookie_of(answer).value, cookie_of(answer)["max-age"], cookie_of(answer)["path"]) == ("", "0", SESSION)
    assert not works(gateway, token)
    thief = browser(gateway)
    for name, value in copied.items():
        thief.cookies.set(name, value, domain="127.0.0.1", path=SESSION)
    assert thief.post(REFRESH).status_code == 401


def test_signing_out_leaves_other_devices_alone_and_may_be_done_twice(gateway: GatewayProcess) -> None:
    other = paired_device(gateway.url)
    pairing = other.client.post("/api/devices/register", json=registration(platform="web")).json()
    client = browser(gateway)
    client.post(SESSION, json={"deviceId": pairing["deviceId"], "code": pairing["code"]})

    assert client.delete(SESSION).status_code == 204
    assert client.delete(SESSION).status_code == 204

    assert other.client.get("/api/devices").status_code == 200


def test_signing_out_late_does_not_end_a_newer_pairing(gateway: GatewayProcess) -> None:
    """A tab that slept through it has the cookie of a pairing that is void."""
    owner = paired_device(gateway.url)
    device = registration(platform="web")
    first, second = browser(gateway), browser(gateway)
    for client in (first, second):
        pairing = owner.client.post("/api/devices/register", json=device).json()
        client.post(SESSION, json={"deviceId": pairing["deviceId"], "code": pairing["code"]})

    assert first.delete(SESSION).status_code == 204

    assert second.post(REFRESH).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("POST", REFRESH), ("DELETE", SESSION), ("POST", SESSION)])
def test_a_page_of_a_stranger_can_use_none_of_it(gateway: GatewayProcess, paired: httpx.Client, method: str, path: str) -> None:
    """Another port of the same machine is the same site to a browser, so it sends the cookie; the gateway looks at the origin."""
    body = announced(gateway) if (method, path) == ("POST", SESSION) else None
    answer = paired.request(method, path, json=body, headers={"Origin": "http://127.0.0.1:8000"})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert paired.post(REFRESH, headers={"Origin": gateway.url}).status_code == 200


def test_the_cookie_opens_nothing_else(paired: httpx.Client) -> None:
    value = next(iter(dict(paired.cookies).values()))
    answer = paired.get("/api/devices", headers={"Cookie": f"console_session={value}"})
    assert answer.status_code == 401
