"""Calls, events and top-ups as OpenTelemetry attributes, and back. Pure; docs/recording.md has the table.

What the GenAI conventions name goes by their names (``gen_ai.*``, ``error.type``), the rest is ``budget.*``. An
attribute whose value would be the field's default is left out. ``budget.decision`` and
``gen_ai.usage.cache_creation.input_tokens`` are sums for readers; nothing is read back from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, get_args

from budgeted_agents.ledgers import Account, TopUp
from budgeted_agents.money import NANO
from budgeted_agents.traces.records import content
from budgeted_agents.traces.records.event import BudgetEvent, EventKind
from budgeted_agents.traces.records.record import CallRecord
from budgeted_agents.traces.records.recorder import ToppedUp

Attributes = Mapping[str, Any]
"""Values are strings, integers, booleans, or tuples of strings or of integers."""

RESERVATION, EVENT, TOP_UP = "budget.reservation.id", "budget.event", "budget.top_up.id"
"""Which of the three a span is: the one of these attributes it has."""

_OPERATION = "gen_ai.operation.name"
_TOOL = "execute_tool"
_REASON = "budget.reason"
_SESSION = "gen_ai.conversation.id"

_TEXTS = {
    "session": _SESSION,
    "model_used": "gen_ai.request.model",
    "model_billed": "gen_ai.response.model",
    "model_asked": "budget.model_asked",
    "provider": "gen_ai.provider.name",
    "tool": "gen_ai.tool.name",
    "error": "error.type",
    "run": "budget.run",
    "outcome": "budget.outcome",
    "service_tier": "budget.service_tier",
    "region": "budget.region",
    "price_source": "budget.price.source",
    "reason": _REASON,
}
_COUNTS = {"granted": "budget.granted_tokens"}
_OPTIONAL_COUNTS = {"step": "budget.step", "output_limit": "gen_ai.request.max_tokens"}
_MONEY = {"cost": "budget.cost_usd", "reserved": "budget.reserved_usd"}

UNIQUE = frozenset({RESERVATION, TOP_UP, *_MONEY.values()}) | content.NAMES
"""Text attributes that differ from call to call, or must not be remembered."""

_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read": "gen_ai.usage.cache_read.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
    "audio_input": "gen_ai.usage.audio.input_tokens",
    "image_input": "gen_ai.usage.image.input_tokens",
    "audio_output": "gen_ai.usage.audio.output_tokens",
    "image_output": "gen_ai.usage.image.output_tokens",
}
"""Token classes that the conventions name; the others are ``budget.usage.*``."""

_CLASS_OF = {name: token_class for token_class, name in _USAGE.items()}
_USAGE_PREFIX, _PRICE, _WHO, _ACTUAL = "budget.usage.", "budget.unit_price.", "budget.attribution.", "budget.actual."
_ACCOUNTS, _LIMITS, _HELD = "budget.accounts", "budget.limits", "budget.held"
_BOOKED = "budget.booked"
_EVENT_FIELDS = {
    "message": "budget.message",
    "session": _SESSION,
    "run": _TEXTS["run"],
    "budget": "budget.name",
    "account": "budget.account",
    "unit": "budget.unit",
    "spent": "budget.spent",
    "limit": "budget.limit",
}
_KINDS = frozenset(get_args(EventKind))


class NoBookkeeping(ValueError):
    """A call of ours was not written by a journal, so that no ledger can be rebuilt from it."""


def operation_of(record: CallRecord) -> str:
    """``gen_ai.operation.name`` of a call."""
    return _TOOL if record.kind == "tool" else record.operation or "chat"


def of_call(record: CallRecord) -> dict[str, Any]:
    """A call's attributes, all of them."""
    return described(record) | dict(_bookkeeping(record))


def described(record: CallRecord) -> dict[str, Any]:
    """A call's attributes without those that only a ledger has a use for."""
    found: dict[str, Any] = {RESERVATION: record.id, _OPERATION: operation_of(record)}
    for field, name in _TEXTS.items():
        if text := getattr(record, field):
            found[name] = text
    for token_class, tokens in record.usage.items():
        found[_USAGE.get(token_class) or _USAGE_PREFIX + token_class] = tokens
    if written := record.usage.get("cache_write_5m", 0) + record.usage.get("cache_write_1h", 0):
        found["gen_ai.usage.cache_creation.input_tokens"] = written
    found[_MONEY["cost"]] = usd_text(record.cost)
    found[_MONEY["reserved"]] = usd_text(record.reserved)
    found["budget.decision"] = _decision(record)
    for name, price in record.unit_prices.items():
        found[_PRICE + name] = price
    for name, value in record.attribution.items():
        found[_WHO + name] = value
    for field, name in _OPTIONAL_COUNTS.items():
        if (count := getattr(record, field)) is not None:
            found[name] = count
    if record.flags:
        found["budget.flags"] = record.flags
    return found


