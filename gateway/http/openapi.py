"""The OpenAPI document and its page, which needs no internet: Swagger UI's files come from a wheel."""

from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from litestar import Request, get
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema, SecurityScheme
from litestar.router import Router
from litestar.static_files import create_static_files_router

from gateway.auth.authentication import PUBLIC
from shared.errors import ErrorBody

_ASSETS = "/docs-assets"

NO_TOKEN: list[dict[str, list[str]]] = [{}]
"""`security` of a `PUBLIC` handler."""
MAYBE_TOKEN: list[dict[str, list[str]]] = [{}, {"device": []}]
"""`security` of an `OPTIONAL` handler."""


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """The error answers that a handler can give, for its `responses`: `errors(400, 401, 403, 404)`.

    One that takes a body, and may refuse it for its size (413), may do so for its kind (415), too.
    """
    all_of_them = (*statuses, 415) if 413 in statuses else statuses
    return {
        status: ResponseSpec(data_container=ErrorBody, description=HTTPStatus(status).phrase, generate_examples=False)
        for status in all_of_them
    }


@dataclass
class StreamedOperation(Operation):
    """A handler whose 200 comes as server-sent events to those who ask for them."""

    def __post_init__(self) -> None:
        answer = (self.responses or {})["200"]
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            answer.content["text/event-stream"] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


def openapi_config() -> OpenAPIConfig:
    """`/openapi.json` and `/docs`; both are public, since they tell nothing that the project's own pages do not."""
    return OpenAPIConfig(
        title="Conversation Assistant",
        version="1",
        description="Sync message threads, get drafts in your own voice, teach it by what you accept, edit and reject.",
        components=Components(
            security_schemes={"device": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT", description="A device token.")}
        ),
        security=[{"device": []}],
        use_handler_docstrings=True,
        render_plugins=[
            SwaggerRenderPlugin(
                path="/",
                js_url=f"{_ASSETS}/swagger-ui-bundle.js",
                css_url=f"{_ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{_ASSETS}/swagger-ui-standalone-preset.js",
                favicon=f"<link rel='icon' href='{_ASSETS}/favicon-32x32.png'>",
            ),
        ],
        openapi_router=Router(path="/docs", route_handlers=[], opt=PUBLIC, include_in_schema=False),
    )


@get("/openapi.json", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def openapi_document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The document itself; an address of its own, because the framework answers unknown addresses next to its pages with HTML."""
    return request.app.openapi_schema.to_schema()


def docs_assets() -> Router:
    """Swagger UI's own files, from the wheel `drf-spectacular-sidecar` (of which nothing is imported)."""
    spec = find_spec("drf_spectacular_sidecar")
    if spec is None or spec.origin is None:
        raise RuntimeError("The wheel drf-spectacular-sidecar is not installed")
    folder = Path(spec.origin).parent / "static" / "drf_spectacular_sidecar" / "swagger-ui-dist"
    return create_static_files_router(path=_ASSETS, directories=[folder], opt=PUBLIC, include_in_schema=False)
