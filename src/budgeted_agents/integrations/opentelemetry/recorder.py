"""``OpenTelemetryRecorder``: calls and decisions as spans and metrics, by the providers the user has set up.

A span has the attributes that the journal writes, but for its bookkeeping, and the times of the call. It is a child of
the span that was current where the call was admitted. Where there was none, the first span of a run becomes the root of
its trace, and the others its children. No prompt, answer or argument is in a record, so none is in a span unless the
recorder was asked for them.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

try:
    from opentelemetry import trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ImportError as error:
    raise ImportError(
        "OpenTelemetryRecorder writes to an OpenTelemetry set-up, and OpenTelemetry is not installed. "
        'Install it: pip install "budgeted-agents[otel]"'
    ) from error

from budgeted_agents.errors import InvalidRecorder
from budgeted_agents.integrations.opentelemetry.instruments import Instruments
from budgeted_agents.ledgers import Ledger
from budgeted_agents.traces import BudgetEvent, CallRecord, ToppedUp
from budgeted_agents.traces.records import attributes, spans
from budgeted_agents.traces.records.content import Content
from budgeted_agents.traces.records.recorder import ContentRecorder, check_content

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider, TraceState

_T = TypeVar("_T")

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's environment variable for whether content is captured, and where."""

_ON_SPANS = ("span_only", "span_and_event")
"""Its values that mean spans."""

MOST_RUNS = 4_096
"""Runs whose trace is remembered at a time, and spans whose ``tracestate`` is."""


class OpenTelemetryRecorder(ContentRecorder):
    """Hand it to ``BudgetedGraph``, ``budgeted``, ``CostCallback`` or ``BudgetMiddleware`` as ``recorders=(...,)``.

    One instance serves any number of them, in any number of threads.

    Args:
        tracer_provider: where spans go; by default, the provider set for the process.
        meter_provider: where metrics go; likewise.
        ledger: observed for ``budget.utilization``; None for no such metric.
        dimensions: attribution that becomes an attribute of ``budget.cost``, e.g. ``("tenant", "feature")``. Each
            combination of values is a time series of its own.
        content: whether a call's span also says what the call says: its messages, a tool's arguments and result. None
            goes by the environment variable ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``; without it, no.

    Raises:
        InvalidRecorder: ``content`` is neither True, False nor None.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        ledger: Ledger | None = None,
        dimensions: tuple[str, ...] = (),
        content: bool | None = None,
    ) -> None:
        self._keeps_content = _asked_for_content() if content is None else content
        check_content(self._keeps_content, "OpenTelemetryRecorder", InvalidRecorder)
        self._tracer = trace.get_tracer(spans.SCOPE, tracer_provider=tracer_provider)
        self._instruments = Instruments(meter_provider, ledger, dimensions)
        self._roots: OrderedDict[str, SpanContext] = OrderedDict()
        self._states: OrderedDict[str, TraceState] = OrderedDict()
        self._lock = threading.Lock()

    def parent(self) -> str:
        around = trace.get_current_span().get_span_context()
        if not around.is_valid:
            return ""
        parent = f"00-{around.trace_id:032x}-{around.span_id:016x}-{around.trace_flags & 0xFF:02x}"
        if around.trace_state:  # which a traceparent has no room for
            with self._lock:
                _remember(self._states, parent, around.trace_state)
        return parent

    @property
    def keeps_content(self) -> bool:
        return self._keeps_content

    def call(self, record: CallRecord, content: Content | None = None) -> None:
        times = spans.nanoseconds(record.started_at), spans.nanoseconds(record.ended_at)
        kind = SpanKind.INTERNAL if record.kind == "tool" else SpanKind.CLIENT
        found = attributes.described(record)
        name, failed = spans.span_name(record), bool(record.error)
        self._span(name, kind, found, times, record.parent, record.run, failed=failed, content=content)
        self._instruments.call(record)

    def event(self, event: BudgetEvent) -> None:
        self._moment(f"budget {event.kind}", attributes.of_event(event), event.at, event.run or event.session)
        self._instruments.event(event)

    def top_up(self, topped_up: ToppedUp) -> None:
        found = attributes.of_top_up(topped_up)
        self._moment("budget top_up", found, topped_up.top_up.at, topped_up.session)

    def _moment(self, name: str, found: dict[str, Any], at: float, run: str) -> None:
        """A span of what takes no time."""
        times = (spans.nanoseconds(at),) * 2
        self._span(name, SpanKind.INTERNAL, found, times, self.parent(), run)

    def _span(
        self,
        name: str,
        kind: SpanKind,
        found: dict[str, Any],
        times: tuple[int, int],
        parent: str,
        run: str,
        failed: bool = False,
        content: Content | None = None,
    ) -> None:
        with self._lock:  # of two first spans of a run, one is the root
            around = _context_of(parent, self._states.get(parent)) if parent else self._around(run)
            span = self._tracer.start_span(name, around, kind, found, start_time=times[0])
            if not parent:
                _remember(self._roots, run, span.get_span_context())
        if content is not None and span.is_recording():
            span.set_attributes(content.attributes)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(times[1])

    def _around(self, run: str) -> Context:
        """The run's own trace; a new one for a run that has none yet."""
        root = self._roots.get(run)
        return trace.set_span_in_context(trace.INVALID_SPAN if root is None else NonRecordingSpan(root))


def _asked_for_content() -> bool:
    return os.environ.get(VARIABLE, "").strip().lower() in _ON_SPANS


def _remember(known: OrderedDict[str, _T], name: str, value: _T) -> None:
    """Keep what was first known by a name; the names that were used longest ago are forgotten."""
    known.setdefault(name, value)
    known.move_to_end(name)
    if len(known) > MOST_RUNS:
        known.popitem(last=False)


def _context_of(parent: str, state: TraceState | None) -> Context:
    """The span that a ``traceparent`` of ours names, as the one around."""
    _, trace_id, span_id, flags = parent.split("-")
    context = SpanContext(int(trace_id, 16), int(span_id, 16), False, TraceFlags(int(flags, 16)), state)
    return trace.set_span_in_context(NonRecordingSpan(context))
