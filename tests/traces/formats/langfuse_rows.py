"""Rows as Langfuse exports them, and files of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import duckdb

from budgeted_agents.traces.files import FileSource
from tests.traces.formats.support import written

TRACE = {"id": "t1", "projectId": "p", "name": "support", "userId": "u1", "sessionId": "s1", "tags": ["beta", "eu"]}


def observation(id: str, type: str = "GENERATION", **fields: Any) -> dict[str, Any]:
    usage = {"input": 100, "output": 10, "total": 110} if type == "GENERATION" else {}
    return {
        "id": id,
        "traceId": "t1",
        "type": type,
        "name": id,
        "startTime": "2026-03-09T12:26:03.500Z",
        "endTime": "2026-03-09T12:26:06.000Z",
        "parentObservationId": None,
        "model": "gpt-4o-mini" if type == "GENERATION" else None,
        "usageDetails": usage,
        "costDetails": {"input": 0.0001, "output": 0.00002, "total": 0.00012} if usage else {},
        "totalCost": 0.00012 if usage else 0,
        "level": "DEFAULT",
        **fields,
    }


def snake(row: dict[str, Any]) -> dict[str, Any]:
    """A row as blob storage has it, with what its trace says."""
    return without_trace(row) | {"session_id": "s1", "user_id": "u1", "trace_name": "support", "tags": ["beta", "eu"]}


def without_trace(row: dict[str, Any]) -> dict[str, Any]:
    """A row as older exports to blob storage have it."""
    names = {"model": "provided_model_name", "traceId": "trace_id", "startTime": "start_time", "endTime": "end_time"}
    names |= {"usageDetails": "usage_details", "costDetails": "cost_details", "totalCost": "total_cost"}
    names |= {"parentObservationId": "parent_observation_id"}
    return {names.get(name, name): value for name, value in row.items()}


def trace(id: str = "t1", **fields: Any) -> dict[str, Any]:
    """A row of the traces that older exports to blob storage have in files of their own."""
    return {
        "id": id,
        "timestamp": "2026-03-09 12:26:03.500000",
        "name": "support",
        "environment": "default",
        "project_id": "p",
        "metadata": {},
        "user_id": "u1",
        "session_id": "s1",
        "release": None,
        "version": None,
        "public": False,
        "bookmarked": False,
        "tags": ["beta", "eu"],
        "input": "hello",
    } | fields


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row))
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()})
    return file.getvalue().encode()


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> FileSource:
    plain = written(path.parent.parent, "rows.jsonl", rows)
    times = ", ".join(f"{name}::TIMESTAMP AS {name}" for name in ("start_time", "end_time") if name in rows[0])
    columns = f"* REPLACE ({times})" if times else "*"
    path.parent.mkdir(exist_ok=True)
    duckdb.sql(f"COPY (SELECT {columns} FROM read_json('{plain.path}')) TO '{path}' (FORMAT parquet)")
    return FileSource(path)
