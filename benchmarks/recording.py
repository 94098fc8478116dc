"""What recording adds to an agent step, against what OpenInference's LangChain instrumentation adds, in the same run.

    pip install openinference-instrumentation-langchain    # not among the development dependencies
    python -m benchmarks.recording

The step is that of ``benchmarks.agent_step``: one model call and one tool call through LangGraph. Ours writes both as
lines of a journal and as spans of an OpenTelemetry SDK; the other makes spans of the same SDK. What metrics add is
printed beside, as the other has none. Exporters that drop what they get, CPU time, interleaved, medians of the paired
differences.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider

from benchmarks.agent_step import BUDGET, FakeModel, build, history_of, step
from budgeted_agents import BudgetedGraph, OpenTelemetryRecorder

GOAL = 0.1
ROUNDS, WARM_UP, MESSAGES = 300, 30, 20
INSTALL = "pip install openinference-instrumentation-langchain"


class Dropping(SpanExporter):
    """Counts spans and keeps none."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


def provider() -> tuple[TracerProvider, Dropping]:
    exporter, tracers = Dropping(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    return tracers, exporter


@contextmanager
def untouched() -> Any:
    yield


def instrumented(instrumentor: Any, tracers: TracerProvider) -> Callable[[], Any]:
    """OpenInference is on inside the block and off outside; to switch it is not timed."""

    @contextmanager
    def block() -> Any:
        instrumentor.instrument(tracer_provider=tracers)
        try:
            yield
        finally:
            instrumentor.uninstrument()

    return block


def median_added(times: dict[str, list[float]], name: str, base: str) -> float:
    """Microseconds a step takes longer than the one measured next to it."""
    return statistics.median(more - less for more, less in zip(times[name], times[base], strict=True)) * 1e6


def measured(journal: Path, instrumentor: Any) -> tuple[dict[str, list[float]], int, int]:
    """CPU seconds of each step by kind; and the spans that ours and OpenInference made."""
    (tracers, ours), (other_tracers, theirs) = provider(), provider()
    governed = partial(BudgetedGraph, budget=BUDGET)
    spans = OpenTelemetryRecorder(tracers, NoOpMeterProvider())
    metrics = OpenTelemetryRecorder(NoOpTracerProvider(), MeterProvider([InMemoryMetricReader()]))
    plain = build(StateGraph, FakeModel())
    kinds = {
        "governed": (build(governed, FakeModel()), untouched),
        "lines": (build(partial(governed, journal=journal), FakeModel()), untouched),
        "lines and spans": (build(partial(governed, journal=journal, recorders=(spans,)), FakeModel()), untouched),
        "metrics": (build(partial(governed, recorders=(metrics,)), FakeModel()), untouched),
        "bare": (plain, untouched),
        "bare, OpenInference": (plain, instrumented(instrumentor, other_tracers)),
    }
    history = history_of(MESSAGES)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(WARM_UP + ROUNDS):
        for name, (app, around) in kinds.items():
            with around():
                took = step(app, history, number)
            if number >= WARM_UP:
                times[name].append(took)
    return times, ours.spans, theirs.spans


def main() -> int:
    try:
        from openinference.instrumentation.langchain import LangChainInstrumentor
    except ImportError:
        print(f"OpenInference is not installed: {INSTALL}")
        return 2
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        times, ours, theirs = measured(Path(folder) / "journal", LangChainInstrumentor())
    for name, row in times.items():
        print(f"{name:22} {statistics.median(row) * 1e6:8.0f} us a step")
    lines, added, metrics = (median_added(times, name, "governed") for name in ("lines", "lines and spans", "metrics"))
    other = median_added(times, "bare, OpenInference", "bare")
    steps = ROUNDS + WARM_UP
    print(f"lines and spans add {added:6.0f} us for {ours / steps:.0f} calls ({lines:.0f} us without the spans)")
    print(f"metrics add         {metrics:6.0f} us")
    print(f"OpenInference adds  {other:6.0f} us for {theirs / steps:.0f} spans")
    print(f"ratio {added / other:.3f}, goal {GOAL}")
    return int(added / other > GOAL)


if __name__ == "__main__":
    sys.exit(main())
