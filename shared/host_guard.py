"""What a web page can reach of a service: nothing, unless it is the service's own page or one that the operator named.

A browser sends what any page asks it to send, also to services that listen on the user's own machine. Three things give such requests away:

- `Host` is the name that the browser looked up. A page may give a name of its own the address of this machine (DNS rebinding), so only
  names that belong to this service are answered. An address cannot be rebound.
- `Origin` is the page that asks, on everything but plain reading, whose answers the browser keeps from other pages.
- `Content-Type: application/json` is what no page may send elsewhere without asking first (the Fetch standard, section 2.2.2).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final

from msgspec import Meta

from shared.asgi import App, AsgiScope, Receive, Send, header_values, send_error
from shared.errors import AppError, Forbidden, Misdirected, UnsupportedMediaType

HostName = Annotated[str, Meta(pattern=r"^(\*|(\*\.)?[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}|[0-9A-Fa-f:.]{2,45})$")]
"""A name or an address without a port; `*.example.org` is every name below that one, `*` is every name."""
Origin = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]{0,30}://[^/*\s]{1,300}$")]
"""Scheme, host and port of a page, as browsers send it: `https://app.example.org`."""

ALLOWED_HOSTS: Final = (
    "Names by which the service is called, separated by commas: `assistant.example.org`, `*.example.org`, a service's name in a cluster."
    " Always allowed: loopback, and the addresses that HOST listens on. A request for another name is 421."
)

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS: Final = {"http": ":80", "https": ":443"}


class AllowedHosts:
    """Which hosts a service is called by: this machine's own names for itself, the address it listens on (a wildcard address stands for
    every address), and the names it was given.
    """

    def __init__(self, listening: str, names: Iterable[str]) -> None:
        lowered = [name.lower() for name in (*names, listening)]
        self._every = "*" in lowered
        self._names = frozenset(lowered)
        self._endings = tuple(name[1:] for name in lowered if name.startswith("*."))
        address = _address(listening)
        self._every_address = address is not None and address.is_unspecified

    def __contains__(self, host: str) -> bool:
        address = _address(host)
        if self._every or host in self._names or (address is not None and (self._every_address or address.is_loopback)):
            return True
        return host == "localhost" or host.endswith((".localhost", *self._endings))


class HostGuard:
    """Raw ASGI, in front of authentication: refuses what a page of somebody else may have sent.

    Pages of `origins` may ask for more than reading.
    """

    def __init__(self, app: App, *, hosts: AllowedHosts, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(origin.lower() for origin in origins)

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        error = self._fault(asgi_scope) if asgi_scope["type"] != "lifespan" else None
        if error is not None:
            await send_error(asgi_scope, send, error)
            return
        await self._app(asgi_scope, receive, send)

    def _fault(self, asgi_scope: AsgiScope) -> AppError | None:
        hosts = _values(asgi_scope, b"host")
        # What has no Host is no browser: some load balancers ask for the health so.
        if any(_without_port(host) not in self._hosts for host in hosts):
            return Misdirected("This service does not go by the name in the Host header; its operator can name it in ALLOWED_HOSTS")
        if asgi_scope["type"] == "http" and asgi_scope["method"] in _READING:
            return None
        for origin in _values(asgi_scope, b"origin"):
            if origin not in self._origins and not any(_same(origin, host) for host in hosts):
                return Forbidden("Pages of another origin may not do this; the operator can name that origin in CORS_ORIGINS")
        if asgi_scope["type"] == "http" and _has_body(asgi_scope) and _content_type(asgi_scope) != "application/json":
            return UnsupportedMediaType("Send the body as JSON, with the header `Content-Type: application/json`")
        return None


def _same(origin: str, host: str) -> bool:
    """Whether a page came from this very host. Its scheme is not compared: a proxy in front may speak TLS."""
    scheme, _, authority = origin.partition("://")
    port = _PORTS.get(scheme, "")
    return authority.removesuffix(port) == host.removesuffix(port)


def _has_body(asgi_scope: AsgiScope) -> bool:
    return bool(_values(asgi_scope, b"transfer-encoding")) or any(length != "0" for length in _values(asgi_scope, b"content-length"))


def _content_type(asgi_scope: AsgiScope) -> str:
    return "".join(_values(asgi_scope, b"content-type")[:1]).partition(";")[0].strip()


def _values(asgi_scope: AsgiScope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip().lower() for value in header_values(asgi_scope, name)]


def _without_port(host: str) -> str:
    """`localhost` of `localhost:3100`, `::1` of `[::1]:3100`; a name's last dot, which says that it is complete, says nothing else."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
