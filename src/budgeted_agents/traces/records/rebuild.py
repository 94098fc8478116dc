"""A ledger out of a journal: what it says is booked again by the ledger's own verbs.

Every verb is idempotent by id, so that a journal may be replayed into an empty ledger, into one that survived in part,
and again: what is booked stays as it is. What a ledger was told to forget is left out: it is in the balances already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import partial

from budgeted_agents.errors import IdempotencyConflict, InvalidInput, ReservationClosed
from budgeted_agents.ledgers import Account, Hold, Ledger, MemoryLedger, Settlement, top_up
from budgeted_agents.ledgers.topping_up import TopUpLine, top_ups
from budgeted_agents.traces.problems import Problem
from budgeted_agents.traces.records.journal import JournalLine
from budgeted_agents.traces.records.record import CallRecord
from budgeted_agents.traces.records.recorder import Recorded, ToppedUp

_TTL = 900.0
"""Seconds a restored hold would last; the next verb ends it."""


def rebuild(ledger: Ledger, lines: Iterable[JournalLine], problems: list[Problem], *, with_records: bool = True) -> int:
    """Book everything a journal says; the number of calls and top-ups that the ledger did not have yet.

    Args:
        ledger: empty, or what is left of one. It may be in use meanwhile.
        lines: the journal's, in their order.
        problems: gets a line for each that the ledger cannot keep.
        with_records: whether the ledger keeps the records too, for reports.

    Raises:
        LedgerUnavailable: the ledger's storage fails.
    """
    changed, forgotten = 0, ledger.forgotten
    for line in lines:
        try:
            changed += _restored(ledger, line.recorded, forgotten, with_records)
        except (InvalidInput, ValueError) as error:
            problems.append(Problem(line.place, f"cannot be booked: {error}"))
    return changed


def folded(lines: Iterable[JournalLine], problems: list[Problem]) -> Ledger:
    """A ledger in memory with what a journal says and nothing else; it keeps no records."""
    ledger = MemoryLedger(entries=None)
    rebuild(ledger, lines, problems, with_records=False)
    return ledger


def _restored(ledger: Ledger, recorded: Recorded, forgotten: float, with_records: bool) -> bool:
    if isinstance(recorded, CallRecord):
        is_forgotten = recorded.ended_at <= forgotten and recorded.outcome != "presumed"
        return recorded.booked and not is_forgotten and _restored_call(ledger, recorded, with_records)
    return isinstance(recorded, ToppedUp) and _restored_top_up(ledger, recorded)


def _restored_call(ledger: Ledger, record: CallRecord, with_record: bool) -> bool:
    """Reserve exactly what was held, whatever the accounts have left, and end it as it ended."""
    holds = [Hold(Account.from_key(key), limit, held, enforce=False) for key, limit, held in record.holds]
    reserve = partial(ledger.reserve, record.id, holds, floor=record.granted, ask=record.granted)
    with contextlib.suppress(IdempotencyConflict, ReservationClosed):  # the ledger has it, by the call itself
        reserve(now=record.started_at, ttl=_TTL, session=record.session)
    try:
        ended = _ended(ledger, record, with_record)
    except (IdempotencyConflict, ReservationClosed):
        return False  # it has ended otherwise, which stands
    return ended is not None and not ended.replayed


def _ended(ledger: Ledger, record: CallRecord, with_record: bool) -> Settlement | None:
    body = record.to_json() if with_record else None
    if record.outcome == "settled":
        return ledger.settle(record.id, record.actual, now=record.ended_at, record=body)
    verb = ledger.release if record.outcome == "released" else ledger.presume
    return verb(record.id, now=record.ended_at, record=body)


def _restored_top_up(ledger: Ledger, topped_up: ToppedUp) -> bool:
    granted, limit, session = topped_up
    known = {(each.id, each.account) for each in top_ups(ledger.notes(session))}
    if (granted.id, granted.account) in known:
        return False
    line = TopUpLine(granted.account, granted.amount, limit)
    try:
        top_up(ledger, [line], id=granted.id, by=granted.by, reason=granted.reason, session=session, now=granted.at)
    except IdempotencyConflict:
        return False  # another top-up has this id, and stands
    return True
