"""LangSmith: runs, batches of their beginnings and ends, bulk export."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, NO_USAGE_RECORDED
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.langsmith import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.support import imported, written

USAGE = {"input_tokens": 43, "output_tokens": 2497, "total_tokens": 2540, "output_token_details": {"reasoning": 1408}}


def run(id: str, run_type: str = "llm", **fields: Any) -> dict[str, Any]:
    metadata = {"ls_model_name": "o1-mini", "ls_provider": "openai", "thread_id": "chat-7", "user_id": "u1"}
    return {
        "id": id,
        "trace_id": "trace-1",
        "parent_run_id": "root",
        "dotted_order": f"20241011T205824544431Z{id}",
        "session_id": "the-project",
        "session_name": "support",
        "name": "ChatOpenAI",
        "run_type": run_type,
        "start_time": "2024-10-11T20:58:24.500000+00:00",
        "end_time": "2024-10-11T20:58:39.500000",
        "extra": {"metadata": {**metadata, **fields.pop("metadata", {})}},
        "inputs": {"messages": []},
        "outputs": {"model": "o1-mini-2024-09-12", "usage_metadata": USAGE} if run_type == "llm" else {},
        "tags": ["eu"],
        **fields,
    }


def test_model_runs_are_calls_and_tool_runs_are_tools(tmp_path: Path) -> None:
    chain = run("root", "chain", prompt_tokens=43, completion_tokens=2497, total_cost="0.03")
    tool = run("t", "tool", name="search", inputs={"input": "{'query': 'x'}"})
    embedding = run("e", "embedding", outputs={}, prompt_tokens=12, completion_tokens=0, total_tokens=12)
    found = imported(FORMAT, written(tmp_path, "runs.json", [chain, run("a", total_cost="0.0301"), tool, embedding]))
    assert [(call.kind, call.id) for call in found.models] == [("model", "a"), ("embedding", "e")]
    assert found.recorded == Decimal("0.0301")
    assert [(call.tool, call.fingerprint != "") for call in found.of("tool")] == [("search", True)]
    assert found.models[1].usage == Usage(input=12)


def test_runs_below_a_run_count_where_it_was_loaded_with_them(tmp_path: Path) -> None:
    root = run("root", "chain", child_runs=[run("a"), run("b", "chain", child_runs=[run("c")]), run("d")])
    found = imported(FORMAT, written(tmp_path, "tree.json", root))
    assert [call.id for call in found.models] == ["a", "c", "d"]


def test_a_call_carries_what_its_run_says(tmp_path: Path) -> None:
    (call,) = imported(FORMAT, written(tmp_path, "runs.jsonl", [run("a")])).calls
    assert (call.session, call.trace, call.span, call.parent, call.line) == ("chat-7", "trace-1", "a", "root", 1)
    assert (call.model, call.model_asked, call.provider) == ("o1-mini-2024-09-12", "o1-mini", "openai")
    assert (call.started_at, call.ended_at) == (1728680304.5, 1728680319.5)
    assert call.usage == Usage(input=43, output=1089, reasoning=1408)
    assert call.attribution == {"user": "u1", "workflow": "support", "tags": "eu"}


@pytest.mark.parametrize(
    ("metadata", "session"),
    [
        ({"thread_id": None, "session_id": "s"}, "s"),
        ({"thread_id": None, "conversation_id": "c"}, "c"),
        ({"thread_id": None}, "trace-1"),
    ],
)
def test_a_session_is_never_the_project(tmp_path: Path, metadata: dict[str, Any], session: str) -> None:
    source = written(tmp_path, "runs.json", [run("a", metadata=metadata)])
    assert imported(FORMAT, source).calls[0].session == session


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_the_thread_of_a_trace_is_that_of_all_its_runs(tmp_path: Path, ending: str, order: int) -> None:
    """As where only the first run is given it; exports begin with the newest run."""
    bare = {"thread_id": None, "user_id": None}
    runs = [run("root", "chain"), run("a", metadata=bare), run("t", "tool", metadata=bare), run("b", metadata=bare)]
    runs += [run("x", trace_id="trace-2", metadata=bare), run("y", trace_id="trace-3", metadata={"thread_id": "own"})]
    source = written(tmp_path, f"runs.{ending.replace('parquet', 'json')}", runs[::order])
    if ending == "parquet":
        duckdb.execute(f"COPY (FROM '{source.path}') TO '{tmp_path}/runs.parquet'")
        source = FileSource(tmp_path / "runs.parquet")
    sessions = {call.id: call.session for call in FORMAT.read(source)}
    assert sessions == {"a": "chat-7", "t": "chat-7", "b": "chat-7", "x": "trace-2", "y": "own"}


@pytest.mark.parametrize(
    ("details", "usage", "flags"),
    [
        ({"cache_read": 40, "cache_creation": 30}, Usage(30, cache_read=40, cache_write_5m=30), (CACHE_TTL_UNKNOWN,)),
        ({"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20}, Usage(50, 0, 30, 20), ()),
        ({"cache_read_over_200k": 60}, Usage(40, cache_read=60), ()),
    ],
)
def test_cached_tokens_are_part_of_the_input(
    tmp_path: Path, details: dict[str, int], usage: Usage, flags: tuple[str, ...]
) -> None:
    reported = {"input_tokens": 100, "output_tokens": 0, "total_tokens": 100, "input_token_details": details}
    source = written(tmp_path, "runs.json", [run("a", outputs={"usage_metadata": reported})])
    (call,) = imported(FORMAT, source).calls
    assert (call.usage, call.flags) == (usage, flags)


MESSAGE = {"kwargs": {"usage_metadata": USAGE, "response_metadata": {"model_name": "answered"}}}


@pytest.mark.parametrize(
    ("fields", "usage"),
    [
        ({"outputs": {"generations": [[{"message": MESSAGE}]]}}, Usage(43, output=1089, reasoning=1408)),
        ({"outputs": {}, "metadata": {"usage_metadata": USAGE}}, Usage(43, output=1089, reasoning=1408)),
        (
            {"outputs": {"llm_output": {"token_usage": {"prompt_tokens": 7, "completion_tokens": 2}}}},
            Usage(7, output=2),
        ),
        (
            {"outputs": {}, "prompt_tokens": 9, "completion_tokens": 2, "prompt_token_details": {"cache_read": 4}},
            Usage(5, cache_read=4, output=2),
        ),
    ],
)
def test_usage_is_found_wherever_it_was_put(tmp_path: Path, fields: dict[str, Any], usage: Usage) -> None:
    assert imported(FORMAT, written(tmp_path, "runs.json", [run("a", **fields)])).calls[0].usage == usage


def test_a_stream_without_usage_is_flagged(tmp_path: Path) -> None:
    source = written(tmp_path, "runs.json", [run("a", outputs={"usage_metadata": None})])
    assert imported(FORMAT, source).calls[0].flags == (NO_USAGE_RECORDED,)


@pytest.mark.parametrize(
    ("fields", "recorded"),
    [
        ({"total_cost": "0.0301"}, "0.0301"),
        ({"outputs": {"usage_metadata": {**USAGE, "total_cost": 0.5}}}, "0.5"),
        ({"prompt_cost": "0.25", "completion_cost": "0.5"}, "0.75"),
    ],
)
def test_the_cost_is_the_runs_own(tmp_path: Path, fields: dict[str, Any], recorded: str) -> None:
    (call,) = imported(FORMAT, written(tmp_path, "runs.json", [run("a", **fields)])).calls
    assert call.recorded_cost == Decimal(recorded)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"error": "RateLimitError('slow down: secret prompt')\n\nTraceback"}, "RateLimitError"),
        ({"error": "openai.BadRequestError: Error code: 400"}, "BadRequestError"),
        ({"error": "the prompt was: hello"}, "error"),
        ({"status": "error"}, "error"),
        ({"status": "success"}, ""),
    ],
)
def test_an_error_is_a_class_and_never_its_text(tmp_path: Path, fields: dict[str, Any], error: str) -> None:
    assert imported(FORMAT, written(tmp_path, "runs.json", [run("a", **fields)])).calls[0].error == error


def test_a_patch_completes_its_post_also_in_a_later_body(tmp_path: Path) -> None:
    post = run("a", outputs={}, end_time=None)
    patch = {"id": "a", "trace_id": "trace-1", "end_time": "2024-10-11T20:58:39.5Z", "outputs": run("a")["outputs"]}
    bodies = [
        {"post": [post, run("b")], "patch": []},
        {"post": [run("c", outputs={}, end_time=None)], "patch": [patch]},
    ]
    for source in (
        written(tmp_path, "bodies.jsonl", bodies),
        written(tmp_path, "body.json", {"post": [post, run("b"), bodies[1]["post"][0]], "patch": [patch]}),
    ):
        found = imported(FORMAT, source)
        assert sorted((call.id, call.usage.output) for call in found.models) == [("a", 1089), ("b", 1089), ("c", 0)]
        assert {call.started_at for call in found.models} == {1728680304.5}


def test_a_patch_without_its_post_is_a_problem(tmp_path: Path) -> None:
    bodies = [{"post": [run("a")], "patch": [{"id": "b", "trace_id": "t", "outputs": run("b")["outputs"]}]}]
    found = imported(FORMAT, written(tmp_path, "bodies.jsonl", bodies))
    assert [call.id for call in found.models] == ["a"]
    assert "whose beginning is not in this file" in found.problems[0]


def test_bulk_export_is_parquet_with_json_in_columns(tmp_path: Path) -> None:
    plain = written(
        tmp_path, "runs.jsonl", [run("a", total_cost="0.0301"), run("root", "chain"), run("b", error="X()")]
    )
    texts = ", ".join(f"{name}::JSON::VARCHAR AS {name}" for name in ("extra", "outputs"))
    columns = f"* REPLACE (start_time::TIMESTAMPTZ AS start_time, {texts})"
    target = tmp_path / "runs.parquet"
    duckdb.sql(f"COPY (SELECT {columns} FROM read_json('{plain.path}')) TO '{target}' (FORMAT parquet)")
    found, expected = imported(FORMAT, FileSource(target)), imported(FORMAT, plain)
    assert [
        (call.id, call.session, call.usage, call.recorded_cost, call.started_at, call.error) for call in found.calls
    ] == [
        (call.id, call.session, call.usage, call.recorded_cost, call.started_at, call.error) for call in expected.calls
    ]
    assert len(found.calls) == 2


def test_a_bad_run_costs_only_itself(tmp_path: Path) -> None:
    bad = run("bad", outputs={"usage_metadata": {"input_tokens": -1, "output_tokens": 0, "total_tokens": 0}})
    odd = {
        "id": "odd",
        "trace_id": 7,
        "run_type": "llm",
        "extra": "no object",
        "outputs": [1],
        "inputs": None,
        "tags": 3,
    }
    found = imported(FORMAT, written(tmp_path, "runs.jsonl", [run("a"), bad, odd, run("b"), {**odd, "id": ["x"]}]))
    assert [call.span for call in found.models] == ["a", "odd", "b"]
    assert found.problems[0].startswith(f"{found.source.path}:2: usage of run bad: input_tokens=-1: is negative")
    assert found.problems[1].startswith(f"{found.source.path}:5: run: id=['x']: is no id")
