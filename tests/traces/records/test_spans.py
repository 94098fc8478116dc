"""A call, event or top-up is the same after it was written as a span; what others read in the span is what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.traces import CallRecord, Recorded
from budgeted_agents.traces.records import spans
from budgeted_agents.traces.records.attributes import NoBookkeeping
from tests.traces.records.strategies import recorded
from tests.traces.support import CALL, RUN, a_call

BOOKKEEPING = ("budget.accounts", "budget.limits", "budget.held", "budget.actual.", "budget.granted_tokens")
PARENT = f"00-{'c' * 32}-{'d' * 16}-01"


def span_of(record: CallRecord) -> dict[str, Any]:
    (resource,) = json.loads(spans.to_line(record))["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    (span,) = scope["spans"]
    found: dict[str, Any] = span
    return found


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Name to value, as OTLP's JSON has it."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}


@given(recorded)
def test_a_line_says_all_and_exactly(each: Recorded) -> None:
    assert list(spans.from_line(spans.to_line(each))) == [each]


def test_a_call_follows_the_conventions() -> None:
    span = span_of(a_call())
    assert (span["name"], span["kind"], "status" in span) == ("chat openai/gpt-4o-mini", 3, False)
    assert (span["traceId"], span["spanId"], "parentSpanId" in span) == (RUN, CALL[:16], False)
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == ("1800000000250000000", "1800000002500000000")
    assert {name: value for name, value in attributes(span).items() if not name.startswith("budget.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": "t1",
        "gen_ai.request.model": "openai/gpt-4o-mini",
        "gen_ai.request.max_tokens": "300",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.usage.input_tokens": "90",
        "gen_ai.usage.output_tokens": "50",
        "gen_ai.usage.cache_read.input_tokens": "40",
        "gen_ai.usage.cache_creation.input_tokens": "7",
    }


def test_what_it_cost_and_why_stands_beside() -> None:
    found = attributes(span_of(a_call()))
    assert found["budget.reservation.id"] == CALL
    assert (found["budget.cost_usd"], found["budget.reserved_usd"]) == ("0.000135001", "0.001")
    assert (found["budget.decision"], found["budget.reason"]) == ("downgraded", "it is cheaper")
    assert (found["budget.model_asked"], found["budget.outcome"]) == ("openai/gpt-4o", "settled")
    assert (found["budget.unit_price.input"], found["budget.price.source"]) == ("0.00000015", "litellm 1.106.2")
    assert (found["budget.attribution.tenant"], found["budget.actual.tokens"]) == ("acme", "950")


@pytest.mark.parametrize(
    ("fields", "name", "kind"),
    [
        ({"operation": "embeddings"}, "embeddings openai/gpt-4o-mini", 3),
        ({"kind": "tool", "tool": "search", "model_used": ""}, "execute_tool search", 1),
    ],
)
def test_embeddings_and_tools_have_names_of_their_own(fields: dict[str, Any], name: str, kind: int) -> None:
    span = span_of(a_call(**fields))
    assert (span["name"], span["kind"]) == (name, kind)


def test_a_failure_is_an_error_by_class() -> None:
    span = span_of(a_call(error="RateLimitError"))
    assert (span["status"], attributes(span)["error.type"]) == ({"code": 2}, "RateLimitError")


def test_a_call_inside_a_span_joins_its_trace() -> None:
    span = span_of(a_call(parent=PARENT))
    assert (span["traceId"], span["parentSpanId"], span["flags"]) == ("c" * 32, "d" * 16, 1)


def test_calls_of_one_run_share_a_trace_whatever_its_name() -> None:
    one, two = (span_of(a_call(id=id, run="my run")) for id in ("a", "b"))
    assert one["traceId"] == two["traceId"]
    assert one["spanId"] != two["spanId"]


def test_spans_of_others_are_passed_over() -> None:
    line = json.loads(spans.to_line(a_call()))
    line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].pop(0)  # whose reservation it is
    assert list(spans.from_line(json.dumps(line).encode())) == []


def test_a_call_without_bookkeeping_is_refused_and_one_that_touched_no_account_is_not() -> None:
    free = a_call(holds=(), actual={}, granted=0)
    assert list(spans.from_line(spans.to_line(free))) == [free]
    line = json.loads(spans.to_line(a_call()))
    (span,) = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
    span["attributes"] = [pair for pair in span["attributes"] if not pair["key"].startswith(BOOKKEEPING)]
    with pytest.raises(NoBookkeeping):
        list(spans.from_line(json.dumps(line).encode()))


@given(st.binary(max_size=60))
def test_what_is_no_line_is_one_kind_of_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(spans.from_line(line))


@given(st.data())
def test_a_damaged_line_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    """One attribute is replaced by what does not belong there."""
    line = json.loads(spans.to_line(data.draw(recorded)))
    (span,) = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
    pair = data.draw(st.sampled_from(span["attributes"]))
    pair["value"] = data.draw(
        st.sampled_from(
            [None, 3, {}, {"stringValue": None}, {"intValue": "x"}, {"arrayValue": {}}, {"stringValue": "NaN"}]
        )
    )
    try:
        list(spans.from_line(json.dumps(line).encode()))
    except ValueError:
        return
