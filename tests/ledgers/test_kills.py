"""Workers killed in the midst of calls: the bill stays under the cap, no spend is lost, nothing stays held."""

from __future__ import annotations

import pytest

from benchmarks.kills import run


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_workers_neither_overspend_nor_hold_money_for_good(seed: int) -> None:
    kills, over, unbooked, held = run(10, seed)
    assert kills == 10
    assert over <= 0
    assert unbooked >= 0
    assert held == 0
