"""Fields of foreign records, read without trust: what is absent or of the wrong type reads as nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from budgeted_agents.errors import InvalidAmount, InvalidTrace
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.values import fingerprint, recorded_usd
from budgeted_agents.usage.counts import as_count

_NOTHING: Mapping[str, Any] = {}


def text(*values: Any) -> str:
    """The first of the values that says something, as text."""
    for value in values:
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def identity(value: Any, place: str) -> str:
    """The id of a record, without which it cannot be told from others.

    Raises:
        InvalidTrace: it has none.
    """
    if found := text(value):
        return found
    raise InvalidTrace("is no id", field="id", value=value, place=place, remedy="Export the records with their ids")


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object, also one that was written as text; empty if it is none."""
    if isinstance(value, str) and value.startswith("{"):
        value = _from_json(value)
    return value if isinstance(value, dict) else _NOTHING


def mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    """The JSON objects of a list, also of one that was written as text; empty if it is none."""
    if isinstance(value, str) and value.startswith("["):
        value = _from_json(value)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else ()


def numbers(value: Any) -> Mapping[str, Any]:
    """A JSON object whose numbers may have been written as text, as databases do with large integers."""
    return {
        name: int(field) if isinstance(field, str) and field.isdecimal() and len(field) < 20 else field
        for name, field in mapping(value).items()
    }


def names(value: Any) -> str:
    """A list of names (tags), also one that was written as text, as one text with commas."""
    if isinstance(value, str):
        value = _from_json(value) if value.startswith("[") else [value]
    return ",".join(text(item) for item in value if text(item)) if isinstance(value, list | tuple) else ""


def count(value: Any, field: str, place: str) -> int:
    """How many of something a trace says there were; 0 if it does not say.

    Raises:
        InvalidUsage: it is negative, absurd or no whole number.
    """
    return 0 if value is None else as_count(value, field, place)


def cost(value: Any, problems: Problems, line: int = 0) -> Decimal | None:
    """USD that a trace records; None if it records none, or nothing that is money (which is a problem)."""
    if value == "":
        return None
    try:
        return recorded_usd(value, "recorded cost")
    except InvalidAmount as error:
        problems.warn(f"{error}; it counts as not recorded", line)
        return None


def total(*costs: Decimal | None) -> Decimal | None:
    """The sum of the costs that are known; None if none is."""
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal()) if known else None


def run_name(name: str, *facts: Any) -> str:
    """A name for one run of a task that can be run many times: two runs differ, copies of one run do not.

    Args:
        name: the task's name.
        facts: what tells this run from others, such as its times and totals.
    """
    return f"{name}#{fingerprint(facts)[:8]}"


def _from_json(value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