def _bookkeeping(record: CallRecord) -> Iterator[tuple[str, Any]]:
    """What a ledger is rebuilt from. There is always some of it, so that a call without any is not taken for one that
    cost nothing."""
    if record.granted:
        yield _COUNTS["granted"], record.granted
    if record.holds:
        yield from zip((_ACCOUNTS, _LIMITS, _HELD), zip(*record.holds, strict=True), strict=True)
    for unit, amount in record.actual.items():
        yield _ACTUAL + unit, amount
    if not (record.booked and (record.granted or record.holds or record.actual)):
        yield _BOOKED, record.booked


def call_of(attributes: Attributes, started_at: float, ended_at: float, parent: str = "") -> CallRecord:
    """The call that has these attributes.

    Raises:
        NoBookkeeping: they are those of a call, and lack what a ledger is rebuilt from.
        KeyError, TypeError, ValueError, ArithmeticError: they are not those of a call.
    """
    actual = _under(attributes, _ACTUAL)
    if not (actual or attributes.keys() & {_ACCOUNTS, _COUNTS["granted"], _BOOKED}):
        raise NoBookkeeping("has no bookkeeping")
    operation = attributes[_OPERATION]
    values: dict[str, Any] = {field: attributes.get(name, "") for field, name in _TEXTS.items()}
    values |= {field: attributes.get(name, 0) for field, name in _COUNTS.items()}
    values |= {field: attributes.get(name) for field, name in _OPTIONAL_COUNTS.items()}
    values |= {field: _nanos(attributes[name]) for field, name in _MONEY.items()}
    if values["outcome"] not in ("settled", "released", "presumed"):
        raise ValueError(f"has the outcome {values['outcome']!r}")
    named = {_CLASS_OF[name]: tokens for name, tokens in attributes.items() if name in _CLASS_OF}
    return CallRecord(
        id=attributes[RESERVATION],
        kind="tool" if operation == _TOOL else "model",
        operation="" if operation in (_TOOL, "chat") else operation,
        started_at=started_at,
        ended_at=ended_at,
        parent=parent,
        usage=named | _under(attributes, _USAGE_PREFIX),
        unit_prices=_under(attributes, _PRICE),
        attribution=_under(attributes, _WHO),
        actual=actual,
        holds=tuple(zip(*(attributes.get(name, ()) for name in (_ACCOUNTS, _LIMITS, _HELD)), strict=True)),
        flags=tuple(attributes.get("budget.flags", ())),
        booked=attributes.get(_BOOKED, True),
        **values,
    )


def of_event(event: BudgetEvent) -> dict[str, Any]:
    """An event's attributes."""
    found: dict[str, Any] = {EVENT: event.kind}
    return found | {name: value for field, name in _EVENT_FIELDS.items() if (value := getattr(event, field))}


def event_of(attributes: Attributes, at: float) -> BudgetEvent:
    """The event that has these attributes.

    Raises:
        KeyError, TypeError, ValueError: they are not those of an event.
    """
    if attributes[EVENT] not in _KINDS:
        raise ValueError(f"has the event {attributes[EVENT]!r}")
    known = {field: attributes[name] for field, name in _EVENT_FIELDS.items() if name in attributes}
    return BudgetEvent(kind=attributes[EVENT], at=at, **({"message": ""} | known))


def of_top_up(topped_up: ToppedUp) -> dict[str, Any]:
    """A top-up's attributes."""
    top_up, limit, session = topped_up
    found = {
        TOP_UP: top_up.id,
        "budget.account": top_up.account.key,
        "budget.limit": limit,
        "budget.top_up.amount": top_up.amount,
        "budget.top_up.by": top_up.by,
        _REASON: top_up.reason,
    }
    return found | ({_SESSION: session} if session else {})


def top_up_of(attributes: Attributes, at: float) -> ToppedUp:
    """The top-up that has these attributes.

    Raises:
        KeyError, TypeError, ValueError: they are not those of a top-up.
    """
    account = Account.from_key(attributes["budget.account"])
    amount, by, reason = (attributes[name] for name in ("budget.top_up.amount", "budget.top_up.by", _REASON))
    top_up = TopUp(attributes[TOP_UP], account, amount, by, reason, at)
    return ToppedUp(top_up, attributes["budget.limit"], attributes.get(_SESSION, ""))


def usd_text(nanos: int) -> str:
    """Nano-USD as an exact decimal text of USD."""
    whole, rest = divmod(nanos, NANO)
    return f"{whole}.{rest:09}".rstrip("0") if rest else str(whole)


def _nanos(usd: str) -> int:
    return int(Decimal(usd).scaleb(9))


def _decision(record: CallRecord) -> str:
    if record.model_used != record.model_asked:
        return "downgraded"
    return "clamped" if record.output_limit is not None else "allowed"


def _under(attributes: Attributes, prefix: str) -> dict[str, Any]:
    return {name[len(prefix) :]: value for name, value in attributes.items() if name.startswith(prefix)}
