"""Windows follow one another without gap or overlap, by the calendar of every time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budgeted_agents.budget import Window, WindowKind, window_at

ZONES = sorted(available_timezones() - {"localtime"})
CALENDAR = (WindowKind.DAY, WindowKind.WEEK, WindowKind.MONTH, WindowKind.YEAR)
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2027, 12, 31, tzinfo=UTC)


def local(zone: str, instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC).astimezone(ZoneInfo(zone))


@cache
def transitions(zone: str) -> tuple[float, ...]:
    """Noons (UTC) of 2024 to 2027 that another offset holds at than a day before."""
    noons = [FIRST.timestamp() + 43_200 + 86_400 * day for day in range((LAST - FIRST).days + 1)]
    offsets = [local(zone, noon).utcoffset() for noon in noons]
    return tuple(noon for noon, was, now in zip(noons[1:], offsets, offsets[1:], strict=False) if was != now)


def check(kind: WindowKind, zone: str, now: float) -> Window:
    """A window holds its moment, begins and ends at a local date, and its neighbors touch it."""
    window = window_at(kind, zone, now)
    assert window.start <= now < window.end
    for instant in (window.start, window.end - 1):
        assert window_at(kind, zone, instant) == window
    following, preceding = window_at(kind, zone, window.end), window_at(kind, zone, window.start - 1)
    assert (following.start, preceding.end) == (window.end, window.start)
    assert len({window.id, following.id, preceding.id}) == 3
    assert begins_a_date(zone, window.start)
    return window


def begins_a_date(zone: str, instant: float) -> bool:
    return local(zone, instant).date() > local(zone, instant - 1).date()


def days(zone: str, around: float) -> Iterator[Window]:
    now = around - 3 * 86_400
    while now < around + 3 * 86_400:
        window = check(WindowKind.DAY, zone, now)
        yield window
        now = window.end


def test_days_around_every_clock_change_of_every_zone_from_2024_to_2027() -> None:
    hours: set[float] = set()
    changes = 0
    for zone in ZONES:
        for around in transitions(zone):
            changes += 1
            hours |= {(window.end - window.start) / 3600 for window in days(zone, around)}
    assert changes > 1_000
    assert {23.0, 24.0, 25.0} <= hours
    assert all(22 <= length <= 26 for length in hours)


def test_every_month_of_every_zone_from_2024_to_2027() -> None:
    for zone in ZONES:
        windows = [window_at(WindowKind.MONTH, zone, datetime(2024, 1, 15, tzinfo=UTC).timestamp())]
        while len(windows) < 48:
            windows.append(window_at(WindowKind.MONTH, zone, windows[-1].end))
        assert all(one.end == next_.start for one, next_ in pairwise(windows))
        assert all(begins_a_date(zone, window.start) and local(zone, window.start).day == 1 for window in windows)
        suffix = "" if zone == "UTC" else f"@{zone}"
        assert [w.id for w in windows] == [f"m:{y}-{m:02}{suffix}" for y in range(2024, 2028) for m in range(1, 13)]


@given(st.sampled_from(ZONES), st.sampled_from(CALENDAR), st.floats(FIRST.timestamp(), LAST.timestamp()))
def test_any_moment_of_any_zone(zone: str, kind: WindowKind, now: float) -> None:
    check(kind, zone, now)


@given(st.sampled_from(ZONES), st.integers(0, 4 * 365))
def test_a_day_is_the_local_date_that_its_id_names(zone: str, days_on: int) -> None:
    day = date(2024, 1, 1) + timedelta(days=days_on)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).timestamp()
    window = window_at(WindowKind.DAY, zone, noon)
    assert window.id == f"d:{day.isoformat()}" + ("" if zone == "UTC" else f"@{zone}")
    assert local(zone, window.start).date() == day == local(zone, window.end - 1).date()


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        # local midnight does not exist: the day begins when the clock jumps over it
        ("Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00Z", 23),
        ("America/Santiago", "2024-09-08", "2024-09-08T04:00:00Z", 23),
        ("Asia/Beirut", "2024-03-31", "2024-03-30T22:00:00Z", 23),
        ("America/Havana", "2024-03-10", "2024-03-10T05:00:00Z", 23),
        ("America/Asuncion", "2024-10-06", "2024-10-06T04:00:00Z", 23),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23),
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30:00Z", 23.5),
        # local midnight comes twice, or the hour before it does: the day begins once
        ("America/Havana", "2024-11-03", "2024-11-03T04:00:00Z", 25),
        ("Atlantic/Azores", "2024-10-27", "2024-10-27T00:00:00Z", 25),
        ("Africa/Cairo", "2024-10-31", "2024-10-30T21:00:00Z", 25),
        ("America/Sao_Paulo", "2019-02-16", "2019-02-16T02:00:00Z", 25),
        ("America/Santiago", "2024-04-06", "2024-04-06T03:00:00Z", 25),
        # half hours
        ("Australia/Lord_Howe", "2024-04-07", "2024-04-06T13:00:00Z", 24.5),
        ("Asia/Kathmandu", "2025-01-01", "2024-12-31T18:15:00Z", 24),
    ],
)
def test_days_that_a_clock_change_makes_odd(zone: str, day: str, start: str, hours: float) -> None:
    begins = datetime.fromisoformat(start).timestamp()
    window = check(WindowKind.DAY, zone, begins)
    assert window == Window(f"d:{day}@{zone}", begins, begins + hours * 3600)


def test_a_date_that_a_zone_left_out_has_no_window() -> None:
    """Samoa went from 29 to 31 December 2011."""
    before = window_at(WindowKind.DAY, "Pacific/Apia", datetime(2011, 12, 29, 20, tzinfo=UTC).timestamp())
    after = window_at(WindowKind.DAY, "Pacific/Apia", before.end)
    assert (before.id, after.id) == ("d:2011-12-29@Pacific/Apia", "d:2011-12-31@Pacific/Apia")
    assert after.end - after.start == 86_400


def test_an_hour_set_back_over_midnight_stays_in_the_new_day() -> None:
    """St. John's set its clocks back at one minute past midnight until 2011, to 23:01 of the day before."""
    change = datetime(2010, 11, 7, 2, 31, tzinfo=UTC).timestamp()
    assert local("America/St_Johns", change).date() == date(2010, 11, 6)
    assert local("America/St_Johns", change - 1).date() == date(2010, 11, 7)
    for kind, prefix in ((WindowKind.DAY, "d:2010-11-07"), (WindowKind.MONTH, "m:2010-11")):
        before, after = (window_at(kind, "America/St_Johns", change + offset) for offset in (-1, 0))
        assert before == after
        assert before.id == f"{prefix}@America/St_Johns"
        assert before.start <= change < before.end


