"""A budget in one line, as command lines have it: ``usd=1.00,tool_calls=20,per=tenant+feature,window=month``."""

from __future__ import annotations

from typing import Any

from budgeted_agents.budget.budget import Budget
from budgeted_agents.errors import InvalidBudget

_TEXTS = frozenset({"usd", "name", "window", "timezone", "context_overflow", "on_exhausted", "mode"})
_SHARES = frozenset({"alert_at", "downgrade_at", "landing_reserve", "max_wait"})
_EXAMPLE = 'Write fields of Budget, e.g. "usd=1.00,tool_calls=20"'


def parse_budget(text: str) -> Budget:
    """The budget that a line says.

    Fields stand apart by commas, several names in one field by ``+``; ``tool_calls.search=5`` and
    ``where.model_class=premium`` are entries of a mapping. An amount alone is ``usd``.

    Raises:
        InvalidBudget: naming the field, the value and the remedy.
    """
    fields: dict[str, Any] = {}
    for part in text.split(","):
        name, separator, value = (word.strip() for word in part.partition("="))
        if not separator and "," not in text:
            name, value = "usd", part.strip()
        elif not separator or not name:
            raise _invalid("is no field with a value", name or "budget", part, _EXAMPLE)
        _take(fields, name.replace("-", "_"), value)
    return Budget(**fields)


def _take(fields: dict[str, Any], name: str, value: str) -> None:
    field, _, key = name.partition(".")
    if key:
        entries = fields.setdefault(field, {})
        if not isinstance(entries, dict) or key in entries:
            raise _invalid("is given twice", name, value, "Give each field once")
        entries[key] = _value(field, value)
    elif field in fields:
        raise _invalid("is given twice", name, value, "Give each field once")
    else:
        fields[field] = _value(field, value)


def _value(field: str, text: str) -> Any:
    """What the field is likely to want; where the text does not suit, ``Budget`` says what is wrong with it."""
    if field in _TEXTS:
        return text
    if field in ("per", "where"):
        return tuple(filter(None, text.split("+")))
    number: type[int] | type[float] = float if field in _SHARES else int
    try:
        return number(text)
    except ValueError:
        return text


def _invalid(problem: str, field: str, value: str, remedy: str) -> InvalidBudget:
    return InvalidBudget(problem, field=field, value=value, place="--budget", remedy=remedy)
