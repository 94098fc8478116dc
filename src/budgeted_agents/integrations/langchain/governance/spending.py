"""``spend``: what a session has spent, for whoever keeps an application inside a budget."""

from __future__ import annotations

from budgeted_agents.meter import Meter, presume_overdue
from budgeted_agents.reports import SpendReport, spend_as_it_stands


def session_report(meter: Meter, session: str) -> SpendReport:
    """The report of a session. What is overdue counts as spent; listeners hear of thresholds that it crosses."""
    if (host := meter.hosts.of(session)) is not None:
        meter = host.meter
    presume_overdue(meter)
    return spend_as_it_stands(meter.ledger, session)
