"""What the ledger contract's tests have in common: accounts, and verbs that check their answer."""

from __future__ import annotations

from typing import Any

from budgeted_agents.ledgers.contract import Account, Balance, Entry, Hold, Ledger, Refusal, Reservation, State

SESSION = Account("session", (("session", "s1"),))
TENANT = Account("tenant", (("tenant", "acme"),), "2026-11")
TOKENS = Account("session", (("session", "s1"),), unit="tokens")


def reserve(
    ledger: Ledger, id: str, *holds: Hold, floor: int = 0, ask: int = 0, now: float = 1, ttl: float = 10, **more: Any
) -> Reservation:
    """A reserve that must be granted."""
    answer = ledger.reserve(id, holds, floor=floor, ask=ask, now=now, ttl=ttl, **more)
    assert isinstance(answer, Reservation), answer
    return answer


def refused(ledger: Ledger, id: str, *holds: Hold, floor: int = 0, ask: int = 0, now: float = 1) -> Refusal:
    """A reserve that must be refused."""
    answer = ledger.reserve(id, holds, floor=floor, ask=ask, now=now, ttl=10)
    assert isinstance(answer, Refusal), answer
    return answer


def expired(ledger: Ledger, now: float, limit: int = 1000) -> list[str]:
    """The ids of what was overdue, in the order it was presumed."""
    return [settlement.id for settlement in ledger.expire(now, limit)]


def balance(ledger: Ledger, account: Account = SESSION) -> Balance:
    return ledger.balances([account])[0]


def figures(ledger: Ledger, account: Account = SESSION) -> tuple[int, int, int]:
    """``(spent, held, presumed)``, after the invariant and the sum over reservations were checked."""
    found = balance(ledger, account)
    assert found.limit == found.available + found.spent + found.held
    entries = [entry for entry in ledger.entries() if account.key in dict(entry.held)]
    assert found.held == sum(dict(e.held)[account.key] for e in entries if e.state is State.RESERVED)
    assert found.spent == sum(dict(e.charged).get(account.key, 0) for e in entries)
    assert found.presumed == sum(dict(e.charged)[account.key] for e in entries if e.state is State.PRESUMED)
    return found.spent, found.held, found.presumed


def entry(ledger: Ledger, id: str) -> Entry:
    return next(entry for entry in ledger.entries() if entry.id == id)
