"""An audit as CSV."""

from __future__ import annotations

from typing import TextIO

from budgeted_agents.reports.audit.report import AuditReport
from budgeted_agents.reports.sheet import write_rows


def write_csv(report: AuditReport, by: str, file: TextIO) -> None:
    """Write the rows of one grouping, with a header.

    Args:
        report: the audit.
        by: ``session``, ``model``, ``node``, ``tool``, ``tenant``, ``feature`` or ``day``.
        file: open for text.
    """
    write_rows(report.rows(by), file)
