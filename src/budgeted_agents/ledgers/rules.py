"""The arithmetic and the decisions every ledger shares: pure, integer only, no storage and no clock.

An account's state is its ``Balance``; a verb turns balances into new balances. Whoever keeps them (memory, SQLite, a
replay) asks here what to do, then stores the answer. All checks come before the first change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from budgeted_agents.errors import IdempotencyConflict, ReservationClosed, UnknownReservation
from budgeted_agents.ledgers.checks import place, to_json, too_large
from budgeted_agents.ledgers.contract import (
    RATE_SCALE,
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

AS_HELD: Mapping[str, int] = MappingProxyType({})
"""Charges what was held."""

REAPED_PER_RESERVE = 16
"""How many overdue reservations one reserve presumes on its way: bounded, so that no call pays for a long backlog."""

Body = tuple[tuple[Hold, ...], int, int, str]
"""What makes two reserves with one id the same: holds, floor, ask, session."""


class Attempt(Struct, eq=False, gc=False):
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
    return replace(balance, limit=min(hold.limit + balance.credit, MAX_AMOUNT))


def decide(
    attempt: Attempt, holds: Sequence[Hold], found: Mapping[str, Balance], floor: int, ask: int
) -> Reservation | Refusal:
    """Let an attempt hold what it can be granted; or say why it cannot. The balances after it are in the answer.

    ``found`` has the balances of the accounts that are known, by key.

    Raises:
        InvalidAmount: the ledger cannot keep so much.
    """
    before, granted = [], ask
    for hold in holds:  # ``room`` and ``amount`` are written out here: nothing in a ledger is done more often
        balance, rate = found.get(hold.account.key), hold.rate
        if balance is None or balance.limit != hold.limit + balance.credit:
            balance = with_limit(hold, balance)
        before.append(balance)
        spare = (balance.limit - hold.keep if hold.enforce else MAX_AMOUNT) - balance.spent - balance.held - hold.base
        if spare < 0:
            granted = -1
        elif rate and granted * rate > spare * RATE_SCALE:
            granted = spare * RATE_SCALE // rate
    if granted < floor:
        return refuse(attempt.id, holds, before, floor)
    taken, after = [], []
    for hold, old in zip(holds, before, strict=True):
        amount_held = hold.base - (-granted * hold.rate // RATE_SCALE)
        taken.append((old.account, amount_held))
        after.append(Balance(old.account, old.limit, old.spent, old.held + amount_held, old.credit, old.presumed))
    attempt.granted, attempt.held = granted, tuple(taken)
    return Reservation(attempt.id, granted, attempt.held, tuple(after), attempt.deadline)


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


def closed(
    attempt: Attempt,
    found: Mapping[str, Balance],
    state: State,
    now: float,
    record: str | LazyMemo | None = None,
    actual: Mapping[str, int] = AS_HELD,
) -> Settlement:
    """Settle, release or presume an attempt. The balances after it are in the answer.

    Args:
        attempt: it stands as reserved or presumed.
        found: the balances of its accounts, by key.
        state: what becomes of it. Presumed: what was held counts as spent, because the provider may have billed it.
        now: seconds since the epoch.
        record: to be kept; without one, the one of an earlier presume stays.
        actual: what a settle charges, by unit; a unit that is not named is charged as held.

    Raises:
        InvalidAmount: what is spent and held would be more than a ledger can keep.
    """
    after, charges, changes, late = [], [], [], attempt.state is PRESUMED
    overrun: Amounts = ()
    for account, reserved in attempt.held:
        balance = found[account.key]
        charge = 0 if state is RELEASED else actual.get(account.unit, reserved)
        spent, held, presumed = balance.spent + charge, balance.held, balance.presumed
        if late:  # the presumption is taken back first
            spent, presumed = spent - reserved, presumed - reserved
        else:
            held -= reserved
        if state is PRESUMED:
            presumed += reserved
        if spent + held > MAX_AMOUNT:
            raise too_large(account.unit, spent, place("settle", attempt.id))
        if charge > reserved:
            overrun += ((account, charge - reserved),)
        charges.append((account, charge))
        changes.append((account, charge - reserved if late else charge))
        after.append(Balance(account, balance.limit, spent, held, balance.credit, presumed))
    attempt.state, attempt.closed_at, attempt.late = state, now, late
    attempt.actual = tuple(charges) if state is SETTLED else ()
    if record is not None:
        attempt.record = record
    return Settlement(attempt.id, state, tuple(changes), tuple(after), overrun, late)


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


def settleable(id: str, known: Attempt | None, actual: Mapping[str, int]) -> Attempt:
    """The attempt to settle; one settled before may be settled again with the same amounts, which changes nothing.

    Raises:
        UnknownReservation: no such id.
        ReservationClosed: it was released.
        IdempotencyConflict: it was settled with another amount.
    """
    if known is None:
        raise UnknownReservation(f"No reservation has the id {id!r}, so there is nothing to settle. Reserve first.")
    if known.state is RELEASED:
        raise ReservationClosed(f"Reservation {id!r} was released, so it cannot be settled.")
    if known.state is SETTLED:
        charges = tuple([(account, actual.get(account.unit, reserved)) for account, reserved in known.held])
        if charges != known.actual:
            first, other = [tuple(amount for _, amount in amounts) for amounts in (known.actual, charges)]
            message = f"Reservation {id!r} was settled with {first}, not {other}. The first settle stands."
            raise IdempotencyConflict(message)
    return known


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


def is_forgettable(attempt: Attempt, before: float) -> bool:
    """Whether an attempt ended before a time, and as nothing can change any more: what is presumed may be settled."""
    return attempt.state in (SETTLED, RELEASED) and attempt.closed_at is not None and attempt.closed_at < before


# Answers


def reserved_before(attempt: Attempt, balances: tuple[Balance, ...]) -> Reservation:
    """The answer to a reserve that is repeated."""
    return Reservation(attempt.id, attempt.granted, attempt.held, balances, attempt.deadline, replayed=True)


def closed_before(attempt: Attempt, balances: tuple[Balance, ...]) -> Settlement:
    """The answer to a settle, a release or a presume that is repeated."""
    charged, late = charges(attempt), attempt.late
    both = [(account, actual, reserved) for (account, actual), (_, reserved) in zip(charged, attempt.held, strict=True)]
    changes = tuple([(account, actual - reserved if late else actual) for account, actual, reserved in both])
    overrun = tuple([(account, actual - reserved) for account, actual, reserved in both if actual > reserved])
    return Settlement(attempt.id, attempt.state, changes, balances, overrun, late, replayed=True)


def charges(attempt: Attempt) -> Amounts:
    """What stands charged in each account of an attempt now."""
    if attempt.state is SETTLED:
        return attempt.actual
    if attempt.state is PRESUMED:
        return attempt.held
    return tuple([(account, 0) for account, _ in attempt.held])


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
