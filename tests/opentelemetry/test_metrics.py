"""Metrics add up to what the ledger says, and leave by OpenTelemetry's own exporters: Prometheus, OTLP over HTTP."""

from __future__ import annotations

import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import start_http_server

from budgeted_agents import Budget, OpenTelemetryRecorder, open_ledger
from budgeted_agents.integrations.opentelemetry.instruments import MOST_ACCOUNTS
from budgeted_agents.testing import LocalProvider
from tests.opentelemetry.support import SetUp, app_on
from tests.traces.support import a_call

INPUT: Any = {"messages": []}


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}, "metadata": {"tenant": "acme"}}


def totals(set_up: SetUp) -> Counter[str]:
    """Counters by their values, histograms by their sums."""
    found: Counter[str] = Counter()
    for name, _, point in set_up.points():
        found[name] += point.sum if hasattr(point, "sum") else point.value
    return found


def test_they_add_up_to_the_ledger(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, calls=3, recorders=(set_up.recorder(),))
    for name in ("t1", "t2"):
        app.invoke(INPUT, thread(name))
    reports = [app.spend(thread(name)) for name in ("t1", "t2")]
    found = totals(set_up)
    assert found["budget.cost"] == pytest.approx(provider.bill_nanos / 1e9)
    assert found["gen_ai.client.token.usage"] == sum(report.input_tokens + report.output_tokens for report in reports)
    took = sum(call.ended_at - call.started_at for report in reports for call in report.calls)
    assert found["gen_ai.client.operation.duration"] == pytest.approx(took)


def test_they_say_by_model_and_by_what_is_wanted(provider: LocalProvider, set_up: SetUp) -> None:
    app_on(provider, recorders=(set_up.recorder(dimensions=("tenant", "feature")),)).invoke(INPUT, thread("t1"))
    (cost,) = [about for name, about, _ in set_up.points() if name == "budget.cost"]
    assert cost == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.provider.name": "openai",
        "budget.outcome": "settled",
        "budget.attribution.tenant": "acme",
        "budget.attribution.feature": "",
    }
    kinds = {about["gen_ai.token.type"] for name, about, _ in set_up.points() if name == "gen_ai.client.token.usage"}
    assert kinds == {"input", "output"}


def test_refusals_and_downgrades_are_counted(provider: LocalProvider, set_up: SetUp) -> None:
    app_on(provider, calls=4, budget=Budget(model_calls=3), recorders=(set_up.recorder(),)).invoke(INPUT, thread("t1"))
    assert totals(set_up)["budget.refusals"] == 1
    recorder = set_up.recorder()
    recorder.call(a_call())  # asked for gpt-4o, made by gpt-4o-mini
    recorder.call(a_call(model_used="openai/gpt-4o"))
    assert totals(set_up)["budget.downgrades"] == 1


def test_utilization_is_read_from_the_ledger_when_it_is_asked_for(provider: LocalProvider, set_up: SetUp) -> None:
    ledger = open_ledger("memory://")
    app = app_on(provider, budget=Budget(model_calls=8), ledger=ledger, recorders=(set_up.recorder(ledger=ledger),))
    for used in (0.25, 0.5):
        app.invoke(INPUT, thread("t1"))
        shares = {about["budget.account"]: p.value for name, about, p in set_up.points() if "utilization" in name}
        assert shares == {"session|session=t1||model_calls": used}


def test_no_more_accounts_are_observed_than_is_bearable(set_up: SetUp) -> None:
    ledger = open_ledger("memory://")
    recorder = set_up.recorder(ledger=ledger)
    for number in range(MOST_ACCOUNTS + 5):
        recorder.call(a_call(holds=((f"session|session={number}||usd", 10, 1),)))
    seen = [about["budget.account"] for name, about, _ in set_up.points() if "utilization" in name]
    assert (len(seen), seen[0]) == (MOST_ACCOUNTS, "session|session=5||usd")


def test_prometheus_scrapes_them(provider: LocalProvider) -> None:
    reader = PrometheusMetricReader()
    server, serving_thread = start_http_server(0, "127.0.0.1")
    ledger = open_ledger("memory://")
    meters = MeterProvider([reader])
    recorders = (OpenTelemetryRecorder(TracerProvider(), meters, ledger=ledger),)
    app = app_on(provider, budget=Budget(usd="1", model_calls=3), calls=4, ledger=ledger, recorders=recorders)
    try:
        app.invoke(INPUT, thread("t1"))
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        serving_thread.join()
        meters.shutdown()
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    named = {name.partition("{")[0] for name in values}
    assert {"budget_refusals_total", "gen_ai_client_token_usage_bucket", "budget_utilization"} <= named
    (cost,) = [float(value) for name, value in values.items() if name.startswith("budget_cost_total")]
    assert cost == pytest.approx(provider.bill_nanos / 1e9)


class Collector(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP, as a collector does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def collecting() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        received: list[tuple[str, bytes]] = []
        server.received = received  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_a_collector_gets_spans_and_metrics_over_http(provider: LocalProvider) -> None:
    with collecting() as (url, received):
        tracers = TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"))])
        app_on(provider, recorders=(OpenTelemetryRecorder(tracers, meters),)).invoke(INPUT, thread("t1"))
        tracers.shutdown()
        meters.shutdown()
    spans = [ExportTraceServiceRequest.FromString(body) for path, body in received if path == "/v1/traces"]
    names = [span.name for each in spans for part in each.resource_spans[0].scope_spans for span in part.spans]
    assert names == ["chat gpt-4o"] * 2
    told = [ExportMetricsServiceRequest.FromString(body) for path, body in received if path == "/v1/metrics"]
    metrics = {m.name for each in told for part in each.resource_metrics[0].scope_metrics for m in part.metrics}
    assert {"budget.cost", "gen_ai.client.token.usage", "gen_ai.client.operation.duration"} <= metrics
