"""One trace through the gateway, the ML service and the worker, as a collector gets it."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import eventually
from tests.fixtures.workers import WorkerProcess
from tests.gateway.responses.situations import received

SECRET = "the key is under the third flowerpot"


class Collector:
    """Takes traces as any OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        """Each with the name of the service that it comes from."""
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing is said of a request."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = (each.value.string_value for each in resource.resource.attributes if each.key == "service.name")
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def names(self) -> set[tuple[str, str]]:
        return {(service, span.name) for service, span in self.spans}

    def ways(self) -> set[tuple[str, ...]]:
        """From the first span of each trace to each that caused no other, by their services and names."""
        by_id = {span.span_id: (service, span) for service, span in self.spans}
        parents = {span.parent_span_id for _, span in self.spans}

        def way(service: str, span: Any) -> tuple[str, ...]:
            before = by_id.get(span.parent_span_id)
            assert before is None or before[1].trace_id == span.trace_id
            return (*(way(*before) if before is not None else ()), f"{service}: {span.name}")

        return {way(service, span) for service, span in self.spans if span.span_id not in parents}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def traced(run_folder: Path, own_database_url: str, redis_url: str, collector: Collector) -> Iterator[Device]:
    """A device of a gateway, an ML service and a worker that are traced."""
    ml = ScriptedMlService(run_folder, redis_url, otel_exporter_otlp_endpoint=collector.url)
    gateway = GatewayProcess(
        run_folder, database_url=own_database_url, redis_url=redis_url, ml_service_url=ml.url, otel_exporter_otlp_endpoint=collector.url
    )
    worker = WorkerProcess(run_folder, redis_url=redis_url, ml_service_url=ml.url, otel_exporter_otlp_endpoint=collector.url)
    processes = (ml, gateway, worker)
    for process in processes:
        process.start()
    yield paired_device(gateway.url)
    for process in processes:
        process.stop()


def test_a_draft_is_one_trace_through_all_that_made_it(traced: Device, collector: Collector) -> None:
    message_id = received(traced, text=SECRET)
    body = {"messageId": message_id}
    traced.client.post("/api/responses/generate", json=body).raise_for_status()
    traced.client.post("/api/responses/generate", json=body, headers={"Prefer": "respond-async"}).raise_for_status()
    asked, generated = "gateway: POST /api/responses/generate", "ml_service: POST /generate"
    ways = {
        (asked, generated),
        (asked, "ml_service: POST /generate/async", "generation_worker: generation job", generated),
    }
    eventually(lambda: ways <= collector.ways())

    assert SECRET.encode() not in collector.raw
    assert str(message_id).encode() not in collector.raw


def test_a_stranger_decides_no_trace(traced: Device, collector: Collector) -> None:
    theirs = "0af7651916cd43dd8448eb211c80319c"
    traced.client.get("/api/conversations", headers={"traceparent": f"00-{theirs}-b7ad6b7169203331-01"}).raise_for_status()
    eventually(lambda: ("gateway", "GET /api/conversations") in collector.names())
    assert all(span.trace_id.hex() != theirs for _, span in collector.spans)
