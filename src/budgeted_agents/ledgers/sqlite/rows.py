"""Rows of a ledger file as balances and attempts, and back. One statement a function; no decisions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from budgeted_agents.ledgers.contract import Account, Balance, State
from budgeted_agents.ledgers.rules import Attempt

_BALANCE = "key, lim, spent, held, credit, presumed"
_ATTEMPT = "id, session, body, reserved_at, deadline, memo, state, granted, holds, closed_at, actual, late, record, seq"

account_of = lru_cache(maxsize=10_000)(Account.from_key)
"""Accounts by key; parsing one takes some microseconds, and the same few come again and again."""


def balances(db: sqlite3.Connection, accounts: Sequence[Account]) -> dict[str, Balance]:
    """Balances by account key, of those accounts that are known."""
    found: dict[str, Balance] = {}
    for start in range(0, len(accounts), 500):  # SQLite allows at least 999 parameters a statement
        keys = [account.key for account in accounts[start : start + 500]]
        marks = ",".join("?" * len(keys))
        for row in db.execute(f"SELECT {_BALANCE} FROM accounts WHERE key IN ({marks})", keys):
            found[row[0]] = Balance(account_of(row[0]), *row[1:])
    return found


def accounts(db: sqlite3.Connection) -> list[Account]:
    """Every account, in the order of their first use."""
    return [Account.from_key(key) for (key,) in db.execute("SELECT key FROM accounts ORDER BY seq")]


def put_balances(db: sqlite3.Connection, balances: Iterable[Balance]) -> None:
    """Insert or replace."""
    db.executemany(
        f"INSERT INTO accounts ({_BALANCE}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
        " lim = excluded.lim, spent = excluded.spent, held = excluded.held, credit = excluded.credit,"
        " presumed = excluded.presumed",
        [(b.account.key, b.limit, b.spent, b.held, b.credit, b.presumed) for b in balances],
    )


def attempt(db: sqlite3.Connection, id: str) -> Attempt | None:
    """The attempt (or tombstone) with this id."""
    row = db.execute(f"SELECT {_ATTEMPT} FROM reservations WHERE id = ?", (id,)).fetchone()
    return row and _attempt(row)


def overdue(db: sqlite3.Connection, now: float, limit: int) -> list[Attempt]:
    """Reservations whose deadline has passed, the longest overdue first."""
    return [
        _attempt(row)
        for row in db.execute(
            f"SELECT {_ATTEMPT} FROM reservations WHERE state = 'reserved' AND deadline <= ?"
            " ORDER BY deadline, seq LIMIT ?",
            (now, limit),
        )
    ]


def page(db: sqlite3.Connection, session: str | None, after: int, size: int) -> list[Attempt]:
    """The next reservations in the order they were made, without tombstones."""
    only = "" if session is None else "session = ? AND "
    values = (after, size) if session is None else (session, after, size)
    found = db.execute(
        f"SELECT {_ATTEMPT} FROM reservations WHERE {only}seq > ? AND body IS NOT NULL ORDER BY seq LIMIT ?", values
    )
    return [_attempt(row) for row in found]


def insert(db: sqlite3.Connection, attempt: Attempt) -> None:
    """A new attempt or tombstone."""
    holds = [(account.key, taken) for account, taken in attempt.held]
    db.execute(
        f"INSERT INTO reservations ({_ATTEMPT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '[]', 0, '{{}}', NULL)",
        (
            attempt.id,
            attempt.session,
            attempt.body,
            attempt.reserved_at,
            attempt.deadline,
            attempt.memo,
            attempt.state,
            attempt.granted,
            json.dumps(holds),
            attempt.closed_at,
        ),
    )


def close(db: sqlite3.Connection, attempt: Attempt) -> None:
    """What ``rules.closed`` changed."""
    db.execute(
        "UPDATE reservations SET state = ?, closed_at = ?, actual = ?, late = ?, record = ? WHERE seq = ?",
        (
            attempt.state,
            attempt.closed_at,
            json.dumps([amount for _, amount in attempt.actual]),
            attempt.late,
            attempt.record,
            attempt.seq,
        ),
    )


def forget(db: sqlite3.Connection, before: float, limit: int) -> int:
    """Delete what ended before a time and cannot change any more, and older notes; the number of reservations."""
    db.execute(
        "INSERT INTO forgotten VALUES (1, ?) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)", (before,)
    )
    db.execute(
        "DELETE FROM notes WHERE seq IN (SELECT seq FROM notes WHERE at < ? ORDER BY seq LIMIT ?)", (before, limit)
    )
    gone = db.execute(
        "DELETE FROM reservations WHERE seq IN (SELECT seq FROM reservations"
        " WHERE state IN ('settled', 'released') AND closed_at < ? ORDER BY seq LIMIT ?)",
        (before, limit),
    )
    return gone.rowcount


def forgotten(db: sqlite3.Connection) -> float:
    """The time up to which something may have been deleted."""
    return float(db.execute("SELECT coalesce(max(until), 0) FROM forgotten").fetchone()[0])


def _attempt(row: Any) -> Attempt:
    id, session, body, reserved_at, deadline, memo, state, granted, holds, closed_at, actual, late, record, seq = row
    held = tuple([(account_of(key), taken) for key, taken in json.loads(holds)])
    charged = json.loads(actual)
    return Attempt(
        id,
        session,
        body,
        reserved_at,
        deadline,
        memo,
        state=State(state),
        granted=granted,
        held=held,
        closed_at=closed_at,
        actual=tuple([(account, amount) for (account, _), amount in zip(held, charged, strict=bool(charged))]),
        late=bool(late),
        record=record,
        seq=seq,
    )
