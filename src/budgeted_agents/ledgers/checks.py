"""What a ledger refuses at the door, before anything changes. Shared by every ledger; pure.

The tests are written for speed where a call passes them many times: ``type(x) is int`` also turns away ``bool``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import orjson

from budgeted_agents.errors import InvalidAmount, InvalidReservation
from budgeted_agents.ledgers.contract import RATE_SCALE, Account, Hold, LazyMemo, Memo
from budgeted_agents.money import MAX_AMOUNT

MAX_ID = 200
MAX_KEY = 2000
MAX_SECONDS = 1e11
"""Times beyond the year 5138 are milliseconds or nanoseconds by mistake."""

_NUMBERS = (float, int)

_strictly = json.JSONEncoder(allow_nan=False).encode


def check_reserve(id: str, holds: Sequence[Hold], floor: int, ask: int, now: float, ttl: float, session: str) -> None:
    """All of a reserve but its memo.

    Raises:
        InvalidAmount: an amount, floor or ask that is negative, not an integer, or too large.
        InvalidReservation: an id, session, account or time of the wrong shape, or an account that comes twice.
    """
    # What nearly all are, in the fewest steps; whatever is not that is looked at closely.
    if not (type(id) is str and 0 < len(id) <= MAX_ID and id.isascii()):
        check_id(id, "reserve")
    if not (type(now) is type(ttl) is float and 0 <= now <= MAX_SECONDS and 0 < ttl <= MAX_SECONDS):
        check_times(id, "reserve", now=now, ttl=ttl)
    if not (type(session) is str and session.isascii()):
        check_text("session", session, place("reserve", id))
    if not (type(floor) is type(ask) is int and 0 <= floor <= ask <= MAX_AMOUNT):
        _refuse_steps(id, floor, ask)
    if not _are_sound(holds, floor):
        _refuse_holds(id, holds, floor)


def check_id(id: str, verb: str) -> None:
    """Raises:
    InvalidReservation: not a string of 1 to 200 characters.
    """
    if type(id) is str and 0 < len(id) <= MAX_ID and id.isascii():
        return
    check_text("id", id, verb)
    if not 0 < len(id) <= MAX_ID:
        raise InvalidReservation(
            f"has {len(id)} characters",
            field="id",
            value=id,
            place=verb,
            remedy=f"Give each attempt an id of 1 to {MAX_ID} characters, e.g. str(uuid.uuid4())",
        )


def check_times(id: str, verb: str, *, now: float, ttl: float = 1) -> None:
    """Raises:
    InvalidReservation: ``now`` or ``ttl`` is no number of seconds, or ``ttl`` is not above 0.
    """
    if not (type(now) in _NUMBERS and 0 <= now <= MAX_SECONDS):
        raise _not_a_time("now", now, place(verb, id))
    if not (type(ttl) in _NUMBERS and 0 < ttl <= MAX_SECONDS):
        raise _not_a_time("ttl", ttl, place(verb, id))


def check_text(field: str, value: object, where: str) -> None:
    """Raises:
    InvalidReservation: not a string that can be stored as UTF-8.
    """
    problem = "is not a string"
    if isinstance(value, str):
        try:
            value.encode()
            return
        except UnicodeEncodeError:
            problem = "holds half a character (a lone surrogate)"
    raise InvalidReservation(problem, field=field, value=value, place=where, remedy="Give a plain string")


def check_account(account: Account, where: str) -> None:
    """Raises:
    InvalidReservation: not an account, or one whose names cannot be stored.
    """
    try:
        length = len(account.key)
    except (AttributeError, TypeError, ValueError):
        length = 0
    if not 0 < length <= MAX_KEY:
        raise InvalidReservation(
            "is not an account a ledger can keep",
            field="account",
            value=account,
            place=where,
            remedy=f"Give an Account made of plain strings, its key at most {MAX_KEY} characters long",
        )


def check_amount(field: str, value: int, where: str) -> None:
    """Raises:
    InvalidAmount: negative, not an integer, or more than a ledger can keep.
    """
    if type(value) is int and 0 <= value <= MAX_AMOUNT:
        return
    if type(value) is not int:
        problem = "is not an integer"
    elif value < 0:
        problem = "is negative"
    else:
        raise too_large(field, value, where)
    raise _invalid_amount(problem, field, value, where)


def check_settle(id: str, actual: Mapping[str, int], now: float) -> None:
    """A settle, but its record; ``actual`` is what it charges, by unit.

    Raises:
        InvalidAmount: not a mapping of units to amounts.
        InvalidReservation: an id or a time of the wrong shape.
    """
    if not (type(id) is str and 0 < len(id) <= MAX_ID and id.isascii()):
        check_id(id, "settle")
    if not (type(now) is float and 0 <= now <= MAX_SECONDS):
        check_times(id, "settle", now=now)
    if type(actual) is not dict and not isinstance(actual, Mapping):
        raise _invalid_amount("is not a mapping of units to amounts", "actual", actual, place("settle", id))
    for unit, value in actual.items():
        if not (type(value) is int and 0 <= value <= MAX_AMOUNT):
            check_amount(f"actual[{unit!r}]", value, place("settle", id))


def check_close(id: str, verb: str, now: float) -> None:
    """A release or a presume, but its record. Raises as ``check_id`` and ``check_times``."""
    check_id(id, verb)
    check_times(id, verb, now=now)


def check_expire(now: float, limit: int) -> None:
    """Raises:
    InvalidReservation: a time or limit of the wrong shape.
    """
    check_times("", "expire", now=now)
    check_amount("limit", limit, "expire")


def check_forget(before: float, limit: int) -> None:
    """Raises as ``check_expire``."""
    check_times("", "forget", now=before)
    check_amount("limit", limit, "forget")


def check_credit(id: str, account: Account, amount: int, limit: int, now: float) -> None:
    """A top-up, but its memo. Raises as the checks it makes."""
    check_id(id, "credit")
    check_times(id, "credit", now=now)
    where = place("credit", id)
    check_account(account, where)
    check_amount("amount", amount, where)
    check_amount("limit", limit, where)


def note_json(session: str, body: Memo, now: float) -> str:
    """A note's body as JSON text, after the checks of the note."""
    check_text("session", session, "note")
    check_times(session, "note", now=now)
    return to_json("body", body, place("note", session))


