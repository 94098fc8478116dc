"""``open_meter``: a meter made of what a user hands to any of the ways to put an application under a budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from budgeted_agents.budget import Policy
from budgeted_agents.errors import InvalidPrice, InvalidRecorder, InvalidSetting
from budgeted_agents.ledgers import LedgerLike, as_ledger
from budgeted_agents.meter.events import Listener
from budgeted_agents.meter.meter import Meter
from budgeted_agents.meter.outcomes import BillingTable
from budgeted_agents.meter.recording import recorders_of
from budgeted_agents.prices import PriceBook
from budgeted_agents.traces import Recorder
from budgeted_agents.traces.records.journal import JournalLike


def open_meter(
    policy: Policy,
    *,
    place: str,
    ledger: LedgerLike = None,
    prices: PriceBook | None = None,
    listeners: Sequence[Listener] = (),
    billing: BillingTable | None = None,
    journal: JournalLike = None,
    recorders: Sequence[Recorder] = (),
) -> Meter:
    """A meter for one application.

    Args:
        policy: the budgets.
        place: what the user has called, for messages.
        ledger: where money is kept: a ledger, a URL, or None for one in memory.
        prices: what models cost; by default, LiteLLM's list.
        listeners: called with every ``BudgetEvent``.
        billing: which failures are certainly unbilled.
        journal: where calls are written down: a folder, False for nowhere, None for beside a ledger in a file.
        recorders: what else records calls.

    Raises:
        InvalidLedger, InvalidJournal, InvalidPrice, InvalidRecorder, InvalidSetting: saying what is wrong and where.
        LedgerError, LedgerUnavailable: the ledger cannot be opened.
    """
    listeners, recorders = _tuple_of(listeners), _tuple_of(recorders)
    _check(place, prices, listeners, billing, recorders)
    book = as_ledger(ledger, place)
    return Meter(
        policy=policy,
        ledger=book,
        prices=prices or PriceBook.default(),
        billing=billing or BillingTable(),
        listeners=listeners,
        recorders=recorders_of(book.url, journal, recorders),
    )


_VERBS = ("parent", "call", "event", "top_up")
"""What a recorder can be asked to do."""


def _tuple_of(given: Any) -> Any:
    """What was given, as a tuple if it holds anything; an iterator can be looked at only once."""
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else given


def _check(place: str, prices: object, listeners: object, billing: object, recorders: object) -> None:
    """What would otherwise fail in the midst of a call that is paid for."""
    if prices is not None and not isinstance(prices, PriceBook):
        remedy = "Give PriceBook.default(), with your own prices added, or leave it out"
        raise InvalidPrice("is no price book", field="prices", value=prices, place=place, remedy=remedy)
    if not isinstance(listeners, tuple) or not all(map(callable, listeners)):
        remedy = "Give functions of an event, in a tuple: listeners=(told,)"
        raise InvalidSetting("are no listeners", field="listeners", value=listeners, place=place, remedy=remedy)
    if billing is not None and not isinstance(billing, BillingTable):
        remedy = "Give a BillingTable, e.g. BillingTable(statuses=frozenset({429}))"
        raise InvalidSetting("is no billing table", field="billing", value=billing, place=place, remedy=remedy)
    if not isinstance(recorders, tuple) or not all(map(_is_recorder, recorders)):
        remedy = "Give recorders, in a tuple: recorders=(OpenTelemetryRecorder(),)"
        raise InvalidRecorder("are no recorders", field="recorders", value=recorders, place=place, remedy=remedy)


def _is_recorder(value: object) -> bool:
    return all(callable(getattr(value, verb, None)) for verb in _VERBS)
