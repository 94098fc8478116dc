"""The neutral format: every field arrives, and what is not in it is reported."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.call import ESTIMATED, LOCAL_MODEL
from budgeted_agents.traces.formats.neutral import FIELDS, FORMAT
from budgeted_agents.usage import Usage
from tests.docs.blocks import blocks_of
from tests.traces.formats.lines import write_lines
from tests.traces.formats.support import imported

PAGE = Path(__file__).parents[3] / "docs" / "traces.md"


def record(id: str = "c1", **fields: Any) -> dict[str, Any]:
    return {"id": id, "session": "s1", "model": "gpt-4o", "input_tokens": 100, "output_tokens": 20} | fields


def test_a_call_arrives_with_all_it_says(tmp_path: Path) -> None:
    who = {name: name[0] for name in ("tenant", "user", "feature", "cost_center", "workflow", "environment")}
    source = write_lines(
        tmp_path / "calls.jsonl",
        record(
            model_asked="gpt-4.1",
            provider="azure",
            service_tier="flex",
            region="eu",
            cached_input_tokens=60,
            reasoning_output_tokens=5,
            cost_usd="0.0123",
            started_at="2026-02-09T19:07:30Z",
            ended_at=1770664051,
            node="planner",
            tools=[{"name": "search", "arguments": {"q": 1}}, {"name": "search"}],
            error="TimeoutError",
            is_estimated=True,
            is_local=True,
            trace="t",
            span="a",
            parent="b",
            tags=["x", "y"],
            **who,
        ),
    )
    found = imported(FORMAT, source)
    (call,) = found.models
    assert (call.id, call.session, call.line) == ("c1", "s1", 1)
    assert (call.model, call.model_asked, call.provider) == ("gpt-4o", "gpt-4.1", "azure")
    assert (call.service_tier, call.region) == ("flex", "eu")
    assert call.usage == Usage(input=40, cache_read=60, output=15, reasoning=5)
    assert call.recorded_cost == Decimal("0.0123")
    assert call.ended_at - call.started_at == 1.0
    assert [(tool, bool(digest)) for tool, digest in call.tools] == [("search", True), ("search", False)]
    assert (call.node, call.error, call.flags) == ("planner", "TimeoutError", (ESTIMATED, LOCAL_MODEL))
    assert (call.trace, call.span, call.parent) == ("t", "a", "b")
    assert call.attribution == who | {"tags": "x,y"}
    assert found.problems == []


def test_tools_and_statements_are_kinds_of_records(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path / "calls.jsonl",
        {"id": "t1", "session": "s1", "kind": "tool", "tool": "search", "arguments": {"a": 1, "b": 2}},
        {"id": "t2", "session": "s1", "kind": "tool", "tool": "search", "arguments": {"b": 2, "a": 1}},
        {"id": "s1", "session": "s1", "kind": "statement", "turns": 3, "calls": 9, "succeeded": True},
    )
    found = imported(FORMAT, source)
    first, again = found.of("tool")
    assert first.fingerprint == again.fingerprint != ""
    assert (found.statement.turns, found.statement.calls, found.statement.succeeded) == (3, 9, True)


def test_a_field_that_is_not_in_the_format_is_reported_once(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "calls.jsonl", record(input_token=1), record("c2", input_token=1))
    found = imported(FORMAT, source)
    assert len(found.models) == 2
    (problem,) = found.problems
    assert problem.startswith(f"{source.path}:1: has a field 'input_token'")
    assert source.problems.skipped == 0


def test_a_field_that_is_null_is_left_out_and_names_may_be_numbers(tmp_path: Path) -> None:
    """As a script writes them that knows no better, out of a database."""
    optional: dict[str, Any] = dict.fromkeys(FIELDS - {"id", "session", "model", "input_tokens", "output_tokens"})
    plain = record("7", session="42", user="9")
    source = write_lines(
        tmp_path / "calls.jsonl", record("6", **optional), record(**plain), plain | {"id": 7, "session": 42, "user": 9}
    )
    found = imported(FORMAT, source)
    first, second, third = found.models
    assert (first.usage, first.tools, first.recorded_cost) == (Usage(100, output=20), (), None)
    assert (third.id, third.session, third.attribution) == ("7", "42", {"user": "9"})
    assert (second.usage, found.problems) == (third.usage, [])


def test_a_time_that_is_none_is_told_once(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "calls.jsonl", *(record(str(n), started_at="02/09/2026 7:07 PM") for n in (1, 2)))
    found = imported(FORMAT, source)
    assert [call.started_at for call in found.models] == [0.0, 0.0]
    (problem,) = found.problems
    assert "started_at='02/09/2026 7:07 PM' is no time" in problem
    assert source.problems.skipped == 0


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"{cut off", "is no JSON"),
        (b"[1]", "is no JSON object"),
        ({"id": "c2", "input_tokens": 1}, "session"),
        (record("c2", kind="dream"), "kind"),
        (record("c2", input_tokens=-1), "input_tokens=-1: is negative"),
        (record("c2", output_tokens=1.5), "output_tokens=1.5"),
        (record("c2", cost_usd=-1), "cost=-1: is negative"),
        (record("c2", tools=[{"name": "a", "argument": 1}]), "argument"),
    ],
)
def test_a_bad_line_costs_itself(tmp_path: Path, bad: Any, says: str) -> None:
    source = write_lines(tmp_path / "calls.jsonl", record("c1"), bad, record("c3"))
    found = imported(FORMAT, source)
    assert [call.id for call in found.models] == ["c1", "c3"]
    assert source.problems.skipped == 1
    assert found.problems[0].startswith(f"{source.path}:2")
    assert says in found.problems[0]


@pytest.mark.parametrize("other", [{}, {"id": "a", "session": "b"}, {"id": "a", "session_id": "b", "input_tokens": 1}])
def test_others_are_not_recognized(tmp_path: Path, other: Any) -> None:
    assert not FORMAT.detect(write_lines(tmp_path / "calls.jsonl", other))


def test_the_page_says_what_each_field_means() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in row.split("|")[1].replace("`", "").replace(",", " ").split()}
    assert documented >= FIELDS
    assert any(block.runs for block in blocks_of(text))
