"""Real traces of every format come to the same cost before as their audit, and to no other under an ample policy.

The traces are no part of the repository: where there are none, this says nothing.
"""

from __future__ import annotations

from pathlib import Path

from budgeted_agents import Budget, replay, what_if
from budgeted_agents.money import NANO
from tests.traces.formats.samples import samples


def test_what_is_recorded_costs_what_the_audit_says() -> None:
    for folder in sorted({sample.parent for sample in samples()}):
        assert_agrees(folder)


def assert_agrees(folder: Path) -> None:
    report = what_if(folder, {"ample": Budget(usd=10**6), "scarce": Budget(usd="0.01")}, models=["gpt-4o-mini"])
    ample, scarce = report.policies
    assert ample.totals.saved == ample.totals.calls_cut == 0, folder
    assert scarce.totals.cost_after <= ample.totals.cost, folder
    before = {session.session_id: session.outcome for session in ample.sessions}
    audited = replay(folder).sessions
    assert set(before) == {session.session_id for session in audited}, folder
    for session in audited:
        found = before[session.session_id]
        audited_cost = int((session.figures.cost_usd or 0) * NANO)
        assert abs(found.cost - audited_cost) <= found.calls  # rounded up, call by call
