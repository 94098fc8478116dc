"""What every ledger keeps and promises. No storage, no framework, no clock: times and ids come from the caller.

A ledger knows accounts and amounts; it knows nothing of models or prices. Amounts are integers in the account's own
unit (nano-USD, tokens, calls). One ``reserve`` covers all accounts of a call, all or nothing, and grants *steps*: for a
model call a step is one output token, so that the amount granted is the call's output limit. In each account the hold
is ``base + ceil(steps * rate / 1000)``; the ledger grants the most steps between ``floor`` and ``ask`` that every
account can still give.

States: ``reserved -> settled | released | presumed``, ``presumed -> settled`` (late). Presumed means expired: charged
at its worst case, because a provider bills a call that was sent even when the worker that sent it is dead.

Invariant, in every account and at every moment: ``limit = available + spent + held``.

What goes into and comes out of a verb on every call is a frozen ``Struct``: made in C, in a quarter of the time of a
``NamedTuple``. It refers to plain data only, so the garbage collector need not follow it, and the calls that a ledger
keeps do not make its rounds longer. Between two steps of an agent the code here is not in the processor's caches, and
every Python function that is run there costs several times what it costs in a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any, Protocol, Self
from urllib.parse import quote, unquote

from msgspec import Struct

from budgeted_agents.ledgers.units import USD

Memo = Mapping[str, Any]
"""A JSON object a ledger stores beside an entry without reading it (attribution, models, prices; never content)."""


class LazyMemo(Protocol):
    """A memo that is written out when it is needed: at once by a ledger that stores text, when somebody reads it by one
    in memory. Whoever gives one promises that it never changes and that it is JSON.
    """

    def to_json(self) -> Memo:
        """The memo."""


@lru_cache(maxsize=4_096)
def _escaped(text: str) -> str:
    """A name in which nothing looks like a separator of a key."""
    return quote(text, safe="")


Scope = tuple[tuple[str, str], ...]
"""Values of a budget's ``per`` dimensions: ``(("tenant", "acme"), ("feature", "search"))``."""


class State(StrEnum):
    """Where a reservation stands."""

    RESERVED = "reserved"
    SETTLED = "settled"
    RELEASED = "released"
    PRESUMED = "presumed"


@dataclass(frozen=True)
class Account:
    """What a budget charges: its name, the values of its ``per`` dimensions, the window, and the unit that is counted.

    ``key`` is injective: two accounts have the same key only if they are equal, whatever characters names hold.
    """

    budget: str
    scope: Scope = ()
    window: str = ""
    unit: str = USD

    @cached_property
    def key(self) -> str:
        dims = ",".join([f"{_escaped(name)}={_escaped(value)}" for name, value in self.scope])
        return f"{_escaped(self.budget)}|{dims}|{_escaped(self.window)}|{_escaped(self.unit)}"

    @classmethod
    def from_key(cls, key: str) -> Self:
        """The account that has this key, so that a ledger need only keep keys.

        Raises:
            ValueError: no account has it.
        """
        budget, dims, window, unit = key.split("|")
        pairs = (dim.split("=") for dim in dims.split(",") if dim)
        scope = tuple((unquote(name), unquote(value)) for name, value in pairs)
        return cls(unquote(budget), scope, unquote(window), unquote(unit))

    def __hash__(self) -> int:
        return hash(self.key)


def unit_of(key: str) -> str:
    """The unit of the account that has this key."""
    return unquote(key.rpartition("|")[2])


Amounts = tuple[tuple[Account, int], ...]
"""An amount for each account of a reservation, in the account's unit and in the order of the holds."""


RATE_SCALE = 1000
"""A hold's ``rate`` is in thousandths of the account's unit."""


class Hold(Struct, frozen=True, gc=False):
    """What one call would hold in one account.

    Attributes:
        account: the account to charge.
        limit: the account's limit by the budget, in the unit, without top-ups.
        base: held whatever is granted (input tokens, one call), in the unit.
        rate: held for each granted step, in thousandths of the unit.
        keep: part of the limit this call may not touch (the landing reserve), in the unit.
        enforce: False books without binding (shadow mode).
    """

    account: Account
    limit: int
    base: int
    rate: int = 0
    keep: int = 0
    enforce: bool = True


class Balance(Struct, frozen=True, gc=False):
    """One account's state, in its unit. ``limit`` includes ``credit`` (top-ups); ``presumed`` is part of ``spent``."""

    account: Account
    limit: int
    spent: int = 0
    held: int = 0
    credit: int = 0
    presumed: int = 0

    @property
    def available(self) -> int:
        """What can still be reserved; negative after an overrun or in shadow mode."""
        return self.limit - self.spent - self.held


class Reservation(Struct, frozen=True, gc=False):
    """Money held for one attempt.

    Attributes:
        id: the caller's id for the attempt.
        granted: steps granted (output tokens), ``floor <= granted <= ask``.
        held: ``(account, amount)`` in the order of the holds asked for.
        balances: every account after the reserve, same order.
        deadline: when it expires and is presumed spent, in seconds since the epoch.
        replayed: True if this id had already been reserved with the same body.
        presumed: overdue reservations that this verb presumed on its way.
    """

    id: str
    granted: int
    held: Amounts
    balances: tuple[Balance, ...]
    deadline: float
    replayed: bool = False
    presumed: tuple[Settlement, ...] = ()


