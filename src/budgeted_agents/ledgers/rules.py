"""The arithmetic and the decisions every ledger shares: pure, integer only, no storage and no clock.

An account's state is its ``Balance``; a verb turns balances into new balances. Whoever keeps them (memory, SQLite, a
replay) asks here what to do, then stores the answer. All checks come before the first change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import gt, sub
from typing import TypeVar

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

T = TypeVar("T")

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
        accounts: the accounts of the call, in the order asked.
        held: what is held in each, same order.
        actual: what was charged in each once settled, same order.
        late: it was presumed before it was settled or released.
        memo: JSON text; so is ``record``.
        seq: its place in the order of reserves.
    """

    id: str
    session: str
    body: Body | str | None
    reserved_at: float
    deadline: float
    memo: str = "{}"
    state: State = State.RESERVED
    granted: int = 0
    accounts: tuple[Account, ...] = ()
    held: tuple[int, ...] = ()
    closed_at: float | None = None
    actual: tuple[int, ...] = ()
    late: bool = False
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
    return Attempt(id, "", None, now, now, state=State.RELEASED, closed_at=now)


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
    if hold.limit + balance.credit == balance.limit:
        return balance
    limit = min(hold.limit + balance.credit, MAX_AMOUNT)
    return Balance(balance.account, limit, balance.spent, balance.held, balance.credit, balance.presumed)


def decide(
    attempt: Attempt, holds: Sequence[Hold], found: Mapping[str, Balance], floor: int, ask: int
) -> tuple[Balance, ...] | Refusal:
    """Fill in what an attempt is granted and holds, and give the balances after it; or say why not.

    ``found`` has the balances of the accounts that are known, by key.

    Raises:
        InvalidAmount: the ledger cannot keep so much.
    """
    before = [with_limit(hold, found.get(hold.account.key)) for hold in holds]
    granted = grant(holds, before, floor, ask)
    if granted is None:
        return refuse(attempt.id, holds, before, floor)
    attempt.granted = granted
    attempt.accounts = tuple([hold.account for hold in holds])
    attempt.held = tuple([amount(hold, granted) for hold in holds])
    return tuple(map(held, before, attempt.held))


def grant(holds: Sequence[Hold], balances: Sequence[Balance], floor: int, ask: int) -> int | None:
    """The most steps up to ``ask`` that every account can give; None if that is less than ``floor``."""
    steps = ask
    for hold, balance in zip(holds, balances, strict=True):
        spare = room(hold, balance) - hold.base
        if spare < 0:
            return None
        if hold.rate and steps * hold.rate > spare * RATE_SCALE:
            steps = spare * RATE_SCALE // hold.rate
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
    account, limit, spent, held, credit, presumed = balance
    return Balance(account, limit, spent, held + reserved, credit, presumed)


def presumed(balance: Balance, reserved: int) -> Balance:
    """After an expiry: what was held counts as spent, because the provider may have billed it."""
    account, limit, spent, held, credit, presumed = balance
    return Balance(account, limit, spent + reserved, held - reserved, credit, presumed + reserved)


def closed(balance: Balance, reserved: int, actual: int, late: bool) -> Balance:
    """After a settle (or, with ``actual`` 0, a release); ``late`` takes the presumption back first."""
    account, limit, spent, held, credit, presumed = balance
    if late:
        return Balance(account, limit, spent - reserved + actual, held, credit, presumed - reserved)
    return Balance(account, limit, spent + actual, held - reserved, credit, presumed)


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
    return tuple([presumed(old, taken) for old, taken in zip(balances, attempt.held, strict=True)])


def closed_all(attempt: Attempt, balances: Sequence[Balance], actual: Sequence[int], late: bool) -> tuple[Balance, ...]:
    """After the end of an attempt: its balances, in the order of its holds; no ``actual`` is a release.

    Raises:
        InvalidAmount: what is spent and held would be more than a ledger can keep.
    """
    charges = actual or (0,) * len(balances)
    after = tuple(
        [
            closed(balance, reserved, charge, late)
            for balance, reserved, charge in zip(balances, attempt.held, charges, strict=True)
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
    charges = tuple(
        [actual.get(account.unit, reserved) for account, reserved in zip(known.accounts, known.held, strict=True)]
    )
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
    held = _pairs(attempt.accounts, attempt.held)
    return Reservation(attempt.id, attempt.granted, held, balances, attempt.deadline, replayed)


def settlement(attempt: Attempt, balances: tuple[Balance, ...], replayed: bool = False) -> Settlement:
    """The answer to a settle, a release or a presume, from the attempt as it stands afterwards."""
    charged = charges(attempt)
    overrun: tuple[tuple[Account, int], ...] = ()
    if any(map(gt, charged, attempt.held)):
        beyond = zip(attempt.accounts, charged, attempt.held, strict=True)
        overrun = tuple((account, actual - reserved) for account, actual, reserved in beyond if actual > reserved)
    if attempt.late:
        charged = tuple(map(sub, charged, attempt.held))
    moved = _pairs(attempt.accounts, charged)
    return Settlement(attempt.id, attempt.state, moved, balances, overrun, attempt.late, replayed)


def charges(attempt: Attempt) -> tuple[int, ...]:
    """What stands charged in each account of an attempt now."""
    if attempt.state is State.SETTLED:
        return attempt.actual
    if attempt.state is State.PRESUMED:
        return attempt.held
    return (0,) * len(attempt.held)


def entry(attempt: Attempt) -> Entry:
    """A reservation as reports see it."""
    keys = [account.key for account in attempt.accounts]
    was_charged = attempt.state in (State.SETTLED, State.PRESUMED)
    return Entry(
        id=attempt.id,
        session=attempt.session,
        state=attempt.state,
        granted=attempt.granted,
        reserved_at=attempt.reserved_at,
        deadline=attempt.deadline,
        closed_at=attempt.closed_at,
        held=_pairs(keys, attempt.held),
        charged=_pairs(keys, charges(attempt)) if was_charged else (),
        memo=json.loads(attempt.memo),
        record=json.loads(attempt.record),
    )


def _pairs(keys: Sequence[T], amounts: Sequence[int]) -> tuple[tuple[T, int], ...]:
    return tuple(zip(keys, amounts, strict=True))


def note(session: str, at: float, body: str) -> Note:
    """A note from its JSON text."""
    return Note(session, at, json.loads(body))


def fingerprint(body: Body) -> str:
    """A reserve's body in 64 characters, for ledgers that keep text. Equal if and only if the bodies are (SHA-256)."""
    holds, floor, ask, session = body
    parts = [[h.account.key, h.limit, h.base, h.rate, h.keep, h.enforce] for h in holds]
    return hashlib.sha256(json.dumps([parts, floor, ask, session]).encode()).hexdigest()
