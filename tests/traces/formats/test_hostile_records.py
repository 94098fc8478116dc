"""Whatever a record says in whatever place, importers read on: no foreign error, no negative count, no bad cost."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats import Format, claude_code, codex, litellm, neutral

TOKENS = {"input_tokens": 9, "output_tokens": 8}
USAGE = TOKENS | {"total_tokens": 17, "cache_creation": {"ephemeral_5m_input_tokens": 0}}
TOOL = {"type": "tool_use", "id": "t", "name": "Read", "input": {"a": 1}}
MESSAGE = {"id": "m", "model": "claude-opus-4-6", "stop_reason": "end_turn", "usage": USAGE, "content": [TOOL]}
TIME = "2026-06-08T12:00:00Z"
RECORDS: list[tuple[Format, list[dict[str, Any]]]] = [
    (
        claude_code.FORMAT,
        [
            {
                "type": "assistant",
                "sessionId": "s",
                "requestId": "r",
                "timestamp": TIME,
                "costUSD": 1,
                "message": MESSAGE,
            },
            {"type": "user", "sessionId": "s", "message": {"content": [{"type": "text", "text": "go"}]}},
            {"type": "result", "session_id": "s", "uuid": "u", "total_cost_usd": 1, "num_turns": 2, "usage": USAGE}
            | {"modelUsage": {"claude-opus-4-6": {"inputTokens": 9, "outputTokens": 8, "costUSD": 1}}},
        ],
    ),
    (
        codex.FORMAT,
        [
            {"timestamp": TIME, "type": "session_meta", "payload": {"id": "s", "forked_from_id": "p"}},
            {"timestamp": TIME, "type": "turn_context", "payload": {"model": "gpt-5"}},
            {"timestamp": TIME, "type": "event_msg", "payload": {"type": "task_started", "started_at": 1_880_920_000}},
            {"timestamp": TIME, "type": "response_item", "payload": {"type": "function_call", "name": "a"}},
            {"timestamp": TIME, "type": "event_msg"}
            | {"payload": {"type": "token_count", "info": {"total_token_usage": USAGE, "last_token_usage": USAGE}}},
        ],
    ),
    (
        litellm.FORMAT,
        [
            {"id": "c", "call_type": "completion", "response_cost": 1, "startTime": 1.5, "model": "gpt-4o"}
            | {"metadata": {"usage_object": {"prompt_tokens": 9, "completion_tokens": 8}}, "request_tags": ["a"]}
            | {"response": {"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}}
        ],
    ),
    (
        neutral.FORMAT,
        [{"id": "c", "session": "s", "cost_usd": 1, "started_at": 1, "tools": [{"name": "f"}], "tags": ["a"]} | TOKENS],
    ),
]
HOSTILE: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0.5, 1e308, 2**62, 2**70, "", "x", "-1", "NaN", "1e999", "\x00", [], {}, [[]], [None], {"a": {}}]
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON value, with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


@pytest.mark.parametrize(("importer", "records"), RECORDS, ids=lambda value: getattr(value, "name", ""))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_importers_read_on(
    importer: Format, records: list[dict[str, Any]], data: st.DataObject, tmp_path: Path
) -> None:
    changed = copy.deepcopy(records)
    found = list(places(changed))
    for container, key in data.draw(st.lists(st.sampled_from(found), min_size=1, max_size=3)):
        container[key] = data.draw(HOSTILE)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in (*changed, *records)))
    for call in importer.read(FileSource(path)):
        assert min(getattr(call.usage, name) for name in call.usage.__struct_fields__) >= 0
        assert call.recorded_cost is None or call.recorded_cost >= 0
        assert isinstance(call.id, str)
        assert isinstance(call.session, str)
        assert isinstance(call.model, str)


@pytest.mark.parametrize(("importer", "records"), RECORDS, ids=lambda value: getattr(value, "name", ""))
def test_the_records_are_those_of_the_format(importer: Format, records: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = FileSource(path)
    assert [call.usage.total_tokens for call in importer.read(source) if call.kind == "model"] == [17]
    assert source.problems.kept == []
