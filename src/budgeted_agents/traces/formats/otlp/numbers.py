"""Numbers of any notation, checked before anything is added up."""

from __future__ import annotations

from decimal import Decimal

from budgeted_agents.money import to_decimal
from budgeted_agents.traces.formats.otlp.shapes import Plain, Value
from budgeted_agents.usage import as_count

END_OF_TIME = 4_000_000_000 * 1_000_000_000
"""Nanoseconds since the epoch in the year 2096: no trace is from later."""

_MOST_DIGITS = 30


def count_of(value: Value, name: str) -> int:
    """A token count.

    Raises:
        InvalidUsage: it is negative, absurd, or no whole number.
    """
    plain = value.plain()
    is_whole = isinstance(plain, str) and plain.removeprefix("-").isdecimal()
    return as_count(int(str(plain)[:_MOST_DIGITS]) if is_whole else plain, name, "span")


def cost_of(plain: Plain) -> Decimal:
    """A recorded cost in USD.

    Raises:
        InvalidAmount: it is negative, absurd, or no number.
    """
    return to_decimal(plain, field="cost", place="span")  # type: ignore[arg-type]
