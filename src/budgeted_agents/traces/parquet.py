"""Rows of Parquet files, through DuckDB, a batch at a time."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.sources import Source

if TYPE_CHECKING:
    import duckdb

_MAGIC = b"PAR1"
_TAIL = 8  # the length of the footer (4 bytes) and the magic again
_LARGEST_FOOTER = 16 * 1024 * 1024
_BATCH = 1024
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "1GB",
    "autoinstall_known_extensions": False,  # nothing is fetched from the network
}


def is_parquet(source: Source) -> bool:
    """Whether a file begins as Parquet does."""
    return source.head.startswith(_MAGIC)


def mentions(source: Source, *columns: str) -> bool:
    """Whether a file is Parquet and its schema has columns of these names. Needs no DuckDB."""
    if not is_parquet(source):
        return False
    footer = _footer(source.path)
    return all(column.encode() in footer for column in columns)


def rows(source: Source, columns: Collection[str], **allowed: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file, with those of the columns that it has; times as seconds since the epoch.

    Args:
        source: the file.
        columns: the columns to read; every other one costs nothing.
        allowed: values of a column, to read the rows with those only.

    Raises:
        InvalidTrace: DuckDB is not installed, or the file is damaged or inside an archive.
    """
    try:
        import duckdb
    except ImportError:
        raise _unreadable(
            source, "DuckDB reads Parquet, and is not installed", 'pip install "budgeted-agents[replay]"'
        ) from None
    try:
        with duckdb.connect(":memory:", config=_SETTINGS) as connection:
            yield from _stream(connection, glob.escape(source.path), columns, allowed)
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise _unreadable(source, f"cannot be read as Parquet ({reason})", "Give an intact file, unpacked") from None


def _stream(
    connection: duckdb.DuckDBPyConnection, path: str, columns: Collection[str], allowed: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
    wanted = [(str(name), str(kind)) for name, kind, *_ in described if name in columns]
    if not wanted:
        return
    selected = ", ".join(_selected(name, kind) for name, kind in wanted)
    conditions = "".join(f' AND "{name}" IN (SELECT unnest(?))' for name in allowed)
    query = f"SELECT {selected} FROM read_parquet(?) WHERE true{conditions}"
    result = connection.execute(query, [path, *(list(values) for values in allowed.values())])
    names = [name for name, _ in wanted]
    while batch := result.fetchmany(_BATCH):
        for row in batch:
            yield dict(zip(names, row, strict=True))


def _selected(name: str, kind: str) -> str:
    """A column as SQL; ids as text, because that is what they are in every other export."""
    if kind.startswith("TIMESTAMP"):
        return f'epoch("{name}")'
    return f'"{name}"::VARCHAR' if kind == "UUID" else f'"{name}"'


def _footer(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _TAIL, 0))
            length = int.from_bytes(file.read(4), "little")
            if length > min(size, _LARGEST_FOOTER):
                return b""
            file.seek(max(size - _TAIL - length, 0))
            return file.read(length)
    except OSError:
        return b""


def _unreadable(source: Source, problem: str, remedy: str) -> InvalidTrace:
    return InvalidTrace(problem, field="file", value="Parquet", place=source.path, remedy=remedy)
