"""The arithmetic and the decisions every ledger shares: pure, integer only, no storage and no clock.

An account's state is its ``Balance``; a verb turns balances into new balances. Whoever keeps them (memory, SQLite, a
replay) asks here what to do, then stores the answer. All checks come before the first change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from budgeted_agents.errors import IdempotencyConflict, ReservationClosed, UnknownReservation
from budgeted_agents.ledgers.checks import RATE_SCALE, place, to_json, too_large
from budgeted_agents.ledgers.contract import (
    Account,
    Amounts,
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
from budgeted_agents.money import MAX_AMOUNT

RESERVED, SETTLED, RELEASED, PRESUMED = State.RESERVED, State.SETTLED, State.RELEASED, State.PRESUMED
"""The states by themselves: looked up in their enumeration, they would cost as much as the comparison they are for."""

_balance: Callable[[tuple[Account, int, int, int, int, int]], Balance] = partial(tuple.__new__, Balance)
"""A balance of its six fields in their order, in half the time that it takes by name."""

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
        held: what is held in each account of the call, in the order asked.
        actual: what was charged in each once settled, same order.
        late: it was presumed before it was settled or released.
        memo: JSON text, or what makes it; so is ``record``.
        seq: its place in the order of reserves.
    """

    id: str
    session: str
    body: Body | str | None
    reserved_at: float
    deadline: float
    memo: str | LazyMemo = "{}"
    state: State = RESERVED
    granted: int = 0
    held: Amounts = ()
    closed_at: float | None = None
    actual: Amounts = ()
    late: bool = False
    record: str | LazyMemo = "{}"
    seq: int = 0

    @property
    def accounts(self) -> list[Account]:
        return [account for account, _ in self.held]

    def close(
        self, state: State, now: float, record: str | LazyMemo | None = None, actual: Amounts = (), late: bool = False
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
    return Attempt(id, "", None, now, now, state=RELEASED, closed_at=now)


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
    return balance._replace(limit=min(hold.limit + balance.credit, MAX_AMOUNT))


def decide(
    attempt: Attempt, holds: Sequence[Hold], found: Mapping[str, Balance], floor: int, ask: int
) -> tuple[Balance, ...] | Refusal:
    """Fill in what an attempt is granted and holds, and give the balances after it; or say why not.

    ``found`` has the balances of the accounts that are known, by key.

    Raises:
        InvalidAmount: the ledger cannot keep so much.
    """
    before, granted = [], ask
    for hold in holds:  # ``room`` and ``amount`` are written out here: nothing in a ledger is done more often
        account, limit, base, rate, keep, enforce = hold
        balance = found.get(account.key)
        if balance is None or balance.limit != limit + balance.credit:
            balance = with_limit(hold, balance)
        before.append(balance)
        _, limit, spent, held, _, _ = balance
        spare = (limit - keep if enforce else MAX_AMOUNT) - spent - held - base
        if spare < 0:
            granted = -1
        elif rate and granted * rate > spare * RATE_SCALE:
            granted = spare * RATE_SCALE // rate
    if granted < floor:
        return refuse(attempt.id, holds, before, floor)
    attempt.granted = granted
    return _hold(attempt, holds, before)


def _hold(attempt: Attempt, holds: Sequence[Hold], before: Sequence[Balance]) -> tuple[Balance, ...]:
    """Let the attempt hold what its granted steps take; the balances after it."""
    taken, after = [], []
    for (_, _, base, rate, _, _), (account, limit, spent, held, credit, presumed) in zip(holds, before, strict=True):
        amount = base - (-attempt.granted * rate // RATE_SCALE)
        taken.append((account, amount))
        after.append(_balance((account, limit, spent, held + amount, credit, presumed)))
    attempt.held = tuple(taken)
    return tuple(after)


def refuse(id: str, holds: Sequence[Hold], balances: Sequence[Balance], floor: int) -> Refusal:
    """Why less than the floor can be given: the first account that cannot, and whether waiting would help.

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


def presumed(balance: Balance, reserved: int) -> Balance:
    """After an expiry: what was held counts as spent, because the provider may have billed it."""
    account, limit, spent, held, credit, presumed = balance
    return Balance(account, limit, spent + reserved, held - reserved, credit, presumed + reserved)


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


def presumed_all(attempt: Attempt, found: Mapping[str, Balance]) -> tuple[Balance, ...]:
    """After an attempt is presumed: its balances, in the order of its holds."""
    return tuple([presumed(found[account.key], taken) for account, taken in attempt.held])


def closed_all(attempt: Attempt, found: Mapping[str, Balance], actual: Amounts, late: bool) -> tuple[Balance, ...]:
    """After the end of an attempt: its balances, in the order of its holds; no ``actual`` is a release.

    Raises:
        InvalidAmount: what is spent and held would be more than a ledger can keep.
    """
    after = []
    for (account, reserved), (_, charge) in zip(attempt.held, actual or _nothing(attempt), strict=True):
        account, limit, spent, held, credit, presumed = found[account.key]
        if late:  # the presumption is taken back first
            spent, presumed = spent - reserved, presumed - reserved
        else:
            held -= reserved
        spent += charge
        if spent + held > MAX_AMOUNT:
            raise too_large(account.unit, spent, place("settle", attempt.id))
        after.append(_balance((account, limit, spent, held, credit, presumed)))
    return tuple(after)


def _nothing(attempt: Attempt) -> Amounts:
    return tuple([(account, 0) for account, _ in attempt.held])


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
    if known.state is RELEASED:
        raise ReservationClosed(
            f"Reservation {known.id!r} was released, so it cannot hold again. Give a new attempt a new id."
        )


def actuals(id: str, known: Attempt | None, actual: Mapping[str, int]) -> Amounts:
    """What each account of a reservation is to be charged: ``actual`` by unit, or what was held.

    Raises:
        UnknownReservation: no such id.
        ReservationClosed: it was released.
        IdempotencyConflict: it was settled with another amount.
    """
    if known is None:
        raise UnknownReservation(f"No reservation has the id {id!r}, so there is nothing to settle. Reserve first.")
    if known.state is RELEASED:
        raise ReservationClosed(f"Reservation {id!r} was released, so it cannot be settled.")
    charges = tuple([(account, actual.get(account.unit, reserved)) for account, reserved in known.held])
    if known.state is SETTLED and charges != known.actual:
        first, other = [tuple(amount for _, amount in amounts) for amounts in (known.actual, charges)]
        raise IdempotencyConflict(f"Reservation {id!r} was settled with {first}, not {other}. The first settle stands.")
    return charges


def presumable(id: str, known: Attempt | None) -> Attempt:
    """The attempt to presume; one presumed before may be presumed again, which changes nothing.

    Raises:
        UnknownReservation: no such id.
        ReservationClosed: it was settled or released.
    """
    if known is None:
        raise UnknownReservation(f"No reservation has the id {id!r}, so there is nothing to presume. Reserve first.")
    if known.state in (SETTLED, RELEASED):
        raise ReservationClosed(f"Reservation {id!r} was {known.state}, so it cannot be presumed.")
    return known


def check_releasable(known: Attempt) -> None:
    """Raises:
    ReservationClosed: it was settled.
    """
    if known.state is SETTLED:
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
    return Reservation(attempt.id, attempt.granted, attempt.held, balances, attempt.deadline, replayed)


def settlement(attempt: Attempt, balances: tuple[Balance, ...], replayed: bool = False) -> Settlement:
    """The answer to a settle, a release or a presume, from the attempt as it stands afterwards."""
    charged = charges(attempt)
    overrun: Amounts = ()
    for (account, actual), (_, reserved) in zip(charged, attempt.held, strict=True):
        if actual > reserved:
            overrun += ((account, actual - reserved),)
    if attempt.late:
        both = zip(charged, attempt.held, strict=True)
        charged = tuple([(account, actual - reserved) for (account, actual), (_, reserved) in both])
    return Settlement(attempt.id, attempt.state, charged, balances, overrun, attempt.late, replayed)


def charges(attempt: Attempt) -> Amounts:
    """What stands charged in each account of an attempt now."""
    if attempt.state is SETTLED:
        return attempt.actual
    return attempt.held if attempt.state is PRESUMED else _nothing(attempt)


def entry(attempt: Attempt) -> Entry:
    """A reservation as reports see it."""
    was_charged = attempt.state in (SETTLED, PRESUMED)
    return Entry(
        id=attempt.id,
        session=attempt.session,
        state=attempt.state,
        granted=attempt.granted,
        reserved_at=attempt.reserved_at,
        deadline=attempt.deadline,
        closed_at=attempt.closed_at,
        held=_by_key(attempt.held),
        charged=_by_key(charges(attempt)) if was_charged else (),
        memo=_read("memo", attempt.memo, attempt.id),
        record=_read("record", attempt.record, attempt.id),
    )


def _by_key(amounts: Amounts) -> tuple[tuple[str, int], ...]:
    return tuple([(account.key, amount) for account, amount in amounts])


def _read(field: str, memo: str | LazyMemo, id: str) -> Memo:
    text = memo if isinstance(memo, str) else to_json(field, memo, place("entries", id))
    read: Memo = json.loads(text)
    return read


def note(session: str, at: float, body: str) -> Note:
    """A note from its JSON text."""
    return Note(session, at, json.loads(body))


def fingerprint(body: Body) -> str:
    """A reserve's body in 64 characters, for ledgers that keep text. Equal if and only if the bodies are (SHA-256)."""
    holds, floor, ask, session = body
    parts = [[h.account.key, h.limit, h.base, h.rate, h.keep, h.enforce] for h in holds]
    return hashlib.sha256(json.dumps([parts, floor, ask, session]).encode()).hexdigest()
