"""Rows of Parquet files."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pytest

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.parquet import mentions, rows


def parquet(path: Path, query: str) -> FileSource:
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return FileSource(path)


def test_rows_come_with_the_wanted_columns_and_times_in_seconds(tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "runs.parquet",
        "SELECT i AS id, TIMESTAMPTZ '2026-01-01 00:00:00.5+00' AS at, uuid() AS run, 'x' AS text "
        "FROM range(3000) t(i)",
    )
    found = list(rows(source, {"id", "at", "run", "absent"}))
    assert [row["id"] for row in found] == list(range(3000))
    assert found[0]["at"] == 1767225600.5
    assert isinstance(found[0]["run"], str)
    assert found[0].keys() == {"id", "at", "run"}


def test_a_file_may_have_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    source = parquet(tmp_path / "runs [1] *.parquet", "SELECT 7 AS id")
    parquet(tmp_path / "runs 1 x.parquet", "SELECT 8 AS id")
    assert list(rows(source, {"id"})) == [{"id": 7}]


def test_rows_are_read_by_the_values_of_a_column(tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "runs.parquet", "SELECT i AS id, ['llm', 'tool', 'chain'][1 + i % 3] AS kind FROM range(9) t(i)"
    )
    assert [row["id"] for row in rows(source, {"id"}, kind=("llm", "tool"))] == [0, 1, 3, 4, 6, 7]


def test_the_schema_is_seen_without_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = parquet(tmp_path / "runs.parquet", "SELECT 1 AS run_type, 2 AS trace_id")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert mentions(source, "run_type", "trace_id")
    assert not mentions(source, "usage_details")
    with pytest.raises(InvalidTrace, match=r"DuckDB .* not installed.*budgeted-agents\[replay\]"):
        list(rows(source, {"run_type"}))


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\xff" * 64, b"PAR1" + b"\0" * 64 + b"PAR1"])
def test_a_damaged_file_is_an_invalid_trace(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    assert not mentions(FileSource(path), "run_type")
    with pytest.raises(InvalidTrace, match=r"damaged\.parquet"):
        list(rows(FileSource(path), {"run_type"}))
