from typing import Annotated

from msgspec import Meta

from gateway.workspace.tools.base import ToolContext, ToolFailed, ToolInput, ToolResult
from gateway.workspace.tools.web import PageRefused, WebPages


class FetchWebPageInput(ToolInput, frozen=True, kw_only=True):
    url: Annotated[str, Meta(min_length=1, max_length=2_000)]


class FetchWebPage:
    """Reads a page of the public web as text."""

    name = "fetch_web_page"
    description = "Read a page of the public web as text."
    input_type = FetchWebPageInput

    def __init__(self, pages: WebPages) -> None:
        self._pages = pages

    async def run(self, _: ToolContext, wanted: FetchWebPageInput) -> ToolResult:
        try:
            url, text = await self._pages.text(wanted.url)
        except PageRefused as error:
            raise ToolFailed(str(error)) from error
        return ToolResult({"url": url, "text": text}, f"Read {url}", untrusted=True)
