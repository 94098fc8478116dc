"""Booking the end of a call. It never fails: what the ledger cannot take now it takes with a later call, because an
answer that was paid for must reach the user. Until then the hold stays, so the cap holds as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from budgeted_agents.errors import BudgetedAgentsError, LedgerUnavailable
from budgeted_agents.ledgers import overdue
from budgeted_agents.ledgers.contract import LazyMemo, Reservation, Settlement
from budgeted_agents.ledgers.rules import AS_HELD
from budgeted_agents.ledgers.units import amount_text
from budgeted_agents.meter.meter import Booking, Meter
from budgeted_agents.meter.recording import complete
from budgeted_agents.meter.steps import Steps
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.records.content import Content
from budgeted_agents.traces.records.event import EventKind


class Admitted(Protocol):
    """What is known of a call since it was admitted: its reservation, if it has one, the span it is made in, and what
    it says, if that is to be kept."""

    @property
    def reservation(self) -> Reservation | None: ...

    @property
    def parent(self) -> str: ...

    @property
    def content(self) -> Content | None: ...


class Ended(LazyMemo, Protocol):
    """A call that has ended. What there is to write down of it is put together when somebody reads it: with a ledger in
    memory and no recorder, that is when a report is asked for. A ledger may keep it for long, so it holds on to values
    only, not to the run. As text it says what has ended."""

    @property
    def id(self) -> str: ...

    @property
    def session(self) -> str: ...

    @property
    def run(self) -> str: ...

    @property
    def ended_at(self) -> float: ...

    def record(self) -> CallRecord: ...


def close(
    meter: Meter,
    ended: Ended,
    verb: Callable[..., Settlement | None],
    admission: Admitted,
    *actual: Mapping[str, int],
) -> Steps[None]:
    """Write a record down, then book it, and before it what could not be booked earlier.

    Args:
        meter: what the call was conducted with.
        ended: the call.
        verb: the ledger's verb that ends it.
        admission: of the call.
        actual: what it is charged, by unit, if the verb takes that.
    """
    booked = partial(verb, ended.id, *actual, now=ended.ended_at, record=ended)
    booking = Booking(booked, ended.session, ended, ended.run)
    if not meter.recorders:
        return _booked(meter, booking)
    return _written_down_and_booked(meter, write_down(meter, ended, admission, *actual), booking)


def write_down(meter: Meter, ended: Ended, admission: Admitted, actual: Mapping[str, int] = AS_HELD) -> Steps[None]:
    """Tell the recorders of a call that has ended; ``actual`` is what it is charged, by unit."""
    if meter.recorders:
        record = complete(ended.record(), admission.reservation, admission.parent, actual)
        yield partial(meter.record, record, admission.content)


def _written_down_and_booked(meter: Meter, written_down: Steps[None], booking: Booking) -> Steps[None]:
    try:
        yield from written_down
    finally:
        yield from _booked(meter, booking)


def give_back(meter: Meter, id: str, session: str) -> Steps[None]:
    """Release what a call that was not made holds, or would hold if its reserve were still on the way."""
    verb = partial(meter.ledger.release, id, now=meter.clock())
    return _booked(meter, Booking(verb, session, "The release of a call that was not made"))


def catch_up(meter: Meter) -> Steps[None]:
    """Book what could not be booked earlier, in its order.

    Raises:
        LedgerUnavailable: the ledger still cannot take it.
    """
    while (booking := meter.next_unsettled()) is not None:
        try:
            yield from _book(meter, booking)
        except BaseException:
            meter.unsettled.appendleft(booking)
            raise


def _booked(meter: Meter, booking: Booking) -> Steps[None]:
    try:
        if meter.unsettled:
            yield from catch_up(meter)
        yield from _book(meter, booking)
    except LedgerUnavailable as error:
        meter.unsettled.append(booking)
        meter.publish("unsettled", f"{booking.what} could not be booked yet and stays held: {error}", booking.session)
    except BaseException:
        # Interrupted: whether it was booked is not known, and to book it twice changes nothing.
        meter.unsettled.append(booking)
        raise


def _book(meter: Meter, booking: Booking) -> Steps[None]:
    booking.settlement = None  # what an earlier try was answered has been told
    try:
        yield booking.book
    except LedgerUnavailable:
        raise
    except BudgetedAgentsError as error:
        # Trying again would not help, and must not keep later calls from being booked.
        meter.publish("unsettled", f"{booking.what} cannot be booked: {error}", booking.session)
    finally:  # also when the interruption came just after
        if booking.settlement is not None and not booking.settlement.replayed:
            _announce(meter, booking.settlement, booking.session, booking.run)
            if booking.settlement.overrun:
                _announce_overrun(meter, booking.settlement, booking)


def presume_overdue(meter: Meter) -> None:
    """Charge what is overdue at its worst case, and tell of the thresholds that it crosses."""
    announce_presumed(meter, overdue.presume_overdue(meter.ledger, meter.clock()))


def announce_presumed(meter: Meter, presumed: Iterable[Settlement]) -> None:
    """Tell of every threshold that calls crossed whose workers fell silent."""
    for settlement in presumed:
        _announce(meter, settlement)


def _announce(meter: Meter, settlement: Settlement, session: str = "", run: str = "") -> None:
    """Tell of every threshold that this very settlement crossed: it is the one that did in any number of processes."""
    budgets, quiet = meter.policy.by_name, meter.policy.first_alert
    for (account, charged), balance in zip(settlement.charged, settlement.balances, strict=True):
        limit, spent = balance.limit, balance.spent
        if limit > 0 and spent / limit < quiet:
            continue
        share = _share(spent, limit)
        budget = budgets.get(account.budget)
        alert_at = budget.alert_at if budget is not None else 1.0
        thresholds: tuple[tuple[EventKind, float], ...] = (("alert", alert_at), ("exhausted", 1))
        for kind, threshold in thresholds:
            if _share(spent - charged, limit) < threshold <= share:
                text = f"{amount_text(account.unit, spent)} of {amount_text(account.unit, limit)}"
                message = f"Budget {account.budget!r} has spent {text} ({account.key})"
                meter.publish(kind, message, session, balance, run)


def _announce_overrun(meter: Meter, settlement: Settlement, booking: Booking) -> None:
    excess = dict(settlement.overrun)
    for balance in settlement.balances:
        if over := excess.get(balance.account):
            message = f"{booking.what} cost {amount_text(balance.account.unit, over)} more than reserved"
            meter.publish("overrun", message, booking.session, balance, booking.run)


def _share(spent: int, limit: int) -> float:
    return spent / limit if limit > 0 else 1.0
