"""A ledger in this process's memory: one lock, exact, and gone when the process ends."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice, takewhile
from threading import Lock

from msgspec.structs import replace

from budgeted_agents.errors import LedgerUnavailable
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
from budgeted_agents.ledgers.urls import LedgerUrl

MOST_ENTRIES = 20_000
"""Ended reservations that a ledger in memory keeps for reports, about 2 KB each."""

FEWEST_DEADLINES = 2_048
"""Deadlines that are kept at least, also of reservations that have ended."""

_SLACK = 1.1
"""How far above that they may grow, so that many are forgotten at a time."""


class MemoryLedger:
    """Keeps money for one process. See ``contract.Ledger`` for what each verb promises.

    Args:
        name: shown in ``url``; ``open_ledger("memory://name")`` shares one ledger by name.
        journal: what its URL says of its journal; a ledger itself writes none.
        entries: how many reservations and notes to keep; beyond that the oldest that have ended are forgotten, so that
            a process may run for months. None keeps all.
    """

    blocking = False

    def __init__(self, name: str = "", journal: str = "", *, entries: int | None = MOST_ENTRIES) -> None:
        self.url = str(LedgerUrl(f"memory://{name}", journal))
        self._keeps = math.inf if entries is None else entries
        self._most = self._keeps * _SLACK
        self._forgotten = 0.0
        self._lock = Lock()
        self._open = True
        self._balances: dict[str, Balance] = {}
        self._attempts: dict[str, Attempt] = {}
        self._places = count()
        self._by_session: dict[str, list[Attempt]] = {}
        # By deadline. A reservation that ends early or is extended leaves its old deadline behind, to be skipped, or
        # dropped with many others: what is remembered of a call would stay for as long as it might have held money.
        self._deadlines: list[tuple[float, int, Attempt]] = []
        self._most_deadlines = FEWEST_DEADLINES
        self._credits: dict[str, tuple[str, int]] = {}
        self._notes: list[tuple[str, float, str]] = []

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
        kept = checks.kept("memo", memo, "reserve", id)
        body = (holds, floor, ask, session)
        with self._lock:
            if not self._open:
                raise self._closed()
            known = self._attempts.get(id)
            if known is not None:
                rules.replayed_reserve(known, body)
                return rules.reserved_before(known, self._current(known))
            presumed: Sequence[Settlement] = ()
            if self._deadlines and self._deadlines[0][0] <= now:
                presumed = self._presume_overdue(now, rules.REAPED_PER_RESERVE)
            attempt = Attempt(id, session, body, now, now + ttl, kept, seq=next(self._places))
            answer = rules.decide(attempt, holds, self._balances, floor, ask)
            if isinstance(answer, Reservation):
                for balance in answer.balances:
                    self._balances[balance.account.key] = balance
                self._remember(attempt)
                if len(self._attempts) > self._most:
                    self._forget(math.inf, len(self._attempts) - int(self._keeps))
                    # Where many cannot be forgotten, they are not looked through again for every call.
                    self._most = max(self._keeps, len(self._attempts)) * _SLACK
            return replace(answer, presumed=tuple(presumed)) if presumed else answer

    def settle(
        self, id: str, actual: Mapping[str, int], *, now: float, record: Memo | LazyMemo | None = None
    ) -> Settlement:
        checks.check_settle(id, actual, now)
        kept = None if record is None else checks.kept("record", record, "settle", id)
        with self._lock:
            if not self._open:
                raise self._closed()
            known = self._attempts.get(id)
            if known is None or known.state is not rules.RESERVED:
                known = rules.settleable(id, known, actual)
                if known.state is rules.SETTLED:
                    return rules.closed_before(known, self._current(known))
            return self._end(known, rules.SETTLED, now, kept, actual)

    def release(self, id: str, *, now: float, record: Memo | LazyMemo | None = None) -> Settlement | None:
        checks.check_close(id, "release", now)
        kept = None if record is None else checks.kept("record", record, "release", id)
        with self._lock:
            if not self._open:
                raise self._closed()
            known = self._attempts.setdefault(id, rules.tombstone(id, now))
            if known.is_tombstone:
                return None
            rules.check_releasable(known)
            if known.state is rules.RELEASED:
                return rules.closed_before(known, self._current(known))
            return self._end(known, rules.RELEASED, now, kept)

    def presume(self, id: str, *, now: float, record: Memo | LazyMemo | None = None) -> Settlement:
        checks.check_close(id, "presume", now)
        kept = None if record is None else checks.kept("record", record, "presume", id)
        with self._lock:
            if not self._open:
                raise self._closed()
            known = rules.presumable(id, self._attempts.get(id))
            if known.state is rules.PRESUMED:
                return rules.closed_before(known, self._current(known))
            return self._end(known, rules.PRESUMED, now, kept)

    def extend(self, id: str, *, ttl: float, now: float) -> bool:
        checks.check_id(id, "extend")
        checks.check_times(id, "extend", now=now, ttl=ttl)
        with self._lock:
            if not self._open:
                raise self._closed()
            known = self._attempts.get(id)
            if known is None or known.state is not rules.RESERVED:
                return False
            if now + ttl > known.deadline:
                known.deadline = now + ttl
                heapq.heappush(self._deadlines, (known.deadline, known.seq, known))
            return True

    def expire(self, now: float, limit: int = 1000) -> list[Settlement]:
        checks.check_expire(now, limit)
        with self._lock:
            if not self._open:
                raise self._closed()
            return self._presume_overdue(now, limit)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        for account in accounts:
            checks.check_account(account, "balances")
        with self._lock:
            if not self._open:
                raise self._closed()
            return tuple([self._balances.get(account.key) or Balance(account, 0) for account in accounts])

    def accounts(self) -> list[Account]:
        with self._lock:
            if not self._open:
                raise self._closed()
            return [balance.account for balance in self._balances.values()]

    def credit(
        self, id: str, account: Account, amount: int, *, limit: int, now: float, memo: Memo | None = None
    ) -> Balance:
        checks.check_credit(id, account, amount, limit, now)
        checks.to_json("memo", memo, checks.place("credit", id))
        body = (account.key, amount)
        with self._lock:
            if not self._open:
                raise self._closed()
            balance = self._balances.get(account.key) or Balance(account, limit)
            if id in self._credits:
                rules.check_credit(id, self._credits[id], body)
                return balance
            raised = rules.credited(id, balance, amount)
            self._credits[id] = body
            self._balances[account.key] = raised
            return raised

    def note(self, session: str, body: Memo, *, now: float) -> None:
        text = checks.note_json(session, body, now)
        with self._lock:
            if not self._open:
                raise self._closed()
            self._notes.append((session, now, text))
            if len(self._notes) > self._keeps * _SLACK:
                del self._notes[: len(self._notes) - int(self._keeps)]

    def forget(self, before: float, limit: int = 1000) -> int:
        checks.check_forget(before, limit)
        with self._lock:
            if not self._open:
                raise self._closed()
            self._forgotten = max(self._forgotten, before)
            return self._forget(before, limit)

    @property
    def forgotten(self) -> float:
        return self._forgotten

    def entries(self, session: str | None = None) -> Iterator[Entry]:
        with self._lock:
            if not self._open:
                raise self._closed()
            kept = self._attempts.values() if session is None else self._by_session.get(session, ())
            found = [rules.entry(attempt) for attempt in kept if not attempt.is_tombstone]
        return iter(found)

    def notes(self, session: str | None = None) -> Iterator[Note]:
        with self._lock:
            if not self._open:
                raise self._closed()
            kept = list(self._notes)
        return (rules.note(*parts) for parts in kept if session is None or parts[0] == session)

    def close(self) -> None:
        self._open = False

    @property
    def closed(self) -> bool:
        """True once ``close`` was called."""
        return not self._open

    # Below here the lock is held.

    def _closed(self) -> LedgerUnavailable:
        return LedgerUnavailable(f"The ledger {self.url} is closed. Open it again with open_ledger({self.url!r}).")

    def _current(self, attempt: Attempt) -> tuple[Balance, ...]:
        return tuple([self._balances[account.key] for account, _ in attempt.held])

    def _remember(self, attempt: Attempt) -> None:
        self._attempts[attempt.id] = attempt
        self._by_session.setdefault(attempt.session, []).append(attempt)
        heapq.heappush(self._deadlines, (attempt.deadline, attempt.seq, attempt))
        if len(self._deadlines) > self._most_deadlines:
            self._deadlines = [each for each in self._deadlines if _is_due(each)]
            heapq.heapify(self._deadlines)
            self._most_deadlines = max(FEWEST_DEADLINES, 2 * len(self._deadlines))

    def _end(
        self,
        attempt: Attempt,
        state: State,
        now: float,
        record: str | LazyMemo | None = None,
        actual: Mapping[str, int] = rules.AS_HELD,
    ) -> Settlement:
        settlement = rules.closed(attempt, self._balances, state, now, record, actual)
        for balance in settlement.balances:
            self._balances[balance.account.key] = balance
        return settlement

    def _forget(self, before: float, limit: int) -> int:
        ended = (attempt for attempt in self._attempts.values() if rules.is_forgettable(attempt, before))
        gone = list(islice(ended, limit))
        for attempt in gone:
            del self._attempts[attempt.id]
            self._forgotten = max(self._forgotten, attempt.closed_at or 0.0)
        for session in {attempt.session for attempt in gone}:
            kept = [attempt for attempt in self._by_session.pop(session, ()) if attempt.id in self._attempts]
            if kept:
                self._by_session[session] = kept
        until = min(before, self._forgotten)
        old = sum(1 for _ in takewhile(lambda note: note[1] < until, islice(self._notes, limit)))
        del self._notes[:old]
        return len(gone)

    def _presume_overdue(self, now: float, limit: int) -> list[Settlement]:
        presumed: list[Settlement] = []
        while self._deadlines and self._deadlines[0][0] <= now and len(presumed) < limit:
            if _is_due(due := heapq.heappop(self._deadlines)):
                presumed.append(self._end(due[2], rules.PRESUMED, now))
        return presumed


def _is_due(deadline: tuple[float, int, Attempt]) -> bool:
    """Whether this is still the deadline of a reservation that has not ended."""
    when, _, attempt = deadline
    return attempt.state is rules.RESERVED and attempt.deadline == when
