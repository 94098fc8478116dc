"""Ledgers: where money is kept. ``contract`` says what each one promises, ``open_ledger`` finds one by URL."""

from budgeted_agents.ledgers.contract import (
    Account,
    Balance,
    Entry,
    Hold,
    Ledger,
    Memo,
    Note,
    Refusal,
    Reservation,
    Scope,
    Settlement,
    State,
)
from budgeted_agents.ledgers.memory import MemoryLedger
from budgeted_agents.ledgers.opening import LedgerLike, as_ledger, open_existing, open_ledger
from budgeted_agents.ledgers.topping_up import TopUp, top_up

__all__ = [
    "Account",
    "Balance",
    "Entry",
    "Hold",
    "Ledger",
    "LedgerLike",
    "Memo",
    "MemoryLedger",
    "Note",
    "Refusal",
    "Reservation",
    "Scope",
    "Settlement",
    "State",
    "TopUp",
    "as_ledger",
    "open_existing",
    "open_ledger",
    "top_up",
]
