"""Pages of the public web, and of nothing else: no address of this machine, of the local network or of a provider's inside is reached.

The name is looked up here, every address that it has is checked, and the connection is made to one that was checked: whoever answers for
the name cannot exchange it in between. The same is done for each redirect.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import httpx
from lxml import etree, html

Address = IPv4Address | IPv6Address
MOST_BYTES: Final = 2 * 2**20
MOST_CHARACTERS: Final = 40_000
SECONDS: Final = 20.0
MOST_REDIRECTS: Final = 5
_TEXT: Final = ("text/", "application/json", "application/xml", "application/xhtml+xml")
_NAT64: Final = ip_network("64:ff9b::/96")


class PageRefused(Exception):
    """A page is not read; the message says why, and is shown to the model and to clients."""


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet, also of those that hide an IPv4 address in an IPv6 one."""
    if isinstance(address, IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo is not None else None)
        if address in _NAT64:
            hidden = IPv4Address(int(address) & 0xFFFFFFFF)
        if hidden is not None:
            return is_public(hidden)
    return address.is_global and not address.is_multicast


class WebPages:
    """Reads pages.

    Args:
        allowed: which addresses may be reached.
        seconds: how long a page may take, with all that leads to it.
    """

    def __init__(self, allowed: Callable[[Address], bool] = is_public, seconds: float = SECONDS) -> None:
        self._allowed = allowed
        self._seconds = seconds

    async def text(self, url: str) -> tuple[str, str]:
        """The address where a page was found in the end, and its text.

        Raises:
            PageRefused: it is not to be had, or not to be read.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._text(url)
        except TimeoutError:
            raise PageRefused(f"{url} took longer than {self._seconds:.0f} s") from None
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise PageRefused(f"{url} cannot be read ({type(error).__name__})") from error

    async def _text(self, url: str) -> tuple[str, str]:
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            for _ in range(MOST_REDIRECTS + 1):
                parsed = _parsed(url)
                request = await self._request(client, parsed)
                response = await client.send(request, stream=True)
                try:
                    if response.is_redirect:
                        url = str(parsed.join(response.headers["location"]))
                        continue
                    if response.status_code != 200:
                        raise PageRefused(f"{url} answers with {response.status_code}")
                    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                    if not kind.startswith(_TEXT):
                        raise PageRefused(f"{url} is no text but {kind or 'of an unknown kind'}")
                    content = await _content(response)
                    charset = response.charset_encoding or "utf-8"
                finally:
                    await response.aclose()
                return url, await asyncio.to_thread(readable, content, charset, kind)
        raise PageRefused(f"{url} leads from one address to the next too often")

    async def _request(self, client: httpx.AsyncClient, url: httpx.URL) -> httpx.Request:
        """A request to one of the name's addresses, all of which were checked."""
        address = await self._address(url)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "conversation-assistant",
            "Accept": "text/html,text/plain,*/*;q=0.5",
            "Accept-Encoding": "identity",  # a little that unpacks into a lot is nothing to ask for
        }
        return client.build_request("GET", url.copy_with(host=str(address)), headers=headers, extensions={"sni_hostname": url.host})

    async def _address(self, url: httpx.URL) -> Address:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(url.host, url.port or 0, type=socket.SOCK_STREAM)
        except OSError as error:
            raise PageRefused(f"There is no host {url.host}") from error
        addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if not addresses or not all(self._allowed(address) for address in addresses):
            raise PageRefused(f"{url.host} is not on the public web")
        return addresses[0]


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise PageRefused(f"{url} is no address of a page") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise PageRefused(f"{url}: only http and https addresses are read")
    if parsed.userinfo:
        raise PageRefused(f"{parsed.host}: addresses with a user's name are not read")
    return parsed.copy_with(fragment=None)


async def _content(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MOST_BYTES:
            raise PageRefused(f"The page has more than {MOST_BYTES // 2**20} MiB")
    return bytes(content)


def readable(content: bytes, charset: str, kind: str) -> str:
    """The text of what was sent, as much of it as a model may read."""
    try:
        text = content.decode(charset, "replace")
    except LookupError:  # nobody knows this charset
        text = content.decode("utf-8", "replace")
    if "html" in kind:
        text = _shown(text)
    return text[:MOST_CHARACTERS]


def _shown(page: str) -> str:
    """What a reader of a page in HTML sees. libxml2 takes half a second for the worst 2 MiB; Python's own parser would take minutes."""
    try:
        root = html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True))
    except etree.ParserError:  # there is nothing on it
        return ""
    etree.strip_elements(root, "script", "style", "noscript", "template", "svg", with_tail=False)
    return "\n".join(filter(None, (text.strip() for text in root.itertext())))
