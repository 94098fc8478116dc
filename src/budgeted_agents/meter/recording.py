"""What recorders are told: of each call before it is booked, of each event and top-up when it happens.

A recorder that fails harms no call: an answer that was paid for must reach the user, and the ledger books it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from budgeted_agents.ledgers.contract import Reservation
from budgeted_agents.traces import CallRecord, Recorder
from budgeted_agents.traces.records.content import Content
from budgeted_agents.traces.records.journal import JournalLike, open_journal
from budgeted_agents.traces.records.record import Held
from budgeted_agents.traces.records.recorder import keeps_content

logger = logging.getLogger("budgeted_agents")


def recorders_of(ledger_url: str, journal: JournalLike, others: Sequence[Recorder]) -> tuple[Recorder, ...]:
    """A ledger's journal, if it has one, and whatever else records.

    Raises:
        InvalidJournal: the journal cannot be one.
    """
    own = open_journal(journal, ledger_url)
    return (*others,) if own is None else (own, *others)


def parent_of(recorders: Sequence[Recorder]) -> str:
    """The span a call is made in, as the first recorder that knows one says; empty if none does."""
    return next((parent for recorder in recorders if (parent := recorder.parent())), "")


def complete(record: CallRecord, reservation: Reservation | None, parent: str, actual: Mapping[str, int]) -> CallRecord:
    """A record with what only recorders need: the ledger knows the rest from its own entry."""
    holds = () if reservation is None else held_in(reservation)
    return record._replace(holds=holds, actual=actual, parent=parent, booked=reservation is not None)


def held_in(reservation: Reservation) -> tuple[Held, ...]:
    """What a reservation holds, with each account's limit without top-ups."""
    pairs = zip(reservation.held, reservation.balances, strict=True)
    return tuple([(account.key, balance.limit - balance.credit, held) for (account, held), balance in pairs])


def call_to_tell(record: CallRecord, content: Content | None) -> Callable[[Recorder], None]:
    """How a recorder is told of a call, and of what it says if the recorder was asked to keep that."""

    def told(recorder: Recorder) -> None:
        if content is not None and keeps_content(recorder):
            recorder.call(record, content)
        else:
            recorder.call(record)

    return told


def tell(recorders: Sequence[Recorder], what: Callable[[Recorder], None]) -> list[Exception]:
    """Tell every recorder; what went wrong is logged, and given back."""
    failures: list[Exception] = []
    for recorder in recorders:
        try:
            what(recorder)
        except Exception as error:
            logger.exception("%s could not record", type(recorder).__name__)
            failures.append(error)
    return failures
