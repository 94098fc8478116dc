"""Rows as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TextIO

from budgeted_agents.reports.tables import printable

_FORMULA = ("=", "+", "-", "@")
"""What makes a spreadsheet compute a cell instead of showing it."""


def write_rows(rows: Sequence[Mapping[str, Any]], file: TextIO) -> None:
    """Write rows of the same fields, with a header; nothing if there are none.

    Args:
        rows: what to write.
        file: open for text.
    """
    if not rows:
        return
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """Names come from outside: none of them may be taken for a formula."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str):
        shown = printable(value)
        return f"'{shown}" if shown.startswith(_FORMULA) else shown
    return value
