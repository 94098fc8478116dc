"""Langfuse: traces, exports of observations, blob storage."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, ESTIMATED, NO_USAGE_RECORDED
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.langfuse import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.langfuse_rows import TRACE, as_csv, as_parquet, observation, snake
from tests.traces.formats.support import Imported, imported, written


def from_trace(folder: Path, *observations: dict[str, Any]) -> Imported:
    return imported(FORMAT, written(folder, "t1.trace.json", {"trace": TRACE, "observations": list(observations)}))


def test_generations_are_calls_and_tools_are_tools(tmp_path: Path) -> None:
    agent = observation("agent", "AGENT", costDetails={"total": 0.00024}, usageDetails={"input": 200, "output": 20})
    tool = observation("get_weather", "TOOL", input='{"city": "Oslo"}')
    found = from_trace(tmp_path, agent, observation("a", parentObservationId="agent"), tool, observation("b"))
    assert [call.span for call in found.models] == ["a", "b"]
    assert found.recorded == Decimal("0.00024")
    (call,) = found.of("tool")
    assert (call.tool, call.parent, call.fingerprint != "") == ("get_weather", "", True)


def test_a_call_carries_what_its_trace_says(tmp_path: Path) -> None:
    (call,) = from_trace(tmp_path, observation("a", level="ERROR", metadata='{"langgraph_node": "plan"}')).models
    assert (call.session, call.trace, call.span, call.model) == ("s1", "t1", "a", "gpt-4o-mini")
    assert call.attribution == {"user": "u1", "workflow": "support", "tags": "beta,eu"}
    assert (call.started_at, call.ended_at) == (1773059163.5, 1773059166.0)
    assert (call.node, call.error, call.usage) == ("plan", "error", Usage(input=100, output=10))


def test_a_trace_without_session_is_its_own(tmp_path: Path) -> None:
    source = written(
        tmp_path, "trace.json", {"trace": {**TRACE, "sessionId": None}, "observations": [observation("a")]}
    )
    assert imported(FORMAT, source).models[0].session == "t1"


def test_a_generation_that_only_sums_up_the_ones_below_is_no_call(tmp_path: Path) -> None:
    above = observation("above", usageDetails={"input": 200, "output": 20})
    below = [observation(id, parentObservationId="above") for id in ("a", "b")]
    assert [call.span for call in from_trace(tmp_path, above, *below).models] == ["a", "b"]


def test_a_generation_above_others_with_figures_of_its_own_counts_and_is_flagged(tmp_path: Path) -> None:
    above = observation("above", usageDetails={"input": 14, "output": 43})
    found = from_trace(tmp_path, above, observation("a", parentObservationId="above"))
    assert [(call.span, call.parent, call.flags) for call in found.models] == [
        ("above", "", (ESTIMATED,)),
        ("a", "", ()),
    ]


@pytest.mark.parametrize(
    ("details", "usage"),
    [
        ({"input": 20, "output": 5, "input_cache_read": 80}, Usage(input=20, output=5, cache_read=80)),
        (
            {"input": 100, "output": 5, "total": 105, "input_cached_tokens": 80},
            Usage(input=20, output=5, cache_read=80),
        ),
        ({"input": 20, "output": 5, "total": 105, "input_cache_read": 80}, Usage(input=20, output=5, cache_read=80)),
        (
            {"input": 1, "output": 2, "input_cache_creation": 50, "input_cache_creation_1h": 30},
            Usage(input=1, output=2, cache_write_5m=20, cache_write_1h=30),
        ),
        ({"input": 9, "output": 4, "output_reasoning_tokens": 6, "total": 19}, Usage(input=9, output=4, reasoning=6)),
        (
            {"input": 190, "output": 164, "total": 354, "prompt_details.cache_read": 64, "prompt_details.audio": 0},
            Usage(input=126, output=164, cache_read=64),
        ),
        (
            {"input": 62, "output": 1, "input_cache_read": 64, "prompt_details.cache_read": 64},
            Usage(input=62, output=1, cache_read=64),
        ),
        ({"input": "20", "output": "5"}, Usage(input=20, output=5)),
    ],
)
def test_each_token_is_in_one_class(tmp_path: Path, details: dict[str, Any], usage: Usage) -> None:
    assert from_trace(tmp_path, observation("a", usageDetails=details)).models[0].usage == usage


def test_a_cache_write_of_unknown_lifetime_is_flagged(tmp_path: Path) -> None:
    written_ = {"input": 1, "output": 1, "input_cache_creation": 50}
    known = {"input": 1, "output": 1, "input_cache_creation_5m": 50}
    found = from_trace(tmp_path, observation("a", usageDetails=written_), observation("b", usageDetails=known))
    assert [call.flags for call in found.models] == [(CACHE_TTL_UNKNOWN,), ()]


def test_no_price_is_not_a_cost_of_zero(tmp_path: Path) -> None:
    unknown = observation("a", costDetails={}, totalCost=0)
    free = observation("b", costDetails={"total": 0})
    old = observation("c", costDetails=None, totalCost=None, calculatedTotalCost=0.5)
    found = from_trace(tmp_path, unknown, free, old)
    assert [call.recorded_cost for call in found.models] == [None, Decimal(0), Decimal("0.5")]


def test_the_twelve_decimals_of_langfuse_are_kept(tmp_path: Path) -> None:
    (call,) = from_trace(tmp_path, observation("a", costDetails={"total": 0.000234449999})).models
    assert call.recorded_cost == Decimal("0.000234449999")


def test_a_call_without_usage_is_flagged(tmp_path: Path) -> None:
    assert from_trace(tmp_path, observation("a", usageDetails={})).models[0].flags == (NO_USAGE_RECORDED,)


ROWS = [observation("a"), observation("w", "TOOL", input='{"city":"Oslo"}'), observation("s", "SPAN"), observation("b")]


@pytest.mark.parametrize("tokens", [[100, 10, 110], ["100", "10", "110"]], ids=["numbers", "texts"])
def test_old_exports_have_a_column_for_each_sum(tmp_path: Path, tokens: list[Any]) -> None:
    sums = dict(zip(("promptTokens", "completionTokens", "totalTokens"), tokens, strict=True))
    row = observation("a", usageDetails=None, **sums)
    (call,) = imported(FORMAT, written(tmp_path, "observations.json", [row])).models
    assert (call.usage, call.flags) == (Usage(input=100, output=10), ())


def test_every_export_tells_the_same(tmp_path: Path) -> None:
    blob = [snake(row) for row in ROWS]
    sources = {
        "trace": written(tmp_path, "trace.json", {"trace": TRACE, "observations": ROWS}),
        "api": written(tmp_path, "api.json", {**TRACE, "observations": ROWS}),
        "blob": written(tmp_path, "observations_v2.jsonl", blob),
        "parquet": as_parquet(tmp_path / "rows.parquet", blob),
        "csv": written(tmp_path, "blob.csv", as_csv(blob)),
    }
    told = {
        name: [
            (call.kind, call.id, call.session, call.usage, call.recorded_cost, call.started_at, call.attribution)
            for call in sorted(imported(FORMAT, source).calls, key=lambda call: call.id)
        ]
        for name, source in sources.items()
    }
    assert len(told["trace"]) == 3
    for name, calls in told.items():
        assert calls == told["trace"], name


def test_maps_and_decimals_of_parquet_are_read(tmp_path: Path) -> None:
    details = "MAP {'input': 20::UBIGINT, 'output': 5::UBIGINT, 'input_cache_read': 80::UBIGINT} AS usage_details"
    costs = "MAP {'total': 0.000234449999::DECIMAL(38, 12)} AS cost_details"
    columns = f"'o1' AS id, 't1' AS trace_id, '' AS parent_observation_id, 'GENERATION' AS type, {details}, {costs}"
    duckdb.sql(f"COPY (SELECT {columns}) TO '{tmp_path}/rows.parquet' (FORMAT parquet)")
    (call,) = imported(FORMAT, FileSource(tmp_path / "rows.parquet")).models
    assert (call.usage, call.recorded_cost) == (Usage(20, cache_read=80, output=5), Decimal("0.000234449999"))


def test_exports_of_observations_alone_go_by_trace(tmp_path: Path) -> None:
    for name, content in {
        "batch.json": ROWS,
        "batch.jsonl": ROWS,
        "page.json": {"data": ROWS, "meta": {"page": 1}},
        "batch.csv": as_csv(ROWS),
    }.items():
        found = imported(FORMAT, written(tmp_path, name, content))
        assert [call.session for call in found.models] == ["t1", "t1"], name


def test_csv_with_prompts_of_many_lines_and_any_size(tmp_path: Path) -> None:
    rows = [observation("a", input="long " * 50_000 + '\n\n"quoted",\n'), observation("b")]
    found = imported(FORMAT, written(tmp_path, "batch.csv", as_csv(rows)))
    assert [call.span for call in found.models] == ["a", "b"]


def test_a_bad_observation_costs_only_itself(tmp_path: Path) -> None:
    bad = [
        observation("negative", usageDetails={"input": -5, "output": 1}),
        observation("boolean", usageDetails={"input": True, "output": 1}),
        observation("text", usageDetails={"input": "many", "output": 1}),
        observation("huge", usageDetails={"input": 10**30, "output": 1}),
    ]
    found = from_trace(tmp_path, *bad, observation("good"))
    assert [call.span for call in found.models] == ["good"]
    assert found.source.problems.skipped == 4
    assert all("usage of" in problem for problem in found.problems)


def test_a_bad_cost_is_no_recorded_cost(tmp_path: Path) -> None:
    costs: list[Any] = [-1, "x", True, {}]
    found = from_trace(tmp_path, *(observation(str(cost), costDetails={"total": cost}) for cost in costs))
    assert [call.recorded_cost for call in found.models] == [None] * 4
    assert len(found.problems) == 4
