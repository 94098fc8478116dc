"""The ledger's verbs over one SQLite file: read rows, ask ``rules``, write rows, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os.path import realpath
from pathlib import Path
from sqlite3 import Connection

from msgspec.structs import replace

from budgeted_agents.ledgers import checks, rules
from budgeted_agents.ledgers.contract import (
    Account,
    Balance,
    Entry,
    Hold,
    LazyMemo,
    Memo,
    Note,
    Refusal,
    Reservation,
    Settlement,
    State,
)
from budgeted_agents.ledgers.rules import Attempt
from budgeted_agents.ledgers.sqlite import rows
from budgeted_agents.ledgers.sqlite.store import Store
from budgeted_agents.ledgers.urls import LedgerUrl

_PAGE = 500
"""Rows read at a time, so that a long report holds no read transaction open while it is consumed."""


class SqliteLedger:
    """Keeps money in one file, for any number of processes on one host. See ``contract.Ledger`` for the promises.

    A reserve survives a power cut once it has returned. A settle survives the death of the process; a power cut may
    undo the last ones, and then the hold stands and is charged at its worst case, the safe side.

    Args:
        path: the file; created if it does not exist. Its directory must exist, on a local disk.
        journal: what its URL says of its journal; a ledger itself writes none.

    Raises:
        InvalidLedger: the path cannot be a ledger.
        LedgerError: the file was written by a newer version of this library.
        LedgerUnavailable: the storage fails.
    """

    blocking = True

    def __init__(self, path: str | Path, journal: str = "") -> None:
        file = Path(realpath(path))  # what stands beside it, its queue and its journal, is one for all paths to it
        self.url = str(LedgerUrl(f"sqlite:///{file}", journal))
        self._store = Store(file)
        self._store.open()

    def reserve(
        self,
        id: str,
        holds: Sequence[Hold],
        *,
        floor: int,
        ask: int,
        now: float,
        ttl: float,
        session: str = "",
        memo: Memo | LazyMemo | None = None,
    ) -> Reservation | Refusal:
        holds = tuple(holds)
        checks.check_reserve(id, holds, floor, ask, now, ttl, session)
        text = checks.to_json("memo", memo, checks.place("reserve", id))
        body = rules.fingerprint((holds, floor, ask, session))
        with self._store.write(durable=True) as db:
            known = rows.attempt(db, id)
            if known is not None:
                rules.replayed_reserve(known, body)
                return rules.reserved_before(known, _current(db, known))
            presumed = _presume_overdue(db, now, rules.REAPED_PER_RESERVE)
            attempt = Attempt(id, session, body, now, now + ttl, text)
            answer = rules.decide(attempt, holds, rows.balances(db, [hold.account for hold in holds]), floor, ask)
            if isinstance(answer, Reservation):
                rows.insert(db, attempt)
                rows.put_balances(db, answer.balances)
            return replace(answer, presumed=tuple(presumed)) if presumed else answer

    def settle(
        self, id: str, actual: Mapping[str, int], *, now: float, record: Memo | LazyMemo | None = None
    ) -> Settlement:
        checks.check_settle(id, actual, now)
        text = None if record is None else checks.to_json("record", record, checks.place("settle", id))
        with self._store.write(durable=False) as db:
            known = rules.settleable(id, rows.attempt(db, id), actual)
            if known.state is State.SETTLED:
                return rules.closed_before(known, _current(db, known))
            return _end(db, known, State.SETTLED, now, text, actual)

    def release(self, id: str, *, now: float, record: Memo | LazyMemo | None = None) -> Settlement | None:
        checks.check_close(id, "release", now)
        text = None if record is None else checks.to_json("record", record, checks.place("release", id))
        with self._store.write(durable=False) as db:
            known = rows.attempt(db, id)
            if known is None:
                rows.insert(db, rules.tombstone(id, now))
                return None
            if known.is_tombstone:
                return None
            rules.check_releasable(known)
            if known.state is State.RELEASED:
                return rules.closed_before(known, _current(db, known))
            return _end(db, known, State.RELEASED, now, text)

    def presume(self, id: str, *, now: float, record: Memo | LazyMemo | None = None) -> Settlement:
        checks.check_close(id, "presume", now)
        text = None if record is None else checks.to_json("record", record, checks.place("presume", id))
        with self._store.write(durable=False) as db:
            known = rules.presumable(id, rows.attempt(db, id))
            if known.state is State.PRESUMED:
                return rules.closed_before(known, _current(db, known))
            return _end(db, known, State.PRESUMED, now, text)

    def extend(self, id: str, *, ttl: float, now: float) -> bool:
        checks.check_id(id, "extend")
        checks.check_times(id, "extend", now=now, ttl=ttl)
        with self._store.write(durable=False) as db:
            extended = db.execute(
                "UPDATE reservations SET deadline = max(deadline, ?) WHERE id = ? AND state = 'reserved'",
                (now + ttl, id),
            )
            return extended.rowcount == 1

    def expire(self, now: float, limit: int = 1000) -> list[Settlement]:
        checks.check_expire(now, limit)
        with self._store.read() as db:
            if not rows.overdue(db, now, 1):  # as nearly always: a report then waits for no writer
                return []
        with self._store.write(durable=False) as db:
            return _presume_overdue(db, now, limit)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        for account in accounts:
            checks.check_account(account, "balances")
        with self._store.read() as db:
            found = rows.balances(db, accounts)
        return tuple([found.get(account.key) or Balance(account, 0) for account in accounts])

    def accounts(self) -> list[Account]:
        with self._store.read() as db:
            return rows.accounts(db)

    def credit(
        self, id: str, account: Account, amount: int, *, limit: int, now: float, memo: Memo | None = None
    ) -> Balance:
        checks.check_credit(id, account, amount, limit, now)
        text = checks.to_json("memo", memo, checks.place("credit", id))
        with self._store.write(durable=True) as db:
            balance = rows.balances(db, [account]).get(account.key) or Balance(account, limit)
            known = db.execute("SELECT key, amount FROM credits WHERE id = ?", (id,)).fetchone()
            if known:
                rules.check_credit(id, known, (account.key, amount))
                return balance
            raised = rules.credited(id, balance, amount)
            db.execute("INSERT INTO credits VALUES (?, ?, ?, ?, ?)", (id, account.key, amount, now, text))
            rows.put_balances(db, [raised])
            return raised

    def note(self, session: str, body: Memo, *, now: float) -> None:
        text = checks.note_json(session, body, now)
        with self._store.write(durable=False) as db:
            db.execute("INSERT INTO notes (session, at, body) VALUES (?, ?, ?)", (session, now, text))

    def forget(self, before: float, limit: int = 1000) -> int:
        checks.check_forget(before, limit)
        with self._store.write(durable=False) as db:
            return rows.forget(db, before, limit)

    @property
    def forgotten(self) -> float:
        with self._store.read() as db:
            return rows.forgotten(db)

    def entries(self, session: str | None = None) -> Iterator[Entry]:
        after = 0
        while True:
            with self._store.read() as db:
                page = rows.page(db, session, after, _PAGE)
            yield from map(rules.entry, page)
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    def notes(self, session: str | None = None) -> Iterator[Note]:
        where, values = ("", ()) if session is None else (" WHERE session = ?", (session,))
        with self._store.read() as db:
            found = db.execute(f"SELECT session, at, body FROM notes{where} ORDER BY seq", values).fetchall()
        return (rules.note(*row) for row in found)

    def close(self) -> None:
        self._store.close()


# Steps within a write transaction


def _current(db: Connection, attempt: Attempt) -> tuple[Balance, ...]:
    found = rows.balances(db, attempt.accounts)
    return tuple([found[account.key] for account in attempt.accounts])


def _end(
    db: Connection,
    attempt: Attempt,
    state: State,
    now: float,
    record: str | None = None,
    actual: Mapping[str, int] = rules.AS_HELD,
) -> Settlement:
    settlement = rules.closed(attempt, rows.balances(db, attempt.accounts), state, now, record, actual)
    rows.put_balances(db, settlement.balances)
    rows.close(db, attempt)
    return settlement


def _presume_overdue(db: Connection, now: float, limit: int) -> list[Settlement]:
    return [_end(db, attempt, State.PRESUMED, now) for attempt in rows.overdue(db, now, limit)]
