"""Traces: what a request caused in the gateway, the ML service and the workers. Nothing leaves a process unless an endpoint is set."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT: Final = "traceparent"
"""The header that says which span a request belongs to (W3C Trace Context)."""

_tracer: Final = trace.get_tracer("conversation-assistant")
_format: Final = TraceContextTextMapPropagator()


def configure_tracing(service: str, endpoint: str) -> None:
    """Send this process's spans, in batches, from a thread.

    Args:
        service: its name in the traces.
        endpoint: where OTLP over HTTP is taken, without `/v1/traces`; empty: nothing is traced.
    """
    if not endpoint:
        return
    # Imported by those who trace: half a second of a start.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, parent: str | None = None) -> Iterator[Span]:
    """A span around the block. What is raised is noted as an error without its text, which may quote a message.

    Args:
        name: of few different values; no ids.
        kind: what it is to others.
        parent: a `traceparent` from elsewhere; else it belongs to the span that is open here.
    """
    context = _format.extract({TRACEPARENT: parent}) if parent is not None else None
    with _tracer.start_as_current_span(name, context, kind, record_exception=False, set_status_on_exception=False) as opened:
        try:
            yield opened
        except Exception:
            opened.set_status(Status(StatusCode.ERROR))
            raise


def trace_headers() -> Mapping[str, str]:
    """Headers that make what is called a part of the open span; none where nothing is traced."""
    headers: dict[str, str] = {}
    _format.inject(headers)
    return headers


def traceparent() -> str | None:
    """The same as one value, to be kept with a job."""
    return trace_headers().get(TRACEPARENT)
