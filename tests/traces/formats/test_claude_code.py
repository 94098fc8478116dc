"""Claude Code: one call for all lines of a message, turns of users, and what result events say."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, OUTPUT_LOWER_BOUND, TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.claude_code import FORMAT
from budgeted_agents.traces.formats.claude_code.figures import figures
from budgeted_agents.usage import Usage
from tests.traces.formats.lines import write_lines
from tests.traces.formats.samples import independent_count, samples
from tests.traces.formats.support import imported

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 700,
    "cache_read_input_tokens": 4000,
    "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 200},
    "output_tokens": 90,
    "service_tier": "standard",
}
READ = Usage(input=10, cache_read=4000, cache_write_5m=500, cache_write_1h=200, output=90)


def answer(id: str = "msg_1", *, content: Any = (), stop: str | None = "end_turn", **line: Any) -> dict[str, Any]:
    """A line of type ``assistant``; keywords change the line, and ``usage`` its usage."""
    usage = USAGE | line.pop("usage", {})
    model = line.pop("model", "claude-opus-4-6")
    message = {"id": id, "model": model, "stop_reason": stop, "usage": usage, "content": list(content)}
    return {
        "parentUuid": None,
        "isSidechain": False,
        "sessionId": "s1",
        "type": "assistant",
        "requestId": "req_1",
        "timestamp": "2026-02-09T19:07:30.500Z",
        "message": message,
    } | line


def request(content: Any, **line: Any) -> dict[str, Any]:
    """A line of type ``user``."""
    said = {"role": "user", "content": content}
    return {"parentUuid": None, "isSidechain": False, "sessionId": "s1", "type": "user", "message": said} | line


def result(uuid: str, cost: float, models: dict[str, Any] | None = None, **event: Any) -> dict[str, Any]:
    """A ``result`` event."""
    body = {"type": "result", "session_id": "s1", "uuid": uuid, "total_cost_usd": cost, "usage": USAGE}
    return body | {"modelUsage": models} | event


def statements(source: FileSource) -> list[TracedCall]:
    return [call for call in FORMAT.read(source) if call.kind == "statement"]


def test_all_lines_of_a_message_are_one_call(tmp_path: Path) -> None:
    thinks, uses = {"type": "thinking"}, {"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "a"}}
    source = write_lines(
        tmp_path / "s1.jsonl",
        answer(content=[thinks], stop=None, usage={"output_tokens": 2}),
        request([{"type": "tool_result"}]),
        answer(content=[uses], timestamp="2026-02-09T19:07:32Z"),
        answer(content=[uses], timestamp="2026-02-09T19:07:32Z"),
    )
    (call,) = FORMAT.read(source)
    assert call.id == "msg_1:req_1"
    assert (call.session, call.model, call.node, call.line) == ("s1", "claude-opus-4-6", "main", 1)
    assert call.usage == READ
    assert call.flags == ()
    assert [tool for tool, _ in call.tools] == ["Read"]
    assert call.ended_at - call.started_at == 1.5


def test_the_line_with_the_most_output_counts(tmp_path: Path) -> None:
    lines = [answer(stop=None, usage={"output_tokens": count}) for count in (1, 90, 7)]
    (call,) = FORMAT.read(write_lines(tmp_path / "s1.jsonl", *lines))
    assert call.usage.output == 90
    assert call.flags == (OUTPUT_LOWER_BOUND,)


def test_the_same_arguments_have_the_same_digest(tmp_path: Path) -> None:
    uses = [{"type": "tool_use", "id": str(n), "name": "Read", "input": {"path": p}} for n, p in enumerate("aab")]
    nothing_known = {"type": "tool_use", "id": "x", "name": "Read"}
    (call,) = FORMAT.read(write_lines(tmp_path / "s1.jsonl", answer(content=[*uses, nothing_known])))
    first, again, other, unknown = (digest for _, digest in call.tools)
    assert first == again != other
    assert unknown == ""


def test_sub_agents_belong_to_the_session_that_started_them(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path / "agent-7.jsonl",
        answer("msg_1", isSidechain=True, agentId="7"),
        answer("msg_2", isSidechain=True),
        answer("msg_3", sessionId=None, session_id="s1", parent_tool_use_id="toolu_1"),
        request("look into it", isSidechain=True),
    )
    calls = list(FORMAT.read(source))
    assert {call.session for call in calls} == {"s1"}
    assert [call.node for call in calls] == ["agent-7", "sidechain", "sidechain"]


def test_what_claude_code_says_by_itself_is_no_call(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path / "s1.jsonl",
        answer(model="<synthetic>", isApiErrorMessage=True),
        answer("msg_2", isApiErrorMessage=True),
    )
    (call,) = FORMAT.read(source)
    assert (call.id, call.error) == ("msg_2:req_1", "api_error")


def test_the_figures_that_a_price_depends_on(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path / "s1.jsonl",
        answer("msg_1", usage={"service_tier": "priority", "server_tool_use": {"web_search_requests": 3}}),
        answer("msg_2", usage={"speed": "fast", "inference_geo": "us"}),
        answer("msg_3", costUSD=0.25, cwd="/src/app"),
    )
    one, two, three = FORMAT.read(source)
    assert (one.service_tier, one.region, one.usage.web_searches) == ("priority", "", 3)
    assert (two.service_tier, two.region) == ("fast", "us")
    assert three.recorded_cost == Decimal("0.25")
    assert three.attribution == {"project": "/src/app"}


COUNTS = st.one_of(st.integers(0, 10), st.none(), st.sampled_from([2.0, 1.5, -1, True, "7", 10**10]))
SOME = st.one_of(st.none(), st.just(7), st.fixed_dictionaries({}, optional={"web_search_requests": COUNTS}))
LIFETIMES = st.fixed_dictionaries(
    {}, optional={"ephemeral_5m_input_tokens": COUNTS, "ephemeral_1h_input_tokens": COUNTS}
)
ITERATIONS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "compaction"])},
    optional={"input_tokens": COUNTS, "output_tokens": COUNTS, "cache_creation": LIFETIMES},
)
USAGES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(USAGE.keys() - {"cache_creation", "service_tier"}, COUNTS),
        "cache_creation": st.one_of(st.none(), LIFETIMES),
        "server_tool_use": SOME,
        "service_tier": st.sampled_from(["standard", "priority", None, 3]),
        "speed": st.sampled_from(["fast", "standard", None]),
        "inference_geo": st.sampled_from(["us", "global", "not_available", "", None, 3]),
        "iterations": st.one_of(st.none(), st.just(3), st.lists(ITERATIONS, max_size=3)),
    },
)


@given(st.one_of(USAGES, USAGES.map(lambda usage: USAGE | usage)))
def test_usage_read_by_its_type_is_what_the_general_way_reads(usage: dict[str, Any]) -> None:
    raw = msgspec.Raw(json.dumps(usage).encode())
    try:
        expected = Usage.from_anthropic(usage)
    except InvalidUsage:
        with pytest.raises(InvalidUsage):
            figures(raw, "here")
        return
    found, tier, region, advice = figures(raw, "here")
    assert not advice
    assert found == expected
    assert region == ("us" if usage.get("inference_geo") == "us" else "")
    assert tier == ("fast" if usage.get("speed") == "fast" else "priority" if "priority" in usage.values() else "")


def test_turns_are_what_users_asked_for(tmp_path: Path) -> None:
    text = {"type": "text", "text": "and this?"}
    source = write_lines(
        tmp_path / "s1.jsonl",
        request('fix "input_tokens" and the "tool_result"'),
        request([text]),
        request([{"type": "text", "text": "[Request interrupted by user]"}]),
        request([{"type": "tool_result", "content": "x"}]),
        request("<local-command-stdout>done</local-command-stdout>"),
        request("instructions", isMeta=True),
        request("what was said before", isCompactSummary=True),
        answer(),
    )
    (statement,) = statements(source)
    assert (statement.session, statement.turns, statement.calls) == ("s1", 2, 0)


def test_a_long_transcript_comes_out_whole_and_in_order(tmp_path: Path) -> None:
    lines = [answer(f"msg_{number}") for number in range(1000)]
    calls = FORMAT.read(write_lines(tmp_path / "s1.jsonl", *lines, b'{damaged "input_tokens"'))
    assert next(calls).id == "msg_0:req_1"
    assert [call.id for call in calls] == [f"msg_{number}:req_1" for number in range(1, 1000)]


BEFORE = {"input_tokens": 180_000, "output_tokens": 3_500, "cache_creation_input_tokens": 60}
WHOLE = USAGE | {"iterations": [{"type": "compaction", **BEFORE}, {"type": "message", **USAGE}]}


def test_what_it_took_to_compact_the_context_counts(tmp_path: Path) -> None:
    """A compaction's tokens are billed, and not in the totals; those of the answer itself are."""
    (call,) = FORMAT.read(write_lines(tmp_path / "s1.jsonl", answer(usage=WHOLE)))
    assert call.usage == READ + Usage(input=180_000, output=3_500, cache_write_5m=60)
    assert Usage.from_anthropic(WHOLE) == call.usage


