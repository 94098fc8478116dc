"""What traces say was spent, audited: as an object, a table, JSON, CSV and a page."""

from budgeted_agents.reports.audit.build import audit_report, file_audit, reading_warnings
from budgeted_agents.reports.audit.report import AuditReport, Figures, FileAudit, SessionAudit, Signals

__all__ = [
    "AuditReport",
    "Figures",
    "FileAudit",
    "SessionAudit",
    "Signals",
    "audit_report",
    "file_audit",
    "reading_warnings",
]
