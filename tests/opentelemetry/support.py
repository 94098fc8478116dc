"""An OpenTelemetry set-up whose spans and metrics can be looked at, and a governed graph that uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langgraph.graph import START, MessagesState
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from budgeted_agents import Budget, BudgetedGraph, OpenTelemetryRecorder, budgeted_model
from budgeted_agents.testing import LocalProvider
from tests.attach.support import openai

SECRET = "the secret of the kitchen"


@dataclass
class SetUp:
    """A user's providers, with what they were given kept in memory."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader])
        self.tracer = self.tracer_provider.get_tracer("the application")

    def recorder(self, **settings: Any) -> OpenTelemetryRecorder:
        return OpenTelemetryRecorder(self.tracer_provider, self.meter_provider, **settings)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Those that begin like this, in the order they ended."""
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(name)]

    def points(self) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
        """Every metric's name, attributes and point."""
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield metric.name, point.attributes or {}, point


def app_on(provider: LocalProvider, *, calls: int = 2, budget: Budget | None = None, **settings: Any) -> Any:
    """A graph that calls a model some times in one node."""
    model = budgeted_model(openai(provider))

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke([("user", f"{SECRET} {number}")]) for number in range(calls)]}

    graph: Any = BudgetedGraph(MessagesState, budget=budget or Budget(usd="1.00"), **settings)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    return graph.compile()
