"""Langfuse's older exports to blob storage, where traces and observations have files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.audit.scan import scan, trace_calls
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.langfuse import FORMAT
from tests.traces.formats.langfuse_rows import as_csv, as_parquet, observation, trace, without_trace
from tests.traces.formats.support import imported, written

NOON, ONE = "2026-03-09T12-00-00", "2026-03-09T13-00-00"


def exported(folder: Path, table: str, window: str, rows: list[dict[str, Any]], kind: str = "jsonl") -> FileSource:
    """A file of an export, for the stretch of time that ends there."""
    path = folder / table / f"{window}.{kind}"
    if kind == "parquet":
        return as_parquet(path, rows)
    return written(path.parent, path.name, as_csv(rows) if kind == "csv" else rows)


def observed(id: str, of: str = "t1", **fields: Any) -> dict[str, Any]:
    return without_trace(observation(id, traceId=of, **fields))


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_observations_carry_what_their_trace_says(tmp_path: Path, kind: str) -> None:
    traces = [trace(), trace("t2", session_id=None, user_id=None, name="", tags=[])]
    exported(tmp_path, "traces", NOON, traces, kind)
    rows = [observed("a"), observed("b", "t2"), observed("tool", type="TOOL"), observed("span", type="SPAN")]
    found = imported(FORMAT, exported(tmp_path, "observations", NOON, rows, kind))
    said = {call.span: (call.session, dict(call.attribution)) for call in found.calls}
    of_first = {"user": "u1", "environment": "default", "workflow": "support", "tags": "beta,eu"}
    assert said == {"a": ("s1", of_first), "b": ("t2", {"environment": "default"}), "tool": ("s1", of_first)}
    assert found.problems == []


def test_a_trace_may_have_begun_earlier(tmp_path: Path) -> None:
    windows = [f"2026-03-09T{hour:02}-00-00" for hour in range(8, 14)]
    for hour, window in enumerate(windows, 8):
        exported(tmp_path, "traces", window, [trace(f"t{hour}", session_id=f"s{hour}")])
    rows = [observed(str(hour), f"t{hour}") for hour in range(8, 14)]
    found = imported(FORMAT, exported(tmp_path, "observations", NOON, rows))
    sessions = {call.span: call.session for call in found.models}
    assert sessions == {"8": "t8", "9": "s9", "10": "s10", "11": "s11", "12": "s12", "13": "t13"}
    (problem,) = found.problems
    assert "of 2 observations no file in" in problem


def test_what_an_observation_says_itself_wins(tmp_path: Path) -> None:
    exported(tmp_path, "traces", NOON, [trace(environment="production")])
    found = imported(FORMAT, exported(tmp_path, "observations", NOON, [observed("a", environment="staging")]))
    assert found.models[0].attribution["environment"] == "staging"


def test_observations_without_their_traces_go_by_trace_and_say_so(tmp_path: Path) -> None:
    found = imported(FORMAT, exported(tmp_path, "observations", NOON, [observed("a"), observed("b")]))
    assert [call.session for call in found.models] == ["t1", "t1"]
    (problem,) = found.problems
    assert str(tmp_path / "traces") in problem


def test_a_damaged_file_of_traces_costs_itself(tmp_path: Path) -> None:
    written(tmp_path / "traces", f"{NOON}.jsonl.gz", b"\x1f\x8b\x08 cut off")
    exported(tmp_path, "traces", "2026-03-09T11-00-00", [trace()])
    found = imported(FORMAT, exported(tmp_path, "observations", NOON, [observed("a")]))
    assert [call.session for call in found.models] == ["s1"]
    (problem,) = found.problems
    assert f"{NOON}.jsonl.gz, which tells of its traces, is damaged" in problem


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_whole_export_is_read_without_a_word(tmp_path: Path, kind: str) -> None:
    """Scores are no calls, and enriched observations are the same ones again."""
    score = {"id": "sc", "timestamp": "2026-03-09", "trace_id": "t1", "name": "x", "value": 1.0, "data_type": "NUMERIC"}
    enriched = observed("a") | {"session_id": "s1", "user_id": "u1"}
    for table, rows in {
        "observations": [observed("a"), observed("b")],
        "observations_v2": [enriched],
        "scores": [score | {"string_value": "one"}],
        "traces": [trace()],
    }.items():
        exported(tmp_path / "p", table, NOON, rows, kind)
    found = scan([tmp_path / "p"], workers=1)
    assert {name: session.calls for name, session in found.audit.sessions.items()} == {"s1": 2}
    assert [problem for file in found.files for problem in file.problems.kept] == []
    assert {call.session for call in trace_calls([tmp_path / "p"])} == {"s1"}


def test_a_trace_whose_observations_come_behind_a_long_prompt_is_read(tmp_path: Path) -> None:
    long = {"id": "t1", "projectId": "p", "sessionId": "s1", "bookmarked": False, "input": "x" * 100_000}
    found = imported(FORMAT, written(tmp_path, "trace.json", long | {"observations": [observation("a")]}))
    assert [call.session for call in found.models] == ["s1"]
