"""Who a call is for: the dimensions a budget may be kept per, and how an application says them.

Inside a graph or chain they come from ``config["metadata"]`` and ``thread_id``; code that has no config says them with
``with attribute(tenant="acme"): ...``. Attribution holds short names, never content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from uuid import UUID

from budgeted_agents.errors import InvalidAttribution

DIMENSIONS = frozenset(
    {
        "session",
        "run",
        "user",
        "tenant",
        "cost_center",
        "feature",
        "workflow",
        "node",
        "tool",
        "model",
        "model_class",
        "environment",
    }
)
"""Dimensions with a meaning of their own. Any other identifier is a free tag and may be budgeted just as well."""

UNATTRIBUTED = "-"
"""Value of a dimension nobody gave: such calls share one account, so that no spend escapes a budget."""

MAX_LENGTH = 200
"""Longest name or value, in characters."""

Attribution = Mapping[str, str]

Name = str | int | UUID
"""What may be given as a value: a short text, or a number or id, which counts as its text."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_ambient: ContextVar[Attribution] = ContextVar("budgeted_agents_attribution", default=MappingProxyType({}))


@contextmanager
def attribute(**dimensions: Name) -> Iterator[None]:
    """Attribute every call made inside the block (also in tasks started there) to these dimensions.

    Nested blocks add to the outer ones and win over them.

    Raises:
        InvalidAttribution: a value is neither a short non-empty string, nor a whole number, nor a UUID.
    """
    token = _ambient.set({**_ambient.get(), **checked(dimensions, place="attribute(...)")})
    try:
        yield
    finally:
        _ambient.reset(token)


ambient: Callable[[], Attribution] = _ambient.get
"""What the enclosing ``attribute`` blocks say."""


def from_metadata(metadata: Mapping[str, object], wanted: frozenset[str] = DIMENSIONS) -> dict[str, str]:
    """The wanted dimensions found in a config's metadata; values that are no names are passed over."""
    found = {name: _text(value) for name, value in metadata.items() if name in wanted}
    return {name: text for name, text in found.items() if text}


def passed_over(metadata: Mapping[str, object], wanted: frozenset[str]) -> list[str]:
    """The wanted dimensions that a config's metadata names with a value that is no name. None and "" name nobody."""
    given = {name: value for name, value in metadata.items() if name in wanted and not _is_nobody(value)}
    return [name for name, value in given.items() if not _text(value)]


def checked(dimensions: Mapping[str, object], *, place: str) -> dict[str, str]:
    """The same mapping, once every name is known to be a short non-empty string, and every value to stand for one.

    Raises:
        InvalidAttribution: naming the first that is not.
    """
    if not isinstance(dimensions, Mapping):
        remedy = 'Give names and values, e.g. {"tenant": "acme"}'
        raise InvalidAttribution(
            "is not a mapping", field="attribution", value=dimensions, place=place.rstrip("="), remedy=remedy
        )
    for name, value in dimensions.items():
        if not _is_short_name(name) or not _text(value):
            raise InvalidAttribution(
                "is not a short name",
                field=str(name),
                value=value,
                place=place,
                remedy=f"Give a non-empty string of at most {MAX_LENGTH} characters, a whole number or a UUID",
            )
    return {name: str(value) for name, value in dimensions.items()}


def _is_nobody(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _text(value: object) -> str:
    """The short name that a value stands for; empty if it stands for none."""
    is_name = isinstance(value, str | int | UUID) and not isinstance(value, bool)
    return text if is_name and _is_short_name(text := str(value)) else ""


def _is_short_name(value: object) -> bool:
    """Text that a ledger can keep: a lone surrogate, half a character, has no UTF-8 form."""
    return isinstance(value, str) and 0 < len(value) <= MAX_LENGTH and not _SURROGATE.search(value)
