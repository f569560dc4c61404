"""The console: the page at `/`, its files, and the browser's session. Everything else it asks of the public API."""

from typing import Any, Final

from litestar import Controller, Request, Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from gateway.auth.authentication import PUBLIC
from gateway.console.files import ConsoleFiles, File
from gateway.console.schemas import SessionToken
from gateway.devices.schemas import Refresh, Tokens, Verification
from gateway.devices.service import REFRESH_LIFETIME, DeviceService
from gateway.http.forwarding import provide_client_address
from gateway.idempotency.middleware import IDEMPOTENT
from gateway.limits.bodies import SMALL_BODY
from shared.errors import NotFound, Unauthorized

COOKIE: Final = "console_session"
_SESSION: Final = "/console/session"

# Scripts and styles are files of ours, data goes to this gateway only, and no text can become markup or script: the one policy of trusted
# types that may be made, `worker`, names a file of ours.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types worker",
    )
)


class ConsoleController(Controller):
    path = "/"
    opt = PUBLIC
    include_in_schema = False
    dependencies = {"client_address": Provide(provide_client_address, sync_to_thread=False)}  # noqa: RUF012

    @get("/", sync_to_thread=False)
    def page(self, request: Request[Any, Any, Any], console_files: NamedDependency[ConsoleFiles]) -> Response[bytes]:
        return _answer(request, console_files.index)

    @get("/console/{name:path}", sync_to_thread=False)
    def file(self, request: Request[Any, Any, Any], console_files: NamedDependency[ConsoleFiles], name: FromPath[str]) -> Response[bytes]:
        found = console_files.find(name.lstrip("/"))
        if found is None:
            raise NotFound("The console has no such file; open / for the console")
        return _answer(request, found)

    @post("/console/session", status_code=200, opt={**IDEMPOTENT, **SMALL_BODY})
    async def begin(
        self,
        request: Request[Any, Any, Any],
        devices: NamedDependency[DeviceService],
        client_address: NamedDependency[str],
        data: JSONBody[Verification],
    ) -> Response[SessionToken]:
        """As `POST /api/devices/verify`, with the refresh token in the cookie."""
        return _session(request, await devices.verify(data, client_address))

    @post("/console/session/refresh", status_code=200, opt={**IDEMPOTENT, **SMALL_BODY})
    async def refresh(self, request: Request[Any, Any, Any], devices: NamedDependency[DeviceService]) -> Response[SessionToken]:
        """As `POST /api/devices/refresh`, from cookie to cookie. An `Idempotency-Key` gives a lost answer again, with its cookie."""
        refresh_token = request.cookies.get(COOKIE)
        if not refresh_token:
            raise Unauthorized("This browser has no session here; pair it")
        return _session(request, await devices.refresh(Refresh(refresh_token=refresh_token)))

    @delete("/console/session")
    async def end(self, request: Request[Any, Any, Any], devices: NamedDependency[DeviceService]) -> Response[None]:
        """Sign out: the browser's tokens are void, and the cookie goes."""
        if refresh_token := request.cookies.get(COOKIE):
            await devices.sign_out(Refresh(refresh_token=refresh_token))
        return Response(None, status_code=204, cookies=[_cookie(request, "", max_age=0)])


def _session(request: Request[Any, Any, Any], tokens: Tokens) -> Response[SessionToken]:
    cookie = _cookie(request, tokens.refresh_token, max_age=int(REFRESH_LIFETIME.total_seconds()))
    return Response(SessionToken(token=tokens.token, expires_at=tokens.expires_at), cookies=[cookie])


def _cookie(request: Request[Any, Any, Any], value: str, max_age: int) -> Cookie:
    """No script reads it, no other site's page sends it, and no other address gets it."""
    secure = request.scope["scheme"] == "https"  # as the proxy said, if it is one of TRUSTED_PROXIES
    return Cookie(key=COOKIE, value=value, path=_SESSION, max_age=max_age, httponly=True, samesite="strict", secure=secure)


def _answer(request: Request[Any, Any, Any], file: File) -> Response[bytes]:
    """The file, or 304 to a browser that has it. `no-cache` has it ask each time, so that a new version is there at once."""
    compressed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "ETag": f'W/"{file.etag}"',
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": _POLICY,
    }
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    if compressed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.compressed if compressed else file.content, media_type=file.kind, headers=headers)
