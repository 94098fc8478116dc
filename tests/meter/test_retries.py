"""When a failed call is made again: what its provider asks for comes first."""

from __future__ import annotations

from email.utils import formatdate

import httpx
import pytest

from budgeted_agents.meter.retries import LONGEST_ASKED, asked_pause, pause_before_retry

NOW = 1_800_000_000.0


class StatusError(Exception):
    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.response = httpx.Response(status, headers=headers)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2),
        ({"retry-after": formatdate(NOW + 7, usegmt=True)}, 7),
        ({"retry-after": formatdate(NOW - 7, usegmt=True)}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Mon, 99 Foo 99999999999 99:99:99 GMT"}, None),
        ({"retry-after": "Mon, 31 Feb 2026 10:00:00 GMT"}, None),
    ],
    ids=str,
)
def test_what_an_answer_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_pause(headers, NOW) == seconds


def test_the_pause_is_what_is_asked_for_else_doubles() -> None:
    pauses = [pause_before_retry(StatusError(429, {}), failures, NOW) for failures in range(7)]
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8]
    assert pause_before_retry(StatusError(503, {"Retry-After": "3"}), 0, NOW) == 3
    assert pause_before_retry(ConnectionRefusedError(), 1, NOW) == 1


def test_what_is_asked_for_is_found_in_the_error_of_the_client_below() -> None:
    wrapped = RuntimeError("the framework's own")
    wrapped.__cause__ = StatusError(429, {"retry-after": "4"})
    assert pause_before_retry(wrapped, 0, NOW) == 4


@pytest.mark.parametrize("error", [StatusError(400, {"retry-after": "1"}), ValueError(), TimeoutError()], ids=repr)
def test_what_does_not_help_is_not_tried_again(error: Exception) -> None:
    assert pause_before_retry(error, 0, NOW) is None


def test_a_call_that_is_wanted_much_later_is_not_tried_again() -> None:
    assert pause_before_retry(StatusError(429, {"retry-after": f"{LONGEST_ASKED:.0f}"}), 0, NOW) == LONGEST_ASKED
    assert pause_before_retry(StatusError(429, {"retry-after": "121"}), 0, NOW) is None
    assert pause_before_retry(StatusError(429, {"retry-after": "9" * 400}), 0, NOW) is None
