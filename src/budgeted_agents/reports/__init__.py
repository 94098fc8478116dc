"""What was spent, for people."""

from budgeted_agents.reports.spend import SpendReport, spend_report

__all__ = ["SpendReport", "spend_report"]
