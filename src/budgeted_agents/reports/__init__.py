"""What was spent, for people."""

from budgeted_agents.reports.accounts import AccountReport, account_report
from budgeted_agents.reports.policies import PolicyReport
from budgeted_agents.reports.spend import SpendReport, spend_as_it_stands, spend_report

__all__ = ["AccountReport", "PolicyReport", "SpendReport", "account_report", "spend_as_it_stands", "spend_report"]
