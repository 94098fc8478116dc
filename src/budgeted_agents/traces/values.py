"""Values as traces write them: JSON that may be damaged, times in many notations, amounts, arguments of tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from budgeted_agents.money import to_decimal
from budgeted_agents.traces.files.lines import split_lines
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source

_T = TypeVar("_T")

_SORTED = msgspec.json.Encoder(order="deterministic")
_LONGEST_NUMBER, _END_OF_TIME = 30, 1e20
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""A number of seconds this large would lie 3,000 years ahead or more: it counts nano-, micro- or milliseconds."""


def decoded(decoder: msgspec.json.Decoder[_T], data: bytes, problems: Problems, line: int = 0) -> _T | None:
    """A record of a trace; None, and the record is passed over with a problem, if it is not what it should be."""
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        problems.skip(f"not a record of this format ({error}); it is skipped", line)
        return None


def decoded_lines(decoder: msgspec.json.Decoder[_T], source: Source) -> Iterator[tuple[int, _T]]:
    """The records of a file of JSON lines, with their lines. One that is not what it should be is passed over.

    Many lines are decoded at once, which takes a third of the time; only where that fails, they are taken one by one.
    """
    for first, last, lines in source.chunks():
        records = decoded_at_once(decoder, lines, last - first + 1)
        if records is not None:
            yield from enumerate(records, first)
            continue
        for number, line in split_lines([lines], source.problems, first - 1):
            record = decoded(decoder, line, source.problems, number)
            if record is not None:
                yield number, record


def decoded_at_once(decoder: msgspec.json.Decoder[_T], lines: bytes, count: int) -> list[_T] | None:
    """The records of so many lines, one on each; None if that is not what they are."""
    try:
        records = decoder.decode_lines(lines)
    except (ValueError, RecursionError):
        return None
    return records if len(records) == count else None


def seconds(value: object) -> float:
    """Seconds since the epoch, from ISO 8601 (UTC if it says no zone), or a number of seconds or parts of them; 0 if
    unknown."""
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value.removesuffix(" UTC"))
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            value = float(value) if value.replace(".", "", 1).isdecimal() and len(value) < _LONGEST_NUMBER else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END_OF_TIME:
        return 0.0
    return value / next((unit for least, unit in _UNITS if value >= least), 1)


def recorded_usd(value: Any, place: str) -> Decimal | None:
    """A recorded cost in USD; None if nothing was recorded.

    Raises:
        InvalidAmount: it is negative, absurd or not a number.
    """
    return None if value is None else to_decimal(value, field="cost", place=place)


def fingerprint(arguments: object) -> str:
    """A short digest of a tool call's arguments, the same for the same arguments in another order of keys.

    Arguments that are JSON text count as what they say. Empty if they nest too deep.
    """
    if isinstance(arguments, str | bytes | msgspec.Raw):
        text = arguments.encode("utf-8", "replace") if isinstance(arguments, str) else bytes(arguments)
        try:
            arguments = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return digest(text)
    try:
        return digest(_SORTED.encode(arguments))
    except RecursionError:
        return ""


def texts(**values: object) -> Mapping[str, str]:
    """An attribution of what is known: values that are empty, or no short names, are left out."""
    return {name: str(value) for name, value in values.items() if isinstance(value, str | int) and value != ""}


def digest(text: bytes) -> str:
    """A short digest, the same in every process."""
    return blake2b(text, digest_size=8).hexdigest()
