"""Numbers as OTLP writes them, 64-bit integers as text, checked before anything is added up."""

from __future__ import annotations

from decimal import Decimal

from budgeted_agents.money import to_decimal
from budgeted_agents.traces.formats.otlp.shapes import Plain, Value
from budgeted_agents.usage import as_count

_MOST_DIGITS = 30
_END_OF_TIME = 4_000_000_000 * 1_000_000_000
"""Nanoseconds since the epoch in the year 2096: no trace is from later."""


def count_of(value: Value, name: str) -> int:
    """A token count.

    Raises:
        InvalidUsage: it is negative, absurd, or no whole number.
    """
    raw: Plain = value.int_value
    if type(raw) is not str:
        return (
            as_count(value.plain() if raw is None else raw, name, "span")
            if value.string_value is None
            else _text(value.string_value, name)
        )
    return _text(raw, name)


def seconds_of(nanoseconds: int | str) -> float | None:
    """A time in seconds since the epoch, 0 if the span has none; None if it is nonsense."""
    if type(nanoseconds) is str:
        try:
            nanoseconds = int(nanoseconds[:_MOST_DIGITS] or 0)
        except ValueError:
            return None
    return nanoseconds / 1e9 if 0 <= nanoseconds < _END_OF_TIME else None  # type: ignore[operator]


def cost_of(value: Plain) -> Decimal:
    """A recorded cost in USD.

    Raises:
        InvalidAmount: it is negative, absurd, or no number.
    """
    return to_decimal(value, field="cost", place="span")  # type: ignore[arg-type]


def _text(text: str, name: str) -> int:
    try:
        number: object = int(text[:_MOST_DIGITS])
    except ValueError:
        number = text
    return as_count(number, name, "span")
