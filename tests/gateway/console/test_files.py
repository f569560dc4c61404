"""The page and its files: what browsers are told of them, and that they are what they should be."""

import gzip
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest

from deploy.vendor import FOLDER as VENDORED
from deploy.vendor import PACKAGES, Package
from tests.factories import NO_TLS
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS

STATIC = VENDORED.parent
SCRIPTS = sorted(path for path in STATIC.rglob("*.js") if path.parent != VENDORED)
MOST_OF_THE_FIRST_PAINT = 150_000
"""Bytes over the wire of all that the first page loads."""


def fetched(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, verify=NO_TLS, timeout=PATIENCE_SECONDS)


def on_the_wire(url: str) -> tuple[httpx.Response, bytes]:
    """An answer, and its body as it was sent."""
    with httpx.stream("GET", url, verify=NO_TLS, timeout=PATIENCE_SECONDS) as answer:
        return answer, b"".join(answer.iter_raw())


def relative(path: Path) -> str:
    return path.relative_to(STATIC).as_posix()


def test_the_page_may_run_its_own_scripts_only(gateway: GatewayProcess) -> None:
    answer = fetched(f"{gateway.url}/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "worker-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "font-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "worker",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_page_has_no_script_and_no_style_of_its_own() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\bstyle=|\bon[a-z]+=", page) == []


@pytest.mark.parametrize("registration", ["open", "closed"])
def test_the_page_knows_whether_anybody_may_begin_an_account(
    gateway: GatewayProcess, second_gateway: GatewayProcess, registration: str
) -> None:
    url = gateway.url if registration == "open" else second_gateway.url
    assert f'data-registration="{registration}"' in fetched(f"{url}/").text


def test_a_browser_asks_each_time_and_loads_only_what_is_new(gateway: GatewayProcess) -> None:
    first = fetched(f"{gateway.url}/console/app.js")
    again = fetched(f"{gateway.url}/console/app.js", **{"If-None-Match": first.headers["etag"]})
    other = fetched(f"{gateway.url}/console/app.js", **{"If-None-Match": 'W/"another"'})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert other.status_code == 200


def test_files_are_sent_compressed_to_those_who_take_it(gateway: GatewayProcess) -> None:
    compressed, sent = on_the_wire(f"{gateway.url}/console/styles.css")
    plain = fetched(f"{gateway.url}/console/styles.css", **{"Accept-Encoding": "identity"})

    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(sent) == plain.content == (STATIC / "styles.css").read_bytes()
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("path", [*SCRIPTS, *VENDORED.glob("*.js")], ids=relative)
def test_every_script_is_there_and_says_what_it_is(gateway: GatewayProcess, path: Path) -> None:
    answer = fetched(f"{gateway.url}/console/{relative(path)}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.content == path.read_bytes()


@pytest.mark.parametrize("path", ["nothing.js", "index.html", "../files.py", "%2e%2e/files.py", "pages", ""])
def test_nothing_else_is_there(gateway: GatewayProcess, path: str) -> None:
    answer = fetched(f"{gateway.url}/console/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Not Found"


def test_no_address_of_the_console_is_part_of_the_api(gateway: GatewayProcess) -> None:
    paths = fetched(f"{gateway.url}/openapi.json").json()["paths"]
    assert [path for path in paths if path == "/" or path.startswith("/console")] == []


def test_all_that_the_first_page_loads_is_small(gateway: GatewayProcess) -> None:
    """Followed as a browser does it, from the page through every import that is not made later."""
    loaded: dict[str, int] = {}
    first = fetched(f"{gateway.url}/").text
    waiting = ["/"]
    while waiting:
        address = waiting.pop()
        if address in loaded:
            continue
        answer, sent = on_the_wire(f"{gateway.url}{address}")
        assert answer.status_code == 200, address
        loaded[address] = len(sent)
        text = gzip.decompress(sent).decode()
        found = re.findall(r'(?:src|href)="(/console/[^"]+)"', text) if address == "/" else imports(text)
        waiting += [str(httpx.URL(f"http://any{address}").join(name).path) for name in found]

    assert "/console/pages/thread.js" in loaded
    assert [address for address in loaded if address not in ("/", "/console/app.js") and f'href="{address}"' not in first] == []
    assert sum(loaded.values()) <= MOST_OF_THE_FIRST_PAINT, loaded


def imports(script: str) -> list[str]:
    return re.findall(r"""\b(?:from|import)\s*["'](\.[^"']+)["']""", script)


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_no_script_makes_markup_or_code_of_a_text(path: Path) -> None:
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySetInnerHTML|\beval\(|new Function|javascript:"
    assert re.findall(words, path.read_text()) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_what_is_vendored_is_what_the_manifest_says(package: Package) -> None:
    manifest = json.loads((VENDORED / "manifest.json").read_text())
    (entry,) = [entry for entry in manifest if entry["name"] == package.name]
    assert (entry["version"], entry["integrity"]) == (package.version, package.integrity)
    assert entry["licence"]
    assert any(name.endswith(".LICENSE") for name in entry["sha256"])
    assert {name: hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() for name in entry["sha256"]} == entry["sha256"]


def test_nothing_is_vendored_that_no_package_has() -> None:
    manifest = json.loads((VENDORED / "manifest.json").read_text())
    known = {name for entry in manifest for name in entry["sha256"]} | {"manifest.json"}
    assert {path.name for path in VENDORED.iterdir()} == known
