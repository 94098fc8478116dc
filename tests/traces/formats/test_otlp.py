"""Spans as calls: names of every convention, sums passed over, each kind of file."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1 import trace_pb2

from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, ESTIMATED, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.otlp import FORMAT
from budgeted_agents.traces.formats.otlp.conversations import MOST
from budgeted_agents.usage import Usage
from tests.traces.formats.otlp_lines import TRACE, chat, line, request, span, write


def read(path: Path, *lines: bytes) -> list[TracedCall]:
    """The calls of a file with these lines."""
    source = FileSource(write(path / "spans.jsonl", *lines))
    calls = list(FORMAT.read(source))
    assert not source.problems.kept
    return calls


def only(path: Path, *lines: bytes) -> TracedCall:
    (call,) = read(path, *lines)
    return call


CONVENTIONS: dict[str, dict[str, Any]] = {
    "GenAI": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": "claude-opus-4-6",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 300,
        "gen_ai.usage.cache_creation.input_tokens": 200,
        "gen_ai.usage.reasoning.output_tokens": 10,
        "gen_ai.usage.cost": "0.25",
        "session.id": "s1",
        "user.id": "u1",
        "gen_ai.agent.name": "planner",
    },
    "GenAI, old names": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-opus-4-6",
        "gen_ai.usage.prompt_tokens": 1000,
        "gen_ai.usage.completion_tokens": 50,
        "gen_ai.usage.cache_read_input_tokens": 300,
        "gen_ai.usage.cache_creation_input_tokens": 200,
        "gen_ai.usage.reasoning_tokens": 10,
        "operation.cost": 0.25,
        "gen_ai.conversation.id": "s1",
        "enduser.id": "u1",
        "gen_ai.agent.name": "planner",
    },
    "OpenInference": {
        "openinference.span.kind": "LLM",
        "llm.provider": "anthropic",
        "llm.model_name": "claude-opus-4-6",
        "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 50,
        "llm.token_count.total": 1050,
        "llm.token_count.prompt_details.cache_read": 300,
        "llm.token_count.prompt_details.cache_write": 200,
        "llm.token_count.completion_details.reasoning": 10,
        "llm.cost.total": 0.25,
        "session.id": "s1",
        "user.id": "u1",
        "graph.node.id": "planner",
    },
    "OpenLLMetry": {
        "llm.request.type": "chat",
        "gen_ai.system": "anthropic",
        "gen_ai.response.model": "claude-opus-4-6",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.total_tokens": 1050,
        "gen_ai.usage.cache_read.input_tokens": 300,
        "gen_ai.usage.cache_creation.input_tokens": 200,
        "gen_ai.usage.reasoning_tokens": 10,
        "gen_ai.usage.total_cost": 0.25,
        "traceloop.association.properties.session_id": "s1",
        "traceloop.association.properties.user_id": "u1",
        "traceloop.entity.name": "planner",
    },
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_each_convention_says_the_same(convention: str, tmp_path: Path) -> None:
    call = only(tmp_path, line(span("a" * 16, "b" * 16, **CONVENTIONS[convention])))
    assert (call.kind, call.session, call.model, call.provider) == ("model", "s1", "claude-opus-4-6", "anthropic")
    assert call.usage == Usage(input=500, cache_read=300, cache_write_5m=200, output=40, reasoning=10)
    assert (call.recorded_cost, call.node, call.attribution["user"]) == (Decimal("0.25"), "planner", "u1")
    assert (call.trace, call.span, call.parent) == (TRACE, "a" * 16, "b" * 16)
    assert (call.ended_at - call.started_at, call.flags) == (1.0, (CACHE_TTL_UNKNOWN,))


def test_cached_tokens_outside_of_the_input_are_told_by_the_numbers(tmp_path: Path) -> None:
    """A cached count above the input that should include it, and a total that only adds up the other way."""
    more = chat("a" * 16, gen_ai__usage__cache_read__input_tokens=500)
    total = chat("b" * 16, gen_ai__usage__cache_read__input_tokens=60, gen_ai__usage__total_tokens=180)
    inside = chat("c" * 16, gen_ai__usage__cache_read__input_tokens=60, gen_ai__usage__total_tokens=120)
    usages = [call.usage for call in read(tmp_path, line(more, total, inside))]
    assert usages == [Usage(100, 500, output=20), Usage(100, 60, output=20), Usage(40, 60, output=20)]


SUMS: dict[str, dict[str, Any]] = {
    "an agent's run": {"gen_ai.operation.name": "invoke_agent"},
    "a chain": {"openinference.span.kind": "CHAIN"},
    "a workflow": {"traceloop.span.kind": "workflow"},
    "an SDK's function": {"ai.operationId": "ai.generateText"},
    "nothing said": {},
}


@pytest.mark.parametrize("kind", SUMS)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_stands_above_calls_is_not_counted(kind: str, is_first: bool, tmp_path: Path) -> None:
    """Also with a span between them that counts nothing, on other lines, and before its calls."""
    usage = {"gen_ai.usage.input_tokens": 200, "gen_ai.usage.output_tokens": 40}
    above = line(span("a" * 16, **SUMS[kind], **usage))
    below = [line(span("b" * 16, "a" * 16)), line(chat("c" * 16, "b" * 16)), line(chat("d" * 16, "b" * 16))]
    calls = read(tmp_path, *([above, *below] if is_first else [*below, above]))
    assert [call.span for call in calls] == ["c" * 16, "d" * 16]


def test_usage_without_a_kind_counts_where_no_call_stands_below(tmp_path: Path) -> None:
    call = only(tmp_path, line(chat("a" * 16, without="gen_ai.operation.name")))
    assert (call.kind, call.usage, call.flags) == ("model", Usage(100, output=20), ())


def test_a_span_whose_tokens_are_not_those_of_the_calls_below_it_counts(tmp_path: Path) -> None:
    """Calls of another agent stand below the one whose answer led to them; a call that is written down twice, with a
    request between the two, counts once in a sum."""
    caller = chat("a" * 16, without="gen_ai.operation.name", gen_ai__usage__input_tokens=5000)
    agent, called = span("b" * 16, "a" * 16), chat("c" * 16, "b" * 16, without="gen_ai.operation.name")
    source = FileSource(write(tmp_path / "spans.jsonl", line(caller, agent, called)))
    assert [call.span for call in FORMAT.read(source)] == ["a" * 16, "c" * 16]
    (problem,) = source.problems.kept
    assert "its tokens are not those of the calls below it; it counts too" in str(problem)
    total = span("e" * 16, **{"gen_ai.usage.input_tokens": 5100, "gen_ai.usage.output_tokens": 40})
    twice = [chat("f" * 16, "c" * 16), span("d" * 16, "e" * 16), {**caller, "parentSpanId": "d" * 16}]
    source = FileSource(write(tmp_path / "spans.jsonl", line(total, *twice, agent, called)))
    assert [call.span for call in FORMAT.read(source)] == ["f" * 16, "a" * 16]


def test_spans_of_googles_adk_that_count_tokens_are_calls(tmp_path: Path) -> None:
    def calling(span_id: str, parent: str = "", tokens: int = 100) -> dict[str, Any]:
        return chat(span_id, parent, without="gen_ai.operation.name", gen_ai__usage__input_tokens=tokens)

    tool = span("b" * 16, "a" * 16, **{"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "billing"})
    spans = line(calling("c" * 16, "b" * 16), tool, calling("a" * 16), scope="gcp.vertex.agent")
    assert [(call.span[0], call.kind) for call in read(tmp_path, spans)] == [
        ("c", "model"),
        ("b", "tool"),
        ("a", "model"),
    ]


@pytest.mark.parametrize("kind", ["acompletion", "aresponses", "responses", "text_completion", "anthropic_messages"])
@pytest.mark.parametrize("names", [("llm.request.type",), ("llm.request.type", "gen_ai.operation.name")])
def test_calls_of_litellm_count_whatever_they_are_named(kind: str, names: tuple[str, ...], tmp_path: Path) -> None:
    litellms = chat(
        "a" * 16, without="gen_ai.operation.name", **dict.fromkeys(names, kind), gen_ai__cost__total_cost=0.5
    )
    call = only(tmp_path, line(litellms))
    assert (call.kind, call.usage, call.recorded_cost) == ("model", Usage(100, output=20), Decimal("0.5"))
    embedding = chat("b" * 16, without="gen_ai.operation.name", **dict.fromkeys(names, "aembedding"))
    assert only(tmp_path, line(embedding)).kind == "embedding"


def test_a_request_of_an_unknown_type_counts_where_it_used_tokens(tmp_path: Path) -> None:
    unknown = chat("a" * 16, without="gen_ai.operation.name", llm__request__type="unknown")
    silent = span("b" * 16, **{"llm.request.type": "unknown", "gen_ai.request.model": "gpt-4o"})
    assert [call.span for call in read(tmp_path, line(unknown, silent))] == ["a" * 16]


@pytest.mark.parametrize("answered", ["", "none", "None", "unknown"])
def test_where_no_model_is_said_to_have_answered_it_is_the_one_that_was_asked_for(
    answered: str, tmp_path: Path
) -> None:
    call = only(tmp_path, line(chat("a" * 16, gen_ai__response__model=answered)))
    assert (call.model, call.model_asked) == ("gpt-4o", "gpt-4o")


def test_the_vercel_ai_sdk_has_names_of_its_own_for_tokens(tmp_path: Path) -> None:
    embedded = {"ai.model.id": "text-embedding-3-small", "ai.usage.tokens": 100}
    around = span("a" * 16, **{"ai.operationId": "ai.embed", **embedded})
    call = only(tmp_path, line(around, span("b" * 16, "a" * 16, **{"ai.operationId": "ai.embed.doEmbed", **embedded})))
    assert (call.kind, call.model, call.usage) == ("embedding", "text-embedding-3-small", Usage(100))
    details = {"inputTokenDetails.cacheReadTokens": 20, "inputTokenDetails.cacheWriteTokens": 30}
    details |= {"inputTokenDetails.noCacheTokens": 50, "outputTokenDetails.reasoningTokens": 5}
    answered = chat(
        "c" * 16,
        without="gen_ai.operation.name",
        **{"ai.operationId": "ai.generateText.doGenerate"},
        **{f"ai.usage.{name}": tokens for name, tokens in details.items()},
    )
    assert only(tmp_path, line(answered)).usage == Usage(50, 20, 30, output=15, reasoning=5)


def test_what_gemini_thought_is_output_wherever_it_is_counted(tmp_path: Path) -> None:
    """ADK counts it beside the output, OpenLLMetry in the total alone. Totals of other models have other gaps."""
    beside = chat("a" * 16, gen_ai__usage__experimental__reasoning_tokens=460)
    total = chat("b" * 16, gen_ai__request__model="gemini-2.5-flash", llm__usage__total_tokens=580)
    whole = chat("c" * 16, gen_ai__request__model="gemini-2.5-flash", llm__usage__total_tokens=120)
    other = chat("d" * 16, llm__usage__total_tokens=580)
    usages = [call.usage for call in read(tmp_path, line(beside, total, whole, other))]
    thought, plain = Usage(100, output=20, reasoning=460), Usage(100, output=20)
    assert usages == [thought, thought, plain, plain]


def test_metadata_of_langchain_says_what_no_attribute_does(tmp_path: Path) -> None:
    said = json.dumps({"langgraph_step": 1, "langgraph_node": "planner", "tenant_id": 42, "lc_versions": {}})
    first = chat("a" * 16, metadata=said)
    second = chat("b" * 16, metadata=said, gen_ai__agent__name="writer", tenant__id="acme")
    third = chat("c" * 16, metadata="none")
    found = [(call.node, call.attribution.get("tenant")) for call in read(tmp_path, line(first, second, third))]
    assert found == [("planner", "42"), ("writer", "acme"), ("", None)]


def test_runs_of_pydantic_ai_need_no_second_look(tmp_path: Path) -> None:
    run = chat("a" * 16, without="gen_ai.operation.name")
    assert read(tmp_path, line(run, scope="pydantic-ai")) == []


def test_tools_have_a_digest_of_their_arguments(tmp_path: Path) -> None:
    def tool(span_id: str, arguments: str) -> bytes:
        told = {"gen_ai.tool.name": "search", "gen_ai.tool.call.arguments": arguments}
        return line(span(span_id, **{"gen_ai.operation.name": "execute_tool"}, **told))

    one, same, other = read(
        tmp_path, tool("a" * 16, '{"q": "x", "n": 1}'), tool("b" * 16, '{"n":1,"q":"x"}'), tool("c" * 16, '{"q": "y"}')
    )
    assert (one.kind, one.tool, one.usage) == ("tool", "search", Usage())
    assert one.fingerprint == same.fingerprint != other.fingerprint != ""


def test_embeddings_and_errors_and_calls_without_usage(tmp_path: Path) -> None:
    embedding = {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 7}
    failed = span("b" * 16, **{"gen_ai.operation.name": "chat", "error.type": "timeout"})
    calls = read(tmp_path, line(span("a" * 16, **embedding), failed, {**chat("c" * 16), "status": {"code": 2}}))
    assert [(call.kind, call.error) for call in calls] == [("embedding", ""), ("model", "timeout"), ("model", "error")]
    assert calls[1].flags == (NO_USAGE_RECORDED,)


def test_a_session_is_a_conversation_else_that_of_its_trace_else_the_trace(tmp_path: Path) -> None:
    per_call = chat("a" * 16, gen_ai__conversation__id="resp_0e32")
    with_both = chat("b" * 16, gen_ai__conversation__id="resp_0e33", session__id="s9")
    plain = chat("c" * 16)
    sessions = [call.session for call in read(tmp_path, line(per_call, with_both, plain))]
    assert sessions == ["s9", "s9", "conversation-1"]
    assert only(tmp_path, line(per_call)).session == TRACE


def unnamed(number: int, trace: str = TRACE) -> dict[str, Any]:
    """A call that names no session."""
    return chat(f"{number:016x}", trace=trace, without="gen_ai.conversation.id")


AGENT = span("f" * 16, **{"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "s1"})
"""No call, but it knows the session."""


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_call_that_names_no_session_has_that_of_its_trace(tmp_path: Path, place: int) -> None:
    """Wherever in the file it is named, and whatever is in between; the calls stay in their order."""
    other = chat("9" * 16, trace="1" * 32)
    lines = [line(unnamed(1), other), line(unnamed(2), unnamed(3, "2" * 32))]
    lines.insert(place, line(AGENT))
    assert [(call.span, call.session) for call in read(tmp_path, *lines)] == [
        (f"{1:016x}", "s1"),
        ("9" * 16, "conversation-1"),
        (f"{2:016x}", "s1"),
        (f"{3:016x}", "2" * 32),
    ]


@pytest.mark.parametrize("apart", [MOST - 1, MOST])
def test_calls_wait_for_a_session_no_longer_than_is_bearable(tmp_path: Path, apart: int) -> None:
    others = [unnamed(number, f"{number:032x}") for number in range(1, apart)]
    calls = read(tmp_path, line(unnamed(0), *others), line(AGENT))
    assert calls[0].session == ("s1" if apart < MOST else TRACE)
    assert [call.trace for call in calls[1:]] == [call.session for call in calls[1:]] == [o["traceId"] for o in others]


def test_no_more_sessions_are_remembered_than_is_bearable(tmp_path: Path) -> None:
    others = [chat(f"{number:016x}", trace=f"{number:032x}") for number in range(1, MOST)]
    known = read(tmp_path, line(AGENT, *others[1:]), line(unnamed(0)))
    forgotten = read(tmp_path, line(AGENT, *others), line(unnamed(0)))
    assert (known[-1].session, forgotten[-1].session) == ("s1", TRACE)


def test_records_of_our_own_are_named_by_their_reservation(tmp_path: Path) -> None:
    ours = {
        "budget.reservation.id": "r1",
        "budget.model_asked": "gpt-4o",
        "budget.cost_usd": "0.000000001",
        "budget.outcome": "presumed",
        "budget.usage.cache_write_5m": 5,
        "budget.usage.cache_write_1h": 30,
        "budget.attribution.tenant": "acme",
        "budget.attribution.shelf": "top",
        "gen_ai.usage.cache_creation.input_tokens": 35,
    }
    call = only(tmp_path, line(chat("a" * 16, **ours)))
    assert (call.id, call.recorded_cost, call.model_asked) == ("r1", Decimal("0.000000001"), "gpt-4o")
    assert call.usage == Usage(input=65, cache_write_5m=5, cache_write_1h=30, output=20)
    assert (call.attribution, call.flags) == ({"tenant": "acme", "shelf": "top"}, (ESTIMATED,))


def test_a_process_gives_environment_and_feature(tmp_path: Path) -> None:
    resource = {"service.name": "search", "deployment.environment.name": "production"}
    call = only(tmp_path, line(chat("a" * 16), resource=resource))
    assert call.attribution == {"feature": "search", "environment": "production"}


def as_protobuf(content: dict[str, Any]) -> bytes:
    """A request as protobuf."""
    data = trace_pb2.TracesData()
    for of_resource in content["resourceSpans"]:
        resource = data.resource_spans.add()
        for of_scope in of_resource["scopeSpans"]:
            scope = resource.scope_spans.add()
            for each in of_scope["spans"]:
                made = scope.spans.add(
                    trace_id=bytes.fromhex(each["traceId"]),
                    span_id=bytes.fromhex(each["spanId"]),
                    parent_span_id=bytes.fromhex(each["parentSpanId"]),
                    name=each["name"],
                    start_time_unix_nano=int(each["startTimeUnixNano"]),
                    end_time_unix_nano=int(each["endTimeUnixNano"]),
                )
                for pair in each["attributes"]:
                    ((kind, value),) = pair["value"].items()
                    found = made.attributes.add(key=pair["key"]).value
                    if kind == "intValue":
                        found.int_value = int(value)
                    else:
                        found.string_value = value
    message: bytes = data.SerializeToString()
    return message


def prefixed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def test_every_kind_of_file_holds_the_same_calls(tmp_path: Path) -> None:
    requests = [request(chat("a" * 16), chat("b" * 16, "c" * 16)), request(chat("d" * 16))]
    lines = [json.dumps(each).encode() + b"\n" for each in requests]
    files = {
        "lines": b"".join(lines),
        "without its last end of line": b"".join(lines)[:-1],
        "list": json.dumps(requests).encode(),
        "laid out": json.dumps(requests, indent=2).encode(),
        "zstd": zstandard.compress(b"".join(lines)),
        "protobuf": b"".join(prefixed(as_protobuf(each)) for each in requests),
        "packed protobuf": b"".join(prefixed(zstandard.compress(as_protobuf(each))) for each in requests),
        "packed JSON": b"".join(prefixed(zstandard.compress(each)) for each in lines),
    }
    found = {}
    for name, content in files.items():
        (tmp_path / "file").write_bytes(content)
        source = FileSource(tmp_path / "file")
        assert FORMAT.detect(source), name
        found[name] = [(call.id, call.parent, call.model, call.usage, call.ended_at) for call in FORMAT.read(source)]
        assert not source.problems.kept, name
    assert len(found["lines"]) == 3
    assert all(calls == found["lines"] for calls in found.values())


def test_spans_of_copilot_are_flat(tmp_path: Path) -> None:
    flat = {
        "type": "span",
        "traceId": TRACE,
        "spanId": "a" * 16,
        "name": "chat gpt-4o",
        "startTime": [1_765_964_257, 0],
        "endTime": [1_765_964_258, 500_000_000],
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 9,
            "gen_ai.request.model": "gpt-4o",
        },
    }
    call = only(tmp_path, json.dumps(flat).encode() + b"\n")
    assert (call.usage, call.model, call.ended_at - call.started_at) == (Usage(9), "gpt-4o", 1.5)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_totals_become_disjoint_classes_that_are_never_negative(p: int, c: int, read: int, written: int) -> None:
    usage = Usage.from_totals({"prompt": p, "completion": c, "cache_read": read, "cache_write": written})
    assert (usage.cache_read, usage.cache_write_5m, usage.completion_tokens) == (read, written, c)
    assert usage.prompt_tokens == (p if read + written <= p else p + read + written)
    assert min(usage.input, usage.output) >= 0