def test_a_model_asked_for_advice_is_a_call_at_its_own_price(tmp_path: Path) -> None:
    asked = [{"type": "advisor_message", "model": f"claude-opus-4-{n}", "input_tokens": n} for n in (7, 8)]
    usage = {"iterations": [{"type": "message", **USAGE}, *asked], "speed": "fast"}
    call, *advice = FORMAT.read(write_lines(tmp_path / "s1.jsonl", answer(usage=usage, costUSD=1)))
    assert (call.usage, call.service_tier, call.recorded_cost) == (READ, "fast", Decimal(1))
    assert [(each.id, each.model, each.usage, each.recorded_cost) for each in advice] == [
        ("msg_1:req_1:advice-1", "claude-opus-4-7", Usage(input=7), None),
        ("msg_1:req_1:advice-2", "claude-opus-4-8", Usage(input=8), None),
    ]
    assert {(each.session, each.node, each.service_tier) for each in advice} == {("s1", "main/advisor", "")}


@pytest.mark.parametrize(
    ("id", "is_known_everywhere"),
    [
        ("msg_01XFDUDYJgAACzvnptvVoYEL", True),
        ("msg_bdrk_01XFDUDYJgAACzvnptvVoYEL", True),
        ("msg_vrtx_01XFDUDYJgAACzvnptvVoYEL", True),
        ("msg_1", False),  # another provider's, which may be given twice
    ],
)
def test_a_stream_and_the_transcript_of_the_same_session_are_one(
    tmp_path: Path, id: str, is_known_everywhere: bool
) -> None:
    """A stream names no request."""
    streamed = answer(id, requestId=None, sessionId=None, session_id="s1", parent_tool_use_id=None)
    files = [write_lines(tmp_path / f"{n}.jsonl", each) for n, each in enumerate((answer(id), streamed))]
    names = {call.id for file in files for call in FORMAT.read(file)}
    assert len(names) == (1 if is_known_everywhere else 2)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b'{"type": "assistant", "message": {"usage": {"input_tokens"', "not a record"),
        (b'{"type": 7, "message": {"usage": {"input_tokens": 1}}}', "not a record"),
        (b'{"input_tokens": ' + b"[" * 100_000, "not a record"),
        (json.dumps(answer("msg_2", usage={"output_tokens": -1})).encode(), "output_tokens=-1: is negative"),
        (json.dumps(answer("msg_2", usage={"input_tokens": True})).encode(), "input_tokens=True"),
        (json.dumps(answer("msg_2", costUSD=-3)).encode(), "cost=-3: is negative"),
    ],
)
def test_a_bad_line_costs_itself(tmp_path: Path, bad: bytes, says: str) -> None:
    source = write_lines(tmp_path / "s1.jsonl", answer("msg_1"), bad, answer("msg_3"))
    assert [call.id for call in FORMAT.read(source)] == ["msg_1:req_1", "msg_3:req_1"]
    (problem,) = map(str, source.problems.kept)
    assert problem.startswith(f"{source.path}:2: ")
    assert says in problem
    assert source.problems.skipped == 1


