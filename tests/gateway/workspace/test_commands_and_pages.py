"""What a model may run, and which pages it may read."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from gateway.workspace.tools.base import ToolFailed
from gateway.workspace.tools.run_command import RunCommand, RunCommandInput
from gateway.workspace.tools.web import MOST_BYTES, PageRefused, WebPages, is_public, readable
from tests.fixtures.processes import gone
from tests.fixtures.waiting import eventually
from tests.gateway.workspace.projects import Context

PYTHON = sys.executable


def test_an_allowed_command_runs_in_the_root_with_a_bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_KEYS", "secret")
    code = "import os, sys; print(os.getcwd(), os.environ.get('JWT_KEYS')); print('no', file=sys.stderr); sys.exit(3)"
    context = Context(tmp_path, [f'{PYTHON} -c "{code}"'])

    result = context.use("run_command", command=PYTHON, args=["-c", code])

    assert result.data["code"] == 3
    assert result.data["stdout"] == f"{tmp_path.resolve()} None\n"
    assert result.data["stderr"] == "no\n"


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("deno task tool:testX", []),
        ("deno task tool:test; ls", []),
        ("deno task tool:test", ["--allow-all"]),
        ("deno", ["task", "tool:test", ""]),
        ("deno task", ["tool:test && ls"]),
        ("/bin/sh", ["-c", "deno task tool:test"]),
        ("deno task 'tool:test", []),
    ],
)
def test_what_only_begins_like_an_allowed_command_is_refused(tmp_path: Path, command: str, args: list[str]) -> None:
    with pytest.raises(ToolFailed):
        Context(tmp_path, ["deno task tool:test"]).use("run_command", command=command, args=args)


def test_a_command_that_is_not_installed_says_so(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="not installed"):
        Context(tmp_path, ["no-such-program-anywhere"]).use("run_command", command="no-such-program-anywhere")


def test_a_command_that_takes_too_long_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600']); open('pid', 'w').write(str(p.pid)); time.sleep(600)"
    context = Context(tmp_path, [f'{PYTHON} -c "{code}"'])

    with pytest.raises(ToolFailed, match="took longer"):
        asyncio.run(RunCommand(seconds=3).run(context, RunCommandInput(command=PYTHON, args=["-c", code])))

    child = int((tmp_path / "pid").read_text())
    eventually(lambda: not psutil.pid_exists(child) or gone(psutil.Process(child)))


def test_output_without_end_is_cut_and_not_kept(tmp_path: Path) -> None:
    code = "import sys; [sys.stdout.write('x' * 65536) for _ in range(200)]"
    data = Context(tmp_path, [f'{PYTHON} -c "{code}"']).use("run_command", command=PYTHON, args=["-c", code]).data
    assert len(data["stdout"]) == 64 * 1024


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


def test_addresses_that_are_public() -> None:
    assert is_public(ip_address("1.1.1.1"))
    assert is_public(ip_address("2606:4700:4700::1111"))


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: _Server = self.server  # type: ignore[assignment]
        server.asked.append((self.path, self.headers["Host"]))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "image/png" if self.path == "/image" else "text/html; charset=utf-8")
        self.end_headers()
        try:
            if self.path == "/large":
                for _ in range(MOST_BYTES // 65_536 + 2):
                    self.wfile.write(b"x" * 65_536)
            elif self.path == "/endless":
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.02)
            else:
                self.wfile.write("<h1>Grüße</h1><script>bad()</script><p>Text</p>".encode())
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(HTTPServer):
    asked: list[tuple[str, str]]


@contextmanager
def serving() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_page_is_read_as_text() -> None:
    with serving() as (url, asked):
        found, text = asyncio.run(WebPages(allowed=lambda _: True).text(f"{url}/to/{url}/page"))
    assert (found, text) == (f"{url}/page", "Grüße\nText")
    assert asked[0] == (f"/to/{url}/page", url.removeprefix("http://"))


@pytest.mark.parametrize("scheme", ["http://127.0.0.1", "http://localhost", "http://[::ffff:127.0.0.1]", "http://0", "http://2130706433"])
def test_pages_of_this_machine_are_not_read(scheme: str) -> None:
    with serving() as (url, asked):
        with pytest.raises(PageRefused):
            asyncio.run(WebPages().text(f"{scheme}:{url.rpartition(':')[2]}/page"))
        assert asked == []


def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    port = ""

    def only_the_first(address: object) -> bool:
        return next(answers)

    answers = iter([True, False])
    with serving() as (url, asked):
        port = url.rpartition(":")[2]
        with pytest.raises(PageRefused, match="not on the public web"):
            asyncio.run(WebPages(allowed=only_the_first).text(f"{url}/to/http://127.0.0.1:{port}/page"))
        assert len(asked) == 1


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(*_: object, **__: object) -> list[tuple[object, object, object, str, tuple[str, int]]]:
        return [(2, 1, 6, "", ("1.1.1.1", 80)), (2, 1, 6, "", ("127.0.0.1", 80))]

    async def read() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both, raising=False)
        await WebPages().text("http://rebinding.example/")

    with pytest.raises(PageRefused, match="not on the public web"):
        asyncio.run(read())


def test_a_name_is_looked_up_once_and_what_was_found_is_what_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has another address at the next look leads nowhere else."""
    looked_up: list[object] = []

    async def another_each_time(name: object, port: int, **_: object) -> list[tuple[object, object, object, str, tuple[str, int]]]:
        looked_up.append(name)
        return [(2, 1, 6, "", (f"127.0.0.{len(looked_up)}", port))]

    async def read(port: str) -> tuple[str, str]:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", another_each_time, raising=False)
        return await WebPages(allowed=lambda address: str(address) == "127.0.0.1").text(f"http://rebinding.example:{port}/page")

    with serving() as (url, asked):
        port = url.rpartition(":")[2]
        assert asyncio.run(read(port))[1] == "Grüße\nText"
        assert looked_up == ["rebinding.example"]
        assert asked == [("/page", f"rebinding.example:{port}")]


@pytest.mark.parametrize("piece", ["<div>", "<a href='x'>", "<", "<!--", "&#", "<p ", "<p>x", "<b><i>", "<![CDATA[", "<a b='c' "])
def test_no_page_keeps_the_gateway_busy(piece: str) -> None:
    began = time.process_time()
    readable((piece * MOST_BYTES)[:MOST_BYTES].encode(), "utf-8", "text/html")
    assert time.process_time() - began < 5


def test_a_page_without_an_end_is_given_up() -> None:
    with serving() as (url, _), pytest.raises(PageRefused, match="took longer"):
        asyncio.run(WebPages(allowed=lambda _: True, seconds=1).text(f"{url}/endless"))


@pytest.mark.parametrize("url", ["ftp://example.org/", "file:///etc/passwd", "http://user:pass@example.org/", "gopher:x", "http://", "x"])
def test_only_plain_web_addresses_are_read(url: str) -> None:
    with pytest.raises(PageRefused):
        asyncio.run(WebPages(allowed=lambda _: True).text(url))


def test_what_is_too_large_or_no_text_is_not_read() -> None:
    with serving() as (url, _):
        pages = WebPages(allowed=lambda _: True)
        with pytest.raises(PageRefused, match="more than"):
            asyncio.run(pages.text(f"{url}/large"))
        with pytest.raises(PageRefused, match="no text"):
            asyncio.run(pages.text(f"{url}/image"))
        with pytest.raises(PageRefused, match="too often"):
            asyncio.run(pages.text(f"{url}/to/" * 9 + f"{url}/page"))
