"""What observations are part of, where only their traces say so: older exports to blob storage have files for each.

The folders ``traces`` and ``observations`` stand side by side and have files of the same names, one for each stretch of
time. A trace stands where it began, so its last observations may be in later files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces import parquet
from budgeted_agents.traces.documents import Record
from budgeted_agents.traces.fields import text
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.langfuse.tables import renamed, text_rows
from budgeted_agents.traces.sources import Source

_SAID = ("session_id", "user_id", "environment", "tags")
_COLUMNS = frozenset({"id", "name", *_SAID})
_MOST_FILES = 4
"""Files of traces that are looked into for one of observations: its own stretch of time, and those before it."""


def context_of(trace: Record) -> Record:
    """What a trace says of its observations, under the names that they use where they say it themselves."""
    said = {name: trace.get(name) for name in _SAID} | {"trace_name": trace.get("name")}
    return {name: value for name, value in said.items() if value is not None}


def with_traces(rows: Iterable[tuple[int, Record]], source: Source) -> Iterator[tuple[int, Record]]:
    """Observations, each with what its trace says, if they stand where traces stand in files beside theirs."""
    path = Path(source.path)
    if path.parent.name != "observations":
        yield from rows
        return
    unknown = 0
    with closing(_Traces(path, source)) as traces:
        for line, row in rows:
            context = traces.of(text(row.get("trace_id")))
            unknown += context is None
            yield line, {**(context or {}), **{name: value for name, value in row.items() if value is not None}}
    if unknown:
        source.problems.warn(
            f"of {unknown:,} observations no file in {path.parent.parent / 'traces'}, of the same time or a little "
            "before, has the trace; it counts as their session"
        )


class _Traces:
    """What traces say. They are kept in a temporary database, so that memory does not grow with their number."""

    def __init__(self, path: Path, source: Source) -> None:
        self._problems = source.problems
        self._files = iter(_beside(path))
        self._contexts = sqlite3.connect("")
        self._contexts.execute("PRAGMA journal_mode = OFF")
        self._contexts.execute("PRAGMA cache_size = -16000")
        self._contexts.execute("CREATE TABLE context (trace TEXT PRIMARY KEY, said BLOB) WITHOUT ROWID")

    def close(self) -> None:
        """The database is deleted."""
        self._contexts.close()

    def of(self, trace: str) -> Record | None:
        """What a trace says; None if no file tells of it."""
        while (found := self._known(trace)) is None and (file := next(self._files, None)) is not None:
            self._take(file)
        return found

    def _known(self, trace: str) -> Record | None:
        found = self._contexts.execute("SELECT said FROM context WHERE trace = ?", (trace,)).fetchone()
        return None if found is None else msgspec.json.decode(found[0], type=dict)

    def _take(self, file: Path) -> None:
        source = FileSource(file)
        encode = msgspec.json.Encoder().encode
        try:
            said = ((text(row.get("id")), encode(context_of(row))) for row in _rows(source))
            self._contexts.executemany("INSERT OR IGNORE INTO context VALUES (?, ?)", said)
        except InvalidTrace as error:
            self._problems.warn(f"{file}, which tells of its traces, {error.problem}. {error.remedy}")


def _beside(path: Path) -> list[Path]:
    """The files of traces of the same time as one of observations, and of a little before, the newest first."""
    name = path.name.partition(".")[0]
    earlier = (file for file in (path.parent.parent / "traces").glob("*.*") if file.name.partition(".")[0] <= name)
    return sorted(earlier, reverse=True)[:_MOST_FILES]


def _rows(source: Source) -> Iterator[Record]:
    if parquet.is_parquet(source):
        return parquet.rows(source, _COLUMNS)
    return (renamed(row) for _, row in text_rows(source))
