"""Each call and decision is a span of the user's own set-up: in the right trace, at the right time, without content."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState, use_span

from budgeted_agents import Budget, CostCallback
from budgeted_agents.testing import LocalProvider, Reply
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.records.journal import read_journal
from budgeted_agents.traces.records.spans import nanoseconds
from tests.attach.support import openai, serving
from tests.opentelemetry.support import SECRET, SetUp, app_on

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

THREAD: Any = {"configurable": {"thread_id": "t1"}, "metadata": {"tenant": "acme"}}
INPUT: Any = {"messages": []}


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    trace_id: int = span.context.trace_id
    return trace_id


def test_a_call_is_a_span_with_what_the_ledger_knows(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, calls=1, recorders=(set_up.recorder(),))
    app.invoke(INPUT, THREAD)
    (span,), (record,) = set_up.spans("chat"), app.spend(THREAD).calls
    found = dict(span.attributes or {})
    assert (span.name, span.kind, span.status.status_code) == ("chat gpt-4o", SpanKind.CLIENT, StatusCode.UNSET)
    assert (span.start_time, span.end_time) == (nanoseconds(record.started_at), nanoseconds(record.ended_at))
    assert (found["gen_ai.conversation.id"], found["budget.attribution.tenant"]) == ("t1", "acme")
    assert found["budget.reservation.id"] == record.id
    assert found["budget.cost_usd"] == str(app.spend(THREAD).cost_usd)
    assert found["gen_ai.usage.output_tokens"] == record.output_tokens == 50


def test_spans_are_children_of_the_users_own(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, recorders=(set_up.recorder(),))
    with set_up.tracer.start_as_current_span("the user's request") as request:
        app.invoke(INPUT, THREAD)
    calls, around = set_up.spans("chat"), request.get_span_context()
    assert len(calls) == 2
    for call in calls:
        assert call.parent is not None
        assert (call.parent.span_id, trace_of(call)) == (around.span_id, around.trace_id)


def test_spans_pass_on_what_another_service_says_of_the_trace(provider: LocalProvider, set_up: SetUp) -> None:
    """What arrives in a ``tracestate``, such as a gateway's sampling decision."""
    app = app_on(provider, recorders=(set_up.recorder(),))
    remote = SpanContext(0xA, 0xB, True, TraceFlags(1), TraceState([("vendor", "sampled")]))
    with use_span(NonRecordingSpan(remote)):
        app.invoke(INPUT, THREAD)
    contexts = [span.context for span in set_up.spans("chat")]
    assert [context and (context.trace_id, context.trace_state.get("vendor")) for context in contexts] == [
        (0xA, "sampled")
    ] * 2


async def test_so_they_are_where_everything_is_awaited(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, recorders=(set_up.recorder(),))

    async def request(name: str) -> int:
        with set_up.tracer.start_as_current_span(name) as span:
            await app.ainvoke(INPUT, {"configurable": {"thread_id": name}})
            trace_id: int = span.get_span_context().trace_id
            return trace_id

    traces = await asyncio.gather(*map(request, ("one", "two", "three")))
    assert sorted(map(trace_of, set_up.spans("chat"))) == sorted(traces * 2)


def test_without_one_the_spans_of_a_run_share_a_trace_of_their_own(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, recorders=(set_up.recorder(),))
    app.invoke(INPUT, THREAD)
    app.invoke(INPUT, THREAD)
    first, second, third, fourth = set_up.spans("chat")
    assert first.parent is None
    assert second.parent == first.context
    assert trace_of(third) == trace_of(fourth) != trace_of(first)


def test_decisions_are_spans_of_the_same_trace(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, calls=6, budget=Budget(model_calls=6), recorders=(set_up.recorder(),))
    with set_up.tracer.start_as_current_span("the user's request") as request:
        app.invoke(INPUT, THREAD)
    decisions = set_up.spans("budget ")
    assert [span.name for span in decisions] == ["budget alert", "budget refusal", "budget landing"]
    assert {trace_of(span) for span in decisions} == {request.get_span_context().trace_id}
    assert dict(decisions[1].attributes or {})["budget.unit"] == "model_calls"


def test_without_a_span_around_decisions_join_their_run(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, calls=6, budget=Budget(model_calls=6), recorders=(set_up.recorder(),))
    app.invoke(INPUT, THREAD)
    assert len({trace_of(span) for span in set_up.spans()}) == 1


def test_a_failure_is_an_error_by_its_class_alone(set_up: SetUp) -> None:
    with serving([Reply("slow down", status=429)] * 9) as provider:
        app = app_on(provider, calls=1, recorders=(set_up.recorder(),))
        with pytest.raises(Exception, match="429"):
            app.invoke(INPUT, THREAD)
    (span,) = set_up.spans("chat")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert "RateLimitError" in str(dict(span.attributes or {})["error.type"])


def test_no_content_leaves(provider: LocalProvider, set_up: SetUp) -> None:
    app = app_on(provider, recorders=(set_up.recorder(),))
    app.invoke(INPUT, THREAD)
    told = "".join(span.to_json() for span in set_up.spans())
    assert provider.requests
    assert SECRET not in told
    assert "A short answer." not in told


def test_a_callback_records_as_well(provider: LocalProvider, set_up: SetUp) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"), recorders=[set_up.recorder()])
    openai(provider).invoke("Hello.", {"callbacks": [callback]})
    assert [span.name for span in set_up.spans()] == ["chat gpt-4o"]


def test_a_call_that_two_of_one_ledger_see_is_one_span(provider: LocalProvider, set_up: SetUp) -> None:
    recorder = set_up.recorder()
    app = app_on(provider, calls=1, ledger="memory://seen-by-two", recorders=(recorder,))
    callback = CostCallback(budget=Budget(name="own", usd="1"), ledger="memory://seen-by-two", recorders=(recorder,))
    app.invoke(INPUT, {**THREAD, "callbacks": [callback]})
    assert len(set_up.spans("chat")) == 1


def test_the_journal_joins_the_users_trace(provider: LocalProvider, set_up: SetUp, tmp_path: Path) -> None:
    app = app_on(provider, calls=1, journal=tmp_path / "journal", recorders=(set_up.recorder(),))
    with set_up.tracer.start_as_current_span("the user's request") as request:
        app.invoke(INPUT, THREAD)
    (record,) = [line.recorded for line in read_journal(tmp_path / "journal", [])]
    assert isinstance(record, CallRecord)
    around = request.get_span_context()
    assert record.parent.startswith(f"00-{around.trace_id:032x}-{around.span_id:016x}-")