def test_a_result_is_a_statement_for_each_model(tmp_path: Path) -> None:
    main = {"inputTokens": 10, "outputTokens": 90, "cacheReadInputTokens": 4000, "cacheCreationInputTokens": 700}
    side = {"inputTokens": 5, "outputTokens": 6, "cacheCreationInputTokens": 7, "webSearchRequests": 1}
    models = {"claude-opus-4-6": main | {"costUSD": 0.3}, "claude-haiku-4-5": side | {"costUSD": 0.1}}
    source = write_lines(
        tmp_path / "log.jsonl", result("u1", 0.4, models, is_error=False, subtype="success", num_turns=3)
    )
    one, two = FORMAT.read(source)
    assert (one.kind, one.session, one.model) == ("statement", "s1", "claude-opus-4-6")
    assert one.recorded_cost == Decimal("0.3")
    assert (one.usage, one.flags) == (READ, ())  # the lifetimes are the main loop's
    assert two.usage == Usage(input=5, output=6, cache_write_5m=7, web_searches=1)
    assert two.flags == (CACHE_TTL_UNKNOWN,)
    assert [(call.turns, call.calls, call.succeeded) for call in (one, two)] == [(1, 3, True), (0, 0, True)]


def test_a_result_says_where_its_session_was_served(tmp_path: Path) -> None:
    models = {"claude-opus-4-6": {"inputTokens": 10}, "claude-haiku-4-5": {"inputTokens": 5}}
    where = USAGE | {"inference_geo": "us"}
    for event in (result("u1", 0.4, models, usage=where), result("u2", 0.4, usage=where)):
        assert {call.region for call in statements(write_lines(tmp_path / "log.jsonl", event))} == {"us"}


