"""The arithmetic and the decisions every ledger shares: pure, integer only, no storage and no clock.

An account's state is its ``Balance``; a verb turns balances into new balances. Whoever keeps them (memory, SQLite, a
replay) asks here what to do, then stores the answer. All checks come before the first change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgeted_agents.errors import IdempotencyConflict, ReservationClosed, UnknownReservation
from budgeted_agents.ledgers.checks import RATE_SCALE, place, too_large
from budgeted_agents.ledgers.contract import (
    Account,
    Balance,
    Entry,
    Hold,
    Note,
    Refusal,
    Reservation,
    Settlement,
    State,
)
from budgeted_agents.money import MAX_AMOUNT

REAPED_PER_RESERVE = 16
"""How many overdue reservations one reserve presumes on its way: bounded, so that no call pays for a long backlog."""

Body = tuple[tuple[Hold, ...], int, int, str]
"""What makes two reserves with one id the same: holds, floor, ask, session."""


@dataclass(slots=True)
class Attempt:
    """A reservation as a ledger keeps it.

    Attributes:
        body: what the reserve asked for, as the keeper remembers it (``Body`` or its fingerprint); None marks a
            tombstone, left by a release that came before its reserve.
        holds: ``(account, amount held)`` in the order asked.
        actual: what was charged in each account once settled, same order.
        late: it was presumed before it was settled or released.
        memo: JSON text; so is ``record``.
        seq: its place in the order of reserves.
    """

    id: str
    session: str
    body: Body | str | None
    state: State
    granted: int
    holds: tuple[tuple[Account, int], ...]
    reserved_at: float
    deadline: float
    closed_at: float | None = None
    actual: tuple[int, ...] = ()
    late: bool = False
    memo: str = "{}"
    record: str = "{}"
    seq: int = 0

    def close(
        self, state: State, now: float, record: str | None = None, actual: tuple[int, ...] = (), late: bool = False
    ) -> None:
        """Settled, released or presumed. Without a record the one of an earlier presume stays."""
        self.state, self.closed_at, self.actual, self.late = state, now, actual, late
        if record is not None:
            self.record = record

    @property
    def is_tombstone(self) -> bool:
        return self.body is None


def tombstone(id: str, now: float) -> Attempt:
    """What a release leaves under an id nobody reserved yet."""
    return Attempt(id, "", None, State.RELEASED, 0, (), now, now, closed_at=now)


# Reserve: how much can be granted


def amount(hold: Hold, steps: int) -> int:
    """What a hold takes for so many steps, in the account's unit, rounded up."""
    return hold.base - (-steps * hold.rate // RATE_SCALE)


def room(hold: Hold, balance: Balance) -> int:
    """What an account can give this call; one that does not enforce gives whatever a ledger can keep."""
    if hold.enforce:
        return balance.limit - balance.spent - balance.held - hold.keep
    return MAX_AMOUNT - balance.spent - balance.held


def with_limit(hold: Hold, balance: Balance | None) -> Balance:
    """The account under the limit this hold states: a budget may have changed since the last call."""
    if balance is None:
        return Balance(hold.account, hold.limit)
    limit = min(hold.limit + balance.credit, MAX_AMOUNT)
    if limit == balance.limit:
        return balance
    return Balance(balance.account, limit, balance.spent, balance.held, balance.credit, balance.presumed)


def grant(holds: Sequence[Hold], balances: Sequence[Balance], floor: int, ask: int) -> int | None:
    """The most steps up to ``ask`` that every account can give; None if that is less than ``floor``."""
    steps = ask
    for hold, balance in zip(holds, balances, strict=True):
        spare = room(hold, balance) - hold.base
        if spare < 0:
            return None
        if hold.rate:
            steps = min(steps, spare * RATE_SCALE // hold.rate)
    return steps if steps >= floor else None


def refuse(id: str, holds: Sequence[Hold], balances: Sequence[Balance], floor: int) -> Refusal:
    """Why ``grant`` said None: the first account that cannot give the floor, and whether waiting would help.

    Raises:
        InvalidAmount: the account that binds is not enforced, so it is the ledger itself that is full.
    """
    short = [
        (hold, balance)
        for hold, balance in zip(holds, balances, strict=True)
        if amount(hold, floor) > room(hold, balance)
    ]
    hold, balance = short[0]
    needed = amount(hold, floor)
    if not hold.enforce:
        raise too_large("base", needed, place("reserve", id))
    waiting_helps = all(
        hold.enforce and amount(hold, floor) <= room(hold, balance) + balance.held for hold, balance in short
    )
    return Refusal(id, balance, needed, max(0, room(hold, balance)), waiting_helps)


# Balances: one function for each thing that can happen to an account


def held(balance: Balance, reserved: int) -> Balance:
    """After a reserve."""
    return Balance(
        balance.account,
        balance.limit,
        balance.spent,
        balance.held + reserved,
        balance.credit,
        balance.presumed,
    )


def presumed(balance: Balance, reserved: int) -> Balance:
    """After an expiry: what was held counts as spent, because the provider may have billed it."""
    return Balance(
        balance.account,
        balance.limit,
        balance.spent + reserved,
        balance.held - reserved,
        balance.credit,
        balance.presumed + reserved,
    )


def closed(balance: Balance, reserved: int, actual: int, late: bool) -> Balance:
    """After a settle (or, with ``actual`` 0, a release); ``late`` takes the presumption back first."""
    if late:
        spent, still_held, still_presumed = balance.spent - reserved, balance.held, balance.presumed - reserved
    else:
        spent, still_held, still_presumed = balance.spent, balance.held - reserved, balance.presumed
    return Balance(balance.account, balance.limit, spent + actual, still_held, balance.credit, still_presumed)


def credited(id: str, balance: Balance, amount: int) -> Balance:
    """After a top-up.

    Raises:
        InvalidAmount: the limit would be more than a ledger can keep.
    """
    if balance.limit + amount > MAX_AMOUNT:
        raise too_large("amount", amount, place("credit", id))
    return Balance(
        balance.account,
        balance.limit + amount,
        balance.spent,
        balance.held,
        balance.credit + amount,
        balance.presumed,
    )


def presumed_all(attempt: Attempt, balances: Sequence[Balance]) -> tuple[Balance, ...]:
    """After an attempt is presumed: its balances, in the order of its holds."""
    return tuple([presumed(old, taken) for old, (_, taken) in zip(balances, attempt.holds, strict=True)])


def closed_all(attempt: Attempt, balances: Sequence[Balance], actual: Sequence[int], late: bool) -> tuple[Balance, ...]:
    """After the end of an attempt: its balances, in the order of its holds; no ``actual`` is a release.

    Raises:
        InvalidAmount: what is spent and held would be more than a ledger can keep.
    """
    charges = actual or (0,) * len(balances)
    after = tuple(
        [
            closed(balance, reserved, charge, late)
            for balance, (_, reserved), charge in zip(balances, attempt.holds, charges, strict=True)
        ]
    )
    for balance in after:
        if balance.spent + balance.held > MAX_AMOUNT:
            raise too_large(balance.account.unit, balance.spent, place("settle", attempt.id))
    return after


# Attempts: what an id allows


def replayed_reserve(known: Attempt, body: Body | str) -> None:
    """Pass if this reserve may be answered as the first one was.

    Raises:
        IdempotencyConflict: the id is known with another body.
        ReservationClosed: it was released.
    """
    if not known.is_tombstone and known.body != body:
        raise IdempotencyConflict(
            f"Reservation {known.id!r} exists with other holds, floor, ask or session. The first one stands; "
            "give each attempt an id of its own."
        )
    if known.state is State.RELEASED:
        raise ReservationClosed(
            f"Reservation {known.id!r} was released, so it cannot hold again. Give a new attempt a new id."
        )


def actuals(id: str, known: Attempt | None, actual: Mapping[str, int]) -> tuple[int, ...]:
    """What each account of a reservation is to be charged: ``actual`` by unit, or what was held.

    Raises:
        UnknownReservation: no such id.
        ReservationClosed: it was released.
        IdempotencyConflict: it was settled with another amount.
    """
    if known is None:
        raise UnknownReservation(f"No reservation has the id {id!r}, so there is nothing to settle. Reserve first.")
    if known.state is State.RELEASED:
        raise ReservationClosed(f"Reservation {id!r} was released, so it cannot be settled.")
    charges = tuple([actual.get(account.unit, reserved) for account, reserved in known.holds])
    if known.state is State.SETTLED and charges != known.actual:
        raise IdempotencyConflict(
            f"Reservation {id!r} was settled with {known.actual}, not {charges}. The first settle stands."
        )
    return charges


def presumable(id: str, known: Attempt | None) -> Attempt:
    """The attempt to presume; one presumed before may be presumed again, which changes nothing.

    Raises:
        UnknownReservation: no such id.
        ReservationClosed: it was settled or released.
    """
    if known is None:
        raise UnknownReservation(f"No reservation has the id {id!r}, so there is nothing to presume. Reserve first.")
    if known.state in (State.SETTLED, State.RELEASED):
        raise ReservationClosed(f"Reservation {id!r} was {known.state}, so it cannot be presumed.")
    return known


def check_releasable(known: Attempt) -> None:
    """Raises:
    ReservationClosed: it was settled.
    """
    if known.state is State.SETTLED:
        raise ReservationClosed(f"Reservation {known.id!r} was settled, so it cannot be released.")


def check_credit(id: str, known: tuple[str, int], body: tuple[str, int]) -> None:
    """Raises:
    IdempotencyConflict: the credit's id is known with another account or amount.
    """
    if known != body:
        raise IdempotencyConflict(
            f"Credit {id!r} was {known[1]} for account {known[0]!r}, not {body[1]} for {body[0]!r}. "
            "The first one stands; give each top-up an id of its own."
        )


# Answers


def reservation(attempt: Attempt, balances: tuple[Balance, ...], replayed: bool = False) -> Reservation:
    """The answer to a reserve."""
    return Reservation(attempt.id, attempt.granted, attempt.holds, balances, attempt.deadline, replayed)


def settlement(attempt: Attempt, balances: tuple[Balance, ...], replayed: bool = False) -> Settlement:
    """The answer to a settle, a release or a presume, from the attempt as it stands afterwards."""
    if attempt.state is State.RELEASED:
        back = -1 if attempt.late else 0
        returned = tuple([(account, back * reserved) for account, reserved in attempt.holds])
        return Settlement(attempt.id, attempt.state, returned, balances, (), attempt.late, replayed)
    if attempt.state is State.PRESUMED:
        return Settlement(attempt.id, attempt.state, attempt.holds, balances, replayed=replayed)
    charged, overrun = [], []
    for (account, reserved), actual in zip(attempt.holds, attempt.actual, strict=True):
        charged.append((account, actual - reserved if attempt.late else actual))
        if actual > reserved:
            overrun.append((account, actual - reserved))
    return Settlement(attempt.id, attempt.state, tuple(charged), balances, tuple(overrun), attempt.late, replayed)


def entry(attempt: Attempt) -> Entry:
    """A reservation as reports see it."""
    kept = tuple((account.key, reserved) for account, reserved in attempt.holds)
    charged: tuple[tuple[str, int], ...] = ()
    if attempt.state is State.PRESUMED:
        charged = kept
    elif attempt.state is State.SETTLED:
        charged = tuple((key, actual) for (key, _), actual in zip(kept, attempt.actual, strict=True))
    return Entry(
        attempt.id,
        attempt.session,
        attempt.state,
        attempt.granted,
        attempt.reserved_at,
        attempt.deadline,
        attempt.closed_at,
        kept,
        charged,
        json.loads(attempt.memo),
        json.loads(attempt.record),
    )


def note(session: str, at: float, body: str) -> Note:
    """A note from its JSON text."""
    return Note(session, at, json.loads(body))


def fingerprint(body: Body) -> str:
    """A reserve's body in 64 characters, for ledgers that keep text. Equal if and only if the bodies are (SHA-256)."""
    holds, floor, ask, session = body
    parts = [[h.account.key, h.limit, h.base, h.rate, h.keep, h.enforce] for h in holds]
    return hashlib.sha256(json.dumps([parts, floor, ask, session]).encode()).hexdigest()
