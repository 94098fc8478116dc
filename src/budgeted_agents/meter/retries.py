"""Whether and when a failed call is made again: after the pause its provider asks for, else after one that doubles."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

from budgeted_agents.meter.outcomes import headers_of, retryable

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between attempts, doubling: what the large providers' own clients do."""

LONGEST_ASKED = 120.0
"""Seconds that a provider may ask for; a call that it wants later than that is not made again (as OpenAI's client)."""


def pause_before_retry(error: BaseException, failures: int, now: float) -> float | None:
    """Seconds to wait before an unbilled failure is tried again; None if trying again is of no use.

    Args:
        error: the failure.
        failures: how many there were before.
        now: seconds since the epoch.
    """
    if not retryable(error):
        return None
    asked = next((pause for headers in headers_of(error) if (pause := asked_pause(headers, now))), None)
    if asked is None:
        return min(FIRST_PAUSE * 2.0**failures, LONGEST_PAUSE)
    return asked if asked <= LONGEST_ASKED else None


def asked_pause(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait: ``retry-after-ms``, else ``retry-after`` in seconds or as an HTTP date.

    None if it does not ask, or for nothing that lies ahead.
    """
    milliseconds, given = _number(headers.get("retry-after-ms")), headers.get("retry-after")
    asked = (None if milliseconds is None else milliseconds / 1000, _number(given), _until(given, now))
    return next((seconds for seconds in asked if seconds is not None and seconds > 0), None)


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def _until(date: str | None, now: float) -> float | None:
    parsed = parsedate_tz(date) if date else None
    try:
        return None if parsed is None else mktime_tz(parsed) - now
    except (ValueError, OverflowError):  # a day or a year that no calendar has
        return None
