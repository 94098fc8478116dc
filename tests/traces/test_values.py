"""Times as traces write them."""

from __future__ import annotations

from typing import Any

import pytest

from budgeted_agents.traces.values import seconds

AT = 1_767_323_045.5  # 2026-01-02T03:04:05.5Z


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-02T03:04:05.5Z",
        "2026-01-02T03:04:05.500000000Z",
        "2026-01-02 03:04:05.5",
        "2026-01-02 03:04:05.5 UTC",  # BigQuery
        "2026-01-02T04:04:05.5+01:00",
        "1767323045.5",
        "1767323045500",
        AT,
        1_767_323_045_500,
        1_767_323_045_500_000,
        1_767_323_045_500_000_000,
    ],
)
def test_a_time_in_any_notation(written: Any) -> None:
    assert seconds(written) == AT


@pytest.mark.parametrize(
    "written", ["", "soon", "1.2.3", "NaN", "-5", "9" * 40, -5, True, None, [], float("nan"), float("inf"), 10**400]
)
def test_what_is_no_time_is_unknown(written: Any) -> None:
    assert seconds(written) == 0