class Refusal(Struct, frozen=True, gc=False):
    """Not even the floor fits. Nothing was written for the attempt.

    Attributes:
        id: the caller's id for the attempt.
        binding: the balance of the account that binds (the first one that cannot give the floor).
        needed: what the floor needs there, in its unit.
        available: what that account can give this call (``keep`` taken off).
        waiting_helps: True if it would fit once what others now hold in every binding account were released.
        presumed: as in ``Reservation``.
    """

    id: str
    binding: Balance
    needed: int
    available: int
    waiting_helps: bool
    presumed: tuple[Settlement, ...] = ()


class Settlement(Struct, frozen=True, gc=False):
    """The end of a reservation.

    Attributes:
        id: the reservation's id.
        state: ``settled``, ``released`` or ``presumed``.
        charged: ``(account, change of spent)`` in the order of the holds; for a late settle the correction, which may
            be negative.
        balances: every account afterward, same order.
        overrun: ``(account, actual - held)`` for each account where the actual was above the hold.
        late: True if the reservation had expired and was presumed before.
        replayed: True if it had already been settled like this; nothing changed.
    """

    id: str
    state: State
    charged: Amounts
    balances: tuple[Balance, ...]
    overrun: Amounts = ()
    late: bool = False
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One reservation as the ledger remembers it, for reports and recovery.

    Attributes:
        held: ``(account key, amount held at reserve)``.
        charged: ``(account key, amount charged)``; empty while reserved or when released.
        memo: what the caller stored at ``reserve``; ``record`` what it stored at ``settle`` or ``release``.
    """

    id: str
    session: str
    state: State
    granted: int
    reserved_at: float
    deadline: float
    closed_at: float | None
    held: tuple[tuple[str, int], ...]
    charged: tuple[tuple[str, int], ...]
    memo: Memo = field(default_factory=dict)
    record: Memo = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened in a session and moved no money: a refusal, an alert, a landing."""

    session: str
    at: float
    body: Memo


class Ledger(Protocol):
    """Keeps money. Every verb is atomic, idempotent by id, and safe from any thread.

    Times are seconds since the epoch, ``ttl`` is in seconds. Ids are non-empty strings of at most 200 characters.

    Raises (every verb):
        InvalidAmount: a negative, non-integer or too large amount.
        InvalidReservation: an id, account, time or memo of the wrong shape, or one account twice in one reserve.
        LedgerUnavailable: the storage cannot be reached or written, or the ledger is closed.
    """

    @property
    def url(self) -> str:
        """The URL that opens this ledger."""

    @property
    def blocking(self) -> bool:
        """True if a verb may wait for I/O, so that an event loop should run it in a thread."""

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
        """Hold money in every account at once, or in none. Also expires a bounded number of overdue reservations.

        Raises:
            IdempotencyConflict: the id is known with another body.
            ReservationClosed: the id was released before (also when the release came first).
        """

    def settle(
        self, id: str, actual: Mapping[str, int], *, now: float, record: Memo | LazyMemo | None = None
    ) -> Settlement:
        """Replace the hold by what the call really cost: ``actual`` maps unit to amount; a unit of the reservation
        that ``actual`` does not name is charged as held. More than was held is booked in full and reported as overrun.

        Raises:
            UnknownReservation: no such id.
            ReservationClosed: it was released.
            IdempotencyConflict: it was settled with another amount.
        """

    def release(self, id: str, *, now: float, record: Memo | LazyMemo | None = None) -> Settlement | None:
        """Give the hold back. An unknown id leaves a tombstone (and returns None), so that a reserve that arrives
        late cannot hold money. Releasing a presumed reservation undoes the presumption.

        Raises:
            ReservationClosed: it was settled.
        """

    def presume(self, id: str, *, now: float, record: Memo | LazyMemo | None = None) -> Settlement:
        """Charge the hold in full because nobody knows what the provider billed (time-out, reset, cancellation): the
        state an expired reservation gets, at once. A later ``settle`` puts the truth in its place.

        Raises:
            UnknownReservation: no such id.
            ReservationClosed: it was settled or released.
        """

    def extend(self, id: str, *, ttl: float, now: float) -> bool:
        """Move the deadline to ``now + ttl`` (never earlier). False if it is no longer reserved."""

    def expire(self, now: float, limit: int = 1000) -> list[Settlement]:
        """Charge overdue reservations at their worst case; those that were presumed, the longest overdue first."""

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Current balances in the order asked; an account never reserved in has limit 0."""

    def accounts(self) -> list[Account]:
        """Every account this ledger knows."""

    def credit(
        self, id: str, account: Account, amount: int, *, limit: int, now: float, memo: Memo | None = None
    ) -> Balance:
        """Top up: raise the account's limit by ``amount`` for good (``limit`` is the budget's own, used if the account
        is new). Idempotent by id.

        Raises:
            IdempotencyConflict: the id is known with another body.
        """

    def note(self, session: str, body: Memo, *, now: float) -> None:
        """Append a note to a session."""

    def forget(self, before: float, limit: int = 1000) -> int:
        """Let go of what was settled or released before a time, and of notes from before it: the oldest first, at most
        ``limit`` of each. Balances, top-ups, and what is reserved or presumed stay. How many reservations went.

        An id that is forgotten counts as new, so take a time before which nobody will ask again.
        """

    @property
    def forgotten(self) -> float:
        """What ended up to this time may have been forgotten; 0 where nothing was."""

    def entries(self, session: str | None = None) -> Iterator[Entry]:
        """Reservations in the order they were made, of one session or of all."""

    def notes(self, session: str | None = None) -> Iterator[Note]:
        """Notes in the order they were made, of one session or of all."""

    def close(self) -> None:
        """Let go of files and connections. Further verbs raise LedgerUnavailable."""