@pytest.mark.parametrize(
    ("kind", "moment", "id", "seconds"),
    [
        ("minute", "2026-11-22T10:20:59.999Z", "m:2026-11-22T10:20Z", 60),
        ("hour", "2026-11-22T10:20:30Z", "h:2026-11-22T10:00Z", 3_600),
        ("day", "2026-11-22T10:20:30Z", "d:2026-11-22", 86_400),
        ("week", "2026-11-22T10:20:30Z", "w:2026-W47", 7 * 86_400),
        ("week", "2027-01-01T00:00:00Z", "w:2026-W53", 7 * 86_400),
        ("month", "2026-02-28T10:20:30Z", "m:2026-02", 28 * 86_400),
        ("month", "2026-12-31T23:59:59Z", "m:2026-12", 31 * 86_400),
        ("year", "2024-11-22T10:20:30Z", "y:2024", 366 * 86_400),
    ],
)
def test_ids_and_lengths(kind: str, moment: str, id: str, seconds: int) -> None:
    now = datetime.fromisoformat(moment).timestamp()
    window = window_at(WindowKind(kind), "UTC", now)
    assert (window.id, window.end - window.start) == (id, seconds)
    assert window.start <= now < window.end


@given(st.sampled_from((WindowKind.MINUTE, WindowKind.HOUR)), st.floats(0, 4e9))
@example(WindowKind.HOUR, datetime(2024, 10, 27, 1, tzinfo=UTC).timestamp())
def test_minutes_and_hours_are_the_same_in_every_zone(kind: WindowKind, now: float) -> None:
    window = window_at(kind, "Europe/Paris", now)
    assert window == window_at(kind, "Asia/Kathmandu", now)
    assert window.start <= now < window.end
    assert window_at(kind, "UTC", window.end).start == window.end


def test_no_two_windows_share_an_id() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    ids = {window_at(kind, zone, now).id for kind in CALENDAR for zone in ZONES}
    assert len(ids) == len(CALENDAR) * len(ZONES)
    assert len({window_at(kind, "UTC", now).id for kind in WindowKind}) == len(WindowKind)
