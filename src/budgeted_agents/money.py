"""Money as integer nano-USD: parsing, rounding and display.

1 USD = 1_000_000_000 nano-USD. Amounts fit in a signed 64-bit integer (about $9.2 billion). Binary floats never enter
an amount: a float argument goes through its shortest decimal form, so that ``0.1`` means ten cents exactly.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

from budgeted_agents.errors import InvalidAmount

NANO = 1_000_000_000
"""Nano-USD in one USD."""

MAX_AMOUNT = 2**63 - 1
"""The largest amount a ledger can keep, in the account's unit (int64)."""

UsdLike = str | int | Decimal | float
"""What may stand for an amount of USD in the public API."""


def parse_usd(value: UsdLike, *, field: str = "usd", place: str = "amount") -> int:
    """A limit in USD as integer nano-USD. What is less than one is dropped: no cap is higher than it was written.

    Raises:
        InvalidAmount: if the value is not a finite number >= 0, or too large for a ledger.
    """
    nanos = (to_decimal(value, field=field, place=place) * NANO).to_integral_value(ROUND_FLOOR)
    if nanos > MAX_AMOUNT:
        raise _invalid("is more than a ledger can keep ($9.2 billion)", field, value, place)
    return int(nanos)


def to_decimal(value: UsdLike, *, field: str, place: str) -> Decimal:
    """A finite, non-negative Decimal from ``str | int | Decimal | float``.

    Raises:
        InvalidAmount: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal | float):
        raise _invalid("is not an amount of money", field, value, place)
    try:
        amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise _invalid("is not a number", field, value, place) from None
    if not amount.is_finite():
        raise _invalid("is not a finite number", field, value, place)
    if amount < 0:
        raise _invalid("is negative", field, value, place)
    if amount.adjusted() > 12:
        raise _invalid("is more than a ledger can keep ($9.2 billion)", field, value, place)
    return amount


def to_usd(nanos: int) -> Decimal:
    """Nano-USD as an exact Decimal amount of USD."""
    return Decimal(nanos) / NANO


def format_usd(nanos: int) -> str:
    """Nano-USD for people: ``$1.00``, ``$0.0125``, ``$0.000042``: two decimals, or up to six for small amounts."""
    amount = to_usd(nanos)
    places = 2 if abs(amount) >= 1 or nanos == 0 else 4 if abs(amount) >= Decimal("0.01") else 6
    return f"{'-' if nanos < 0 else ''}${abs(amount).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)}"


def _invalid(problem: str, field: str, value: object, place: str) -> InvalidAmount:
    return InvalidAmount(
        problem,
        field=field,
        value=value,
        place=place,
        remedy='Give a non-negative amount of USD, e.g. "1.50" or Decimal("0.02")',
    )
