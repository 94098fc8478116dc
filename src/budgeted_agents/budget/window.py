"""Calendar windows of a budget: which one a moment falls in, by the calendar of any time zone.

A window's id stands in the account's key, so nothing ever has to be reset, and a reservation settles in the window it
was made in. Windows are half-open ``[start, end)`` and follow one another without gap or overlap, also across changes
to and from daylight saving time: a window starts at the first instant whose local date (or hour) belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo


class WindowKind(StrEnum):
    """How long a budget lasts before it starts afresh."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Window:
    """One window: its id (part of an account's key), and its bounds in seconds since the epoch."""

    id: str
    start: float
    end: float


_LONGEST_SET_BACK = 6 * 3600
"""Seconds: no clock has been set back by more since zones have rules."""


def zone_named(name: str) -> tzinfo:
    """The time zone of an IANA name. UTC is always there, also on systems without time-zone data.

    Raises:
        KeyError, ValueError, OSError: there is no such zone, or no data for it.
    """
    return UTC if name == "UTC" else ZoneInfo(name)


def window_at(kind: WindowKind, zone: str, now: float) -> Window:
    """The window of this kind that ``now`` (seconds since the epoch) falls in, by the calendar of ``zone``."""
    if kind in (WindowKind.MINUTE, WindowKind.HOUR):
        return _clock_window(kind, now)
    local = datetime.fromtimestamp(now, UTC).astimezone(zone_named(zone))
    window = _calendar_window(kind, zone, *_first_day(kind, local))
    if now < window.end:
        return window
    # The clock went back over midnight and shows the old date once more; the new window has begun all the same.
    return window_at(kind, zone, now + _LONGEST_SET_BACK)


def _clock_window(kind: WindowKind, now: float) -> Window:
    """Minutes and hours are counted on UTC: no calendar disagrees on them, and no clock change repeats one."""
    length = 60 if kind is WindowKind.MINUTE else 3600
    start = int(now // length) * length
    stamp = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%MZ")
    return Window(f"{kind[0]}:{stamp}", float(start), float(start + length))


def _first_day(kind: WindowKind, local: datetime) -> tuple[int, int, int]:
    match kind:
        case WindowKind.DAY:
            return local.year, local.month, local.day
        case WindowKind.WEEK:
            monday = local.date() - timedelta(days=local.weekday())
            return monday.year, monday.month, monday.day
        case WindowKind.MONTH:
            return local.year, local.month, 1
        case _:
            return local.year, 1, 1


@lru_cache(maxsize=4096)
def _calendar_window(kind: WindowKind, zone: str, year: int, month: int, day: int) -> Window:
    tz = zone_named(zone)
    start = datetime(year, month, day)  # noqa: DTZ001 -- a wall-clock date; its zone is applied by _instant
    end = _next_start(kind, start)
    name = "" if zone == "UTC" else f"@{zone}"
    stamp = start.strftime({"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "year": "%Y"}[kind])
    return Window(f"{kind[0]}:{stamp}{name}", _instant(start, tz), _instant(end, tz))


def _next_start(kind: WindowKind, start: datetime) -> datetime:
    match kind:
        case WindowKind.DAY:
            return start + timedelta(days=1)
        case WindowKind.WEEK:
            return start + timedelta(days=7)
        case WindowKind.MONTH:
            return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        case _:
            return start.replace(year=start.year + 1)


def _instant(midnight: datetime, tz: tzinfo) -> float:
    """The first instant of a local date, in seconds since the epoch.

    Where local midnight happens twice the first one counts; where it does not exist the date begins when the clock
    jumps over it. Both are the smallest instant whose local date is not before the one asked for.
    """
    guess = midnight.replace(tzinfo=tz, fold=0).timestamp()
    before, after = guess - _LONGEST_SET_BACK, guess + _LONGEST_SET_BACK
    if datetime.fromtimestamp(guess - 1, UTC).astimezone(tz).date() < midnight.date() and (
        datetime.fromtimestamp(guess, UTC).astimezone(tz).date() >= midnight.date()
    ):
        return guess
    low, high = int(before), int(after)
    while low + 1 < high:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(tz).date() >= midnight.date():
            high = middle
        else:
            low = middle
    return float(high)
