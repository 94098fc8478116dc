"""Presuming what is overdue, for whoever reads a ledger afterward."""

from __future__ import annotations

from budgeted_agents.errors import LedgerUnavailable
from budgeted_agents.ledgers.contract import Ledger, Settlement


def presume_overdue(ledger: Ledger, now: float) -> list[Settlement]:
    """Presume what is overdue at ``now`` (seconds since the epoch), as far as the ledger can be written: one that
    cannot is read as it stands, with such calls in flight."""
    try:
        return ledger.expire(now)
    except LedgerUnavailable:
        return []
