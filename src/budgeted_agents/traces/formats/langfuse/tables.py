"""The tables that Langfuse exports, told by their columns, and their rows under the names that blob storage uses."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from budgeted_agents.traces import parquet
from budgeted_agents.traces.documents import Record, records
from budgeted_agents.traces.sources import Source

Table = Literal["observations", "traces", "scores"]

_MARKS = {"usage_details", "cost_details", "provided_model_name", "parent_observation_id", "calculated_total_cost"}
_OF_OBSERVATIONS = {"id", "trace_id", "type"}
_OF_TRACES = {"id", "session_id", "bookmarked"}
_OF_SCORES = {"id", "trace_id", "data_type", "string_value"}
_LARGEST_FIELD = 64 * 1024 * 1024
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def table_of(source: Source) -> Table | None:
    """Which table a file has; traces that bring their observations along are one of those. None if it is no export."""
    if parquet.is_parquet(source):
        return _table_of_parquet(source)
    columns = {_snake(path) for path in source.outline} or _header(source.head)
    if (
        {"trace.id", "trace.project_id"} <= columns
        or {"project_id", "observations.trace_id"} <= columns
        or ("trace_id" in columns and not _MARKS.isdisjoint(columns))
        or ("data.trace_id" in columns and "data.usage_details" in columns)
    ):
        return "observations"
    return "traces" if columns >= _OF_TRACES else "scores" if columns >= _OF_SCORES else None


def text_rows(source: Source) -> Iterator[tuple[int, Record]]:
    """The records of a file of JSON or CSV, with their lines."""
    return _csv_rows(source) if _header(source.head) else records(source)


def renamed(record: Record) -> dict[str, Any]:
    """A record under the names that blob storage uses."""
    return {_snake(name): value for name, value in record.items()}


def _table_of_parquet(source: Source) -> Table | None:
    if parquet.mentions(source, "trace_id", "parent_observation_id"):
        return "observations"
    if parquet.mentions(source, *_OF_TRACES):
        return "traces"
    return "scores" if parquet.mentions(source, *_OF_SCORES) else None


def _header(head: bytes) -> set[str]:
    """The columns, if this is CSV of one of the tables; else nothing."""
    first = head.partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    columns = {_snake(name.strip('" ')) for name in first.split(",")}
    return columns if any(columns >= known for known in (_OF_OBSERVATIONS, _OF_TRACES, _OF_SCORES)) else set()


def _csv_rows(source: Source) -> Iterator[tuple[int, Record]]:
    line = 0

    def lines() -> Iterator[str]:
        nonlocal line
        for number, data in source.lines():
            line = number
            yield data.decode("utf-8-sig", "replace").rstrip("\r\n") + "\n"

    csv.field_size_limit(_LARGEST_FIELD)  # prompts are larger than the module's default of 128 KiB
    reader = csv.DictReader(lines())
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            source.problems.skip(f"is no CSV: {error}", line)
            continue
        if row is None:
            return
        yield line, {name: value for name, value in row.items() if name and value not in ("", None)}


@lru_cache(maxsize=1024)
def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()
