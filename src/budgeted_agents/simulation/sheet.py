"""What-if as CSV."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import Any, TextIO

from budgeted_agents.reports.tables import printable
from budgeted_agents.simulation.report import WhatIfReport

_FORMULA = ("=", "+", "-", "@")
"""What makes a spreadsheet compute a cell instead of showing it."""


def write_csv(report: WhatIfReport, file: TextIO) -> None:
    """Write a row for each policy and session, with a header.

    Args:
        report: what to write.
        file: open for text.
    """
    rows = report.rows()
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
