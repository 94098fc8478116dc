"""Calls in the order of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.simulation.order import in_time_order
from tests.simulation.support import START, call

times = st.floats() | st.sampled_from([START, START + 1, 0.0])


@given(st.lists(st.tuples(st.sampled_from("ab"), times, times), max_size=30), st.integers(1, 40))
def test_temporary_files_change_nothing(rows: list[tuple[str, float, float]], most: int) -> None:
    recorded = [call(n, s, started_at=start, ended_at=end) for n, (s, start, end) in enumerate(rows)]
    ordered = list(in_time_order(recorded))
    assert [timed[:3] for timed in in_time_order(recorded, most)] == [timed[:3] for timed in ordered]
    assert [timed.call.id for timed in in_time_order(recorded, most)] == [timed.call.id for timed in ordered]
    assert sorted(timed.seq for timed in ordered) == list(range(len(rows)))
    assert all(0 <= timed.start <= timed.end < float("inf") for timed in ordered)


def test_calls_of_one_moment_stay_in_order() -> None:
    recorded = [call(n, started_at=START, ended_at=START) for n in range(9)]
    assert [timed.seq for timed in in_time_order(recorded, 2)] == list(range(9))


@pytest.mark.parametrize(("start", "end", "expected"), [(0.0, 0.0, (START + 5, START + 5)), (0.0, 9.0, (9.0, 9.0))])
def test_a_call_without_a_time_follows_its_session(start: float, end: float, expected: tuple[float, float]) -> None:
    recorded = [call(0, started_at=START, ended_at=START + 5), call(1, started_at=start, ended_at=end)]
    (odd,) = [timed for timed in in_time_order(recorded) if timed.seq == 1]
    assert (odd.start, odd.end) == expected
