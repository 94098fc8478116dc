"""Reading counts from foreign data: every one is an integer from 0 to `MAX_TOKENS`, or the data is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgeted_agents.errors import InvalidUsage

MAX_TOKENS = 1_000_000_000
"""More tokens than any one call can have; a larger count is a mistake of whoever reported it."""

_NOTHING: Mapping[str, Any] = {}


class Counts:
    """One level of a usage mapping, read with validation.

    Args:
        data: the mapping; ``None`` reads as empty.
        place: where it stands, for messages.

    Raises:
        InvalidUsage: if ``data`` is not a mapping.
    """

    __slots__ = ("data", "place")

    def __init__(self, data: Any, place: str) -> None:
        if data is not None and not isinstance(data, Mapping):
            raise _invalid("is not a mapping of token counts", "usage", data, place)
        self.data: Mapping[str, Any] = _NOTHING if data is None else data
        self.place = place

    def get(self, *names: str) -> int:
        """The count under the first of the names that is present and not None; 0 if none is."""
        for name in names:
            value = self.data.get(name)
            if value is not None:
                return as_count(value, name, self.place)
        return 0

    def inner(self, *names: str) -> Counts:
        """The mapping under the first of the names that is present and not None; empty if none is."""
        for name in names:
            value = self.data.get(name)
            if value is not None:
                return Counts(value, f"{self.place}: {name}")
        return _EMPTY

    def entries(self, *names: str) -> list[Counts]:
        """The list of mappings under the first of the names that is present and not None; empty if none is."""
        for name in names:
            value = self.data.get(name)
            if value is not None:
                if not isinstance(value, list | tuple):
                    raise _invalid("is not a list of token counts", name, value, self.place)
                return [Counts(entry, f"{self.place}: {name}[{index}]") for index, entry in enumerate(value)]
        return []


_EMPTY = Counts(None, "usage")


def as_count(value: Any, field: str, place: str) -> int:
    """A token count: an integer (or a float that is one) from 0 to `MAX_TOKENS`.

    Raises:
        InvalidUsage: otherwise.
    """
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid("is not a whole number of tokens", field, value, place)
    if value < 0:
        raise _invalid("is negative", field, value, place)
    if value > MAX_TOKENS:
        raise _invalid("is more than one call can have", field, value, place)
    return value


def _invalid(problem: str, field: str, value: object, place: str) -> InvalidUsage:
    return InvalidUsage(
        problem,
        field=field,
        value=value,
        place=place,
        remedy=f"Give whole numbers from 0 to {MAX_TOKENS:,}, as the provider reported them",
    )
