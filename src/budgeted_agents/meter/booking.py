"""Booking the end of a call. It never fails: what the ledger cannot take now it takes with a later call, because an
answer that was paid for must reach the user. Until then the hold stays, so the cap holds as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from budgeted_agents.errors import BudgetedAgentsError, LedgerUnavailable
from budgeted_agents.ledgers.contract import Settlement
from budgeted_agents.meter.events import EventKind, amount_text
from budgeted_agents.meter.meter import Booking, Meter
from budgeted_agents.meter.steps import Steps
from budgeted_agents.traces import CallRecord


def close(meter: Meter, record: CallRecord, verb: Callable[..., Settlement | None]) -> Steps[None]:
    """Book a record, and before it what could not be booked earlier."""
    what = f"tool {record.tool!r}" if record.kind == "tool" else record.model_used
    yield from _booked(meter, Booking(partial(verb, record=record.to_json()), record.session, f"A call of {what}"))


def give_back(meter: Meter, id: str, session: str) -> Steps[None]:
    """Release what a call that was not made holds, or would hold if its reserve were still on the way."""
    verb = partial(meter.ledger.release, id, now=meter.clock())
    yield from _booked(meter, Booking(verb, session, "The release of a call that was not made"))


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
    done: list[Settlement | None] = []
    try:
        yield lambda: done.append(booking.verb())
    except LedgerUnavailable:
        raise
    except BudgetedAgentsError as error:
        # Trying again would not help, and must not keep later calls from being booked.
        meter.publish("unsettled", f"{booking.what} cannot be booked: {error}", booking.session)
    finally:
        for settlement in done:  # also when the interruption came just after
            if settlement is not None and not settlement.replayed:
                _announce(meter, settlement, booking)


def _announce(meter: Meter, settlement: Settlement, booking: Booking) -> None:
    """Tell of every threshold that this very settlement crossed: it is the one that did in any number of processes."""
    alert_at = {budget.name: budget.alert_at for budget in meter.policy.budgets}
    for (account, charged), balance in zip(settlement.charged, settlement.balances, strict=True):
        thresholds: tuple[tuple[EventKind, float], ...] = (("alert", alert_at.get(account.budget, 1)), ("exhausted", 1))
        for kind, share in thresholds:
            if _share(balance.spent - charged, balance.limit) < share <= _share(balance.spent, balance.limit):
                text = f"{amount_text(account.unit, balance.spent)} of {amount_text(account.unit, balance.limit)}"
                message = f"Budget {account.budget!r} has spent {text} ({account.key})"
                meter.publish(kind, message, booking.session, balance)
    excess = dict(settlement.overrun)
    for balance in settlement.balances:
        if over := excess.get(balance.account):
            message = f"{booking.what} cost {amount_text(balance.account.unit, over)} more than reserved"
            meter.publish("overrun", message, booking.session, balance)


def _share(spent: int, limit: int) -> float:
    return spent / limit if limit > 0 else 1.0
