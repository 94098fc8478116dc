"""Topping up: more money for accounts that run low, by whom and why. Repeated, it counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from budgeted_agents.errors import InvalidAmount, InvalidReservation
from budgeted_agents.ledgers import checks
from budgeted_agents.ledgers.contract import Account, Balance, Ledger, Note
from budgeted_agents.ledgers.units import MODEL_CALLS, TOKENS, USD, tool_unit
from budgeted_agents.money import UsdLike, parse_usd

KIND = "top_up"
"""What marks a note as a top-up."""

PLACE = "top_up"


class TopUpLine(NamedTuple):
    """What one account gets.

    Attributes:
        amount: in the account's unit (nano-USD for ``usd``).
        limit: the account's limit by its budget, used where the ledger does not know the account yet.
    """

    account: Account
    amount: int
    limit: int


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up as a session remembers it.

    Attributes:
        id: names it; the same id counts once.
        amount: in the account's unit.
        by: who granted it; ``reason`` why.
        at: seconds since the epoch.
    """

    id: str
    account: Account
    amount: int
    by: str
    reason: str
    at: float

    @classmethod
    def from_note(cls, note: Note) -> Self:
        body = note.body
        return cls(body["id"], Account.from_key(body["account"]), body["amount"], body["by"], body["reason"], note.at)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; the amount as an integer in the account's unit (nano-USD for ``usd``)."""
        return {
            "id": self.id,
            "account": self.account.key,
            "unit": self.account.unit,
            "amount": self.amount,
            "by": self.by,
            "reason": self.reason,
            "at": self.at,
        }


def amounts_of(
    *,
    usd: UsdLike | None = None,
    tokens: int | None = None,
    model_calls: int | None = None,
    tool_calls: int | Mapping[str, int] | None = None,
) -> dict[str, int]:
    """What is to be added, by unit.

    Raises:
        InvalidAmount: nothing is given, or an amount that is not above zero.
    """
    amounts = {} if usd is None else {USD: parse_usd(usd, place=PLACE)}
    by_tool = tool_calls if isinstance(tool_calls, Mapping) else {"*": tool_calls}
    by_unit = {TOKENS: tokens, MODEL_CALLS: model_calls}
    by_unit |= {tool_unit(name): count for name, count in by_tool.items()}
    amounts |= {unit: amount for unit, amount in by_unit.items() if amount is not None}
    if not amounts:
        raise _no_amount("usd", None, "nothing is to be added")
    for unit, amount in amounts.items():
        checks.check_amount(unit, amount, PLACE)
        if amount == 0:
            raise _no_amount(unit, amount, "is zero")
    return amounts


def top_up(
    ledger: Ledger,
    lines: Sequence[TopUpLine],
    *,
    id: str,
    by: str,
    reason: str = "",
    session: str = "",
    now: float,
    told: Callable[[TopUp, Balance], None] | None = None,
) -> tuple[Balance, ...]:
    """Raise the limits of accounts for good, and note it in a session.

    Args:
        lines: the accounts, and what each gets.
        id: names the top-up, so that it may be repeated (after a time-out, say) and counts once.
        by, reason: who granted it and why, for the report.
        session: whose report shows it; empty for none.
        now: seconds since the epoch.
        told: hears of each account's top-up, and its balance afterward, once the ledger has it.

    Returns:
        The balances afterward, in the order of the lines.

    Raises:
        InvalidReservation, InvalidAmount: an id, name, account or amount that cannot be kept; nothing was changed.
        IdempotencyConflict: the id was used with another amount or account.
    """
    for field, value in (("by", by), ("reason", reason), ("session", session)):
        checks.check_text(field, value, PLACE)
    if not by.strip():
        remedy = "Say who grants it, e.g. by='ops@example.com'"
        raise InvalidReservation("names nobody", field="by", value=by, place=PLACE, remedy=remedy)
    checks.check_id(id, PLACE)
    for account, amount, limit in lines:
        checks.check_credit(_line_id(id, account), account, amount, limit, now)
    granted = [TopUp(id, line.account, line.amount, by, reason, now) for line in lines]
    balances = [_credit(ledger, line, each, session) for line, each in zip(lines, granted, strict=True)]
    if told is not None:
        for each, balance in zip(granted, balances, strict=True):
            told(each, balance)
    return tuple(balances)


def top_ups(notes: Iterable[Note]) -> tuple[TopUp, ...]:
    """The top-ups among a session's notes, each once, in the order they were made."""
    found = [TopUp.from_note(note) for note in notes if note.body.get("kind") == KIND]
    return tuple({(top_up.id, top_up.account.key): top_up for top_up in reversed(found)}.values())[::-1]


def known_lines(
    ledger: Ledger, budget: str, scope: Mapping[str, str], amounts: Mapping[str, int], *, window: str | None = None
) -> list[TopUpLine]:
    """What each account gets, of the accounts that the ledger knows: for those who have no policy at hand.

    Args:
        budget: the budget's name.
        scope: values of its ``per`` dimensions, e.g. ``{"session": "t1"}``.
        amounts: what to add, by unit.
        window: the window's id, e.g. ``"m:2026-11"``; needed only where several are known.

    Raises:
        InvalidReservation: no account, or more than one, is meant; nothing was changed.
    """
    own = [account for account in ledger.accounts() if account.budget == budget and dict(account.scope) == dict(scope)]
    if not own:
        known = sorted({account.budget for account in ledger.accounts()})
        problem = "is charged to no account of this ledger" if budget in known else "names no budget of this ledger"
        raise _not_meant("budget", f"{budget} {dict(scope)}", problem, f"Its budgets: {', '.join(known) or 'none yet'}")
    return [_known_line(own, unit, amount, window) for unit, amount in amounts.items()]


def _known_line(own: Sequence[Account], unit: str, amount: int, window: str | None) -> TopUpLine:
    found = [account for account in own if account.unit == unit and window in (None, account.window)]
    if not found:
        limited = ", ".join(sorted({account.unit for account in own}))
        raise _not_meant(
            "unit" if window is None else "window",
            unit,
            f"is not limited here{f' in {window}' if window else ''}",
            f"What is limited: {limited}",
        )
    if len(found) > 1:
        windows = ", ".join(account.window for account in found)
        raise _not_meant("window", window, "is needed: there are several", f"Name one of {windows}")
    return TopUpLine(found[0], amount, 0)  # the limit is not used: the account is known


def _not_meant(field: str, value: object, problem: str, remedy: str) -> InvalidReservation:
    return InvalidReservation(problem, field=field, value=value, place=PLACE, remedy=remedy)


def _credit(ledger: Ledger, line: TopUpLine, top_up: TopUp, session: str) -> Balance:
    """The credit first: a note without money would mislead, money without a note is noted when it is repeated."""
    body = {**top_up.to_json(), "kind": KIND}
    balance = ledger.credit(
        _line_id(top_up.id, line.account), line.account, line.amount, limit=line.limit, now=top_up.at, memo=body
    )
    ledger.note(session, body, now=top_up.at)
    return balance


def _line_id(id: str, account: Account) -> str:
    return f"{id}:{account.unit}"


def _no_amount(field: str, value: object, problem: str) -> InvalidAmount:
    remedy = 'Give an amount above zero: usd="1.00", tokens=, model_calls= or tool_calls='
    return InvalidAmount(problem, field=field, value=value, place=PLACE, remedy=remedy)