def test_results_grow_until_a_session_is_resumed(tmp_path: Path) -> None:
    events = [result(f"u{number}", cost) for number, cost in enumerate((0.1, 0.3, 0.3, 0.2, 0.5))]
    found = statements(write_lines(tmp_path / "log.jsonl", *events, events[0], events[1]))
    assert sorted(str(call.recorded_cost) for call in found) == ["0.3", "0.5"]


def test_a_failed_result_says_so(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "log.jsonl", result("u1", 0.1, subtype="error_max_budget_usd"))
    (call,) = FORMAT.read(source)
    assert call.succeeded is False
    assert call.usage == READ


def test_a_bad_result_costs_itself(tmp_path: Path) -> None:
    bad = result("u1", 0.1, {"claude-opus-4-6": {"inputTokens": -5}}, session_id="s2")
    source = write_lines(tmp_path / "log.jsonl", bad, result("u2", 0.2))
    assert [call.id for call in FORMAT.read(source)] == ["u2"]
    assert "inputTokens=-5: is negative" in str(source.problems.kept[0])


def test_verbose_json_is_a_list_of_entries(tmp_path: Path) -> None:
    stream = {"session_id": "s1", "sessionId": None, "parent_tool_use_id": None}
    source = write_lines(tmp_path / "out.json", [answer() | stream, result("u1", 0.1)])
    assert FORMAT.detect(source)
    assert [call.kind for call in FORMAT.read(source)] == ["model", "statement"]


@pytest.mark.parametrize(
    "line",
    [
        {"type": "summary", "summary": "Fix", "leafUuid": "u"},
        {"type": "file-history-snapshot", "messageId": "m"},
        {"type": "queue-operation", "sessionId": "s"},
        {"type": "system", "subtype": "init", "session_id": "s"},
        request("hello"),
        result("u1", 0.1),
        answer("msg", sessionId=None, session_id="s", parent_tool_use_id=None),
    ],
    ids=lambda line: line["type"],
)
def test_its_lines_are_recognized(tmp_path: Path, line: dict[str, Any]) -> None:
    assert FORMAT.detect(write_lines(tmp_path / "a.jsonl", line))


def test_a_first_line_longer_than_what_is_shown_is_recognized(tmp_path: Path) -> None:
    assert FORMAT.detect(write_lines(tmp_path / "a.jsonl", request("x" * 100_000)))


@pytest.mark.parametrize("line", [{"type": "result"}, {"session_id": "s", "total_cost_usd": 1}, [], 3, "parentUuid"])
def test_other_lines_are_not(tmp_path: Path, line: Any) -> None:
    assert not FORMAT.detect(write_lines(tmp_path / "a.jsonl", line))


def test_real_transcripts_equal_what_was_counted_independently() -> None:
    for file in samples("claude_code"):
        if (count := independent_count(file)) is not None:
            found = imported(FORMAT, FileSource(file))
            usage = sum((call.usage for call in found.models), Usage())
            assert len(found.models) == count["api_call_count"]
            assert usage.input == count["input_tokens"]
            assert usage.cache_read == count["cache_read_tokens"]
            assert usage.cache_write_5m + usage.cache_write_1h == count["cache_creation_tokens"]
            assert usage.output == count["output_tokens"]
            assert found.problems == []


def test_real_results_record_what_their_source_says() -> None:
    for file in samples("claude_code"):
        if file.name == "result_events.jsonl":
            found = imported(FORMAT, FileSource(file)).of("statement")
            assert len({call.session for call in found}) == 6
            assert sum(call.recorded_cost or 0 for call in found) == pytest.approx(
                Decimal("5.1803928"), abs=Decimal("1e-9")
            )