def kept(field: str, memo: Memo | LazyMemo | None, verb: str, id: str) -> str | LazyMemo:
    """A memo as a ledger in memory keeps it: JSON text, a snapshot, so that a caller who changes the mapping later
    changes nothing here; one that never changes as it is.

    Raises:
        InvalidReservation: not a mapping, or one that is not JSON.
    """
    if memo is None:
        return "{}"
    return memo if hasattr(memo, "to_json") else to_json(field, memo, place(verb, id))


def to_json(field: str, memo: Memo | LazyMemo | None, where: str) -> str:
    """A memo as JSON text.

    Raises:
        InvalidReservation: not a mapping, or one that is not JSON.
    """
    if memo is None:
        return "{}"
    try:
        plain = memo.to_json() if hasattr(memo, "to_json") else memo
        return _encoded(plain if type(plain) is dict else dict(plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidReservation(
            f"is not a JSON object ({error})",
            field=field,
            value=memo,
            place=where,
            remedy="Give a mapping of strings to strings, finite numbers, booleans, None, lists and mappings",
        ) from None


def _encoded(memo: dict[str, Any]) -> str:
    """JSON text by the quick encoder; by the strict one where they may differ: the quick one writes NaN as null, and
    turns down what is not text, or an integer of more than 64 bits."""
    try:
        text = orjson.dumps(memo)
    except orjson.JSONEncodeError:
        return _strictly(memo)
    return _strictly(memo) if b"null" in text else text.decode()


def place(verb: str, id: str) -> str:
    """Where an error stands."""
    return f"{verb} {id!r}"


def too_large(field: str, value: int, where: str) -> InvalidAmount:
    """The error for an amount that does not fit in a ledger."""
    return _invalid_amount("is more than a ledger can keep (2**63 - 1)", field, value, where)


def _are_sound(holds: Sequence[Hold], floor: int) -> bool:
    """True if the holds' amounts, and what the floor needs, are in range, and no account comes twice: ``>> 63`` of what
    is neither negative nor above 2**63 - 1 is 0, also of several numbers' bits together."""
    keys = set()
    try:
        for hold in holds:
            key, base, rate = hold.account.key, hold.base, hold.rate
            if not (
                type(hold) is Hold
                and type(hold.limit) is type(base) is type(rate) is type(hold.keep) is int
                and (hold.limit | base | rate | hold.keep) >> 63 == 0
                and base - (-floor * rate // RATE_SCALE) <= MAX_AMOUNT
                and 0 < len(key) <= MAX_KEY
            ):
                return False
            keys.add(key)
    except (AttributeError, TypeError, ValueError):
        return False
    return len(keys) == len(holds)


def _refuse_holds(id: str, holds: Sequence[Hold], floor: int) -> NoReturn:
    """Say what is wrong with the first hold that is not sound by itself; if there is none, an account comes twice."""
    for hold in holds:
        if not _are_sound((hold,), floor):
            _refuse_hold(id, hold, floor)
    _refuse_duplicate(id, holds)


def _refuse_hold(id: str, hold: Any, floor: int) -> NoReturn:
    where = place("reserve", id)
    if not isinstance(hold, Hold):
        raise InvalidReservation(
            "is not a Hold", field="holds", value=hold, place=where, remedy="Give Hold(account, limit, base)"
        )
    check_account(hold.account, where)
    where = f"{where}, account {hold.account.key!r}"
    for name in ("limit", "base", "rate", "keep"):
        check_amount(name, getattr(hold, name), where)
    raise too_large("base", hold.base - (-floor * hold.rate // RATE_SCALE), where)


def _refuse_steps(id: str, floor: int, ask: int) -> NoReturn:
    where = place("reserve", id)
    check_amount("floor", floor, where)
    check_amount("ask", ask, where)
    raise InvalidAmount(
        f"is below the floor of {floor}",
        field="ask",
        value=ask,
        place=where,
        remedy="Ask for at least as many steps as the floor",
    )


def _refuse_duplicate(id: str, holds: Sequence[Hold]) -> NoReturn:
    keys = [hold.account.key for hold in holds]
    twice = next(key for key in keys if keys.count(key) > 1)
    raise InvalidReservation(
        "comes twice in one reserve",
        field="account",
        value=twice,
        place=place("reserve", id),
        remedy="Give one hold for each account; two budgets of one name and scope are one account",
    )


def _not_a_time(field: str, value: object, where: str) -> InvalidReservation:
    return InvalidReservation(
        "is not a time in seconds",
        field=field,
        value=value,
        place=where,
        remedy="Give seconds: now since the epoch (time.time()), ttl above 0",
    )


def _invalid_amount(problem: str, field: str, value: object, where: str) -> InvalidAmount:
    return InvalidAmount(
        problem, field=field, value=value, place=where, remedy="Give an integer from 0 to 2**63 - 1, in the unit"
    )
