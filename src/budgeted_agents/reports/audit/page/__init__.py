"""An audit as one HTML page that needs nothing else: no network, no script."""

from budgeted_agents.reports.audit.page.page import audit_page

__all__ = ["audit_page"]
