"""An audit as CSV."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import Any, TextIO

from budgeted_agents.reports.audit.report import AuditReport
from budgeted_agents.reports.tables import printable

_FORMULA = ("=", "+", "-", "@")
"""What makes a spreadsheet compute a cell instead of showing it."""


def write_csv(report: AuditReport, by: str, file: TextIO) -> None:
    """Write the rows of one grouping, with a header.

    Args:
        report: the audit.
        by: ``session``, ``model``, ``node``, ``tool``, ``tenant``, ``feature`` or ``day``.
        file: open for text.
    """
    rows = report.rows(by)
    if not rows:
        return
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
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
