"""Tool calls are counted before they are made, and recorded when they end."""

from __future__ import annotations

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.ledgers.contract import Ledger
from budgeted_agents.meter import admit_tool, cancel_tool, drive, settle_tool
from tests.meter.support import Rig


def use(rig: Rig, tool: str, error: Exception | None = None) -> None:
    admission = drive(admit_tool(rig.meter, rig.run, tool, {"node": "tools"}, step=3))
    drive(settle_tool(rig.meter, admission, error))


def test_a_tool_is_capped_by_its_name_and_with_all_others(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(tool_calls={"search": 2, "*": 3})])
    use(rig, "search")
    use(rig, "search")
    with pytest.raises(BudgetExceeded) as caught:
        use(rig, "search")
    assert (caught.value.unit, caught.value.limit) == ("tool_calls:search", 2)
    assert "another call of tool 'search': it needs at least 1 tool calls of search" in str(caught.value)
    use(rig, "read")
    with pytest.raises(BudgetExceeded) as caught:
        use(rig, "read")
    assert (caught.value.unit, caught.value.limit, caught.value.available) == ("tool_calls", 3, 0)
    assert rig.balance(unit="tool_calls").spent == 3
    assert [note.body["unit"] for note in ledger.notes("s1")] == ["tool_calls:search", "tool_calls"]


def test_a_tool_that_failed_was_called_all_the_same(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(tool_calls=5)])
    use(rig, "search", ValueError("nothing found"))
    (entry,) = ledger.entries("s1")
    assert (entry.record["kind"], entry.record["tool"], entry.record["error"]) == ("tool", "search", "ValueError")
    assert (entry.record["step"], entry.record["attribution"]) == (3, {"node": "tools"})
    assert rig.balance(unit="tool_calls").spent == 1


def test_a_tool_that_was_not_called_gives_its_place_back(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(tool_calls=1)])
    admission = drive(admit_tool(rig.meter, rig.run, "search", {}))
    assert rig.held() == 1
    drive(cancel_tool(rig.meter, admission))
    assert rig.held() == 0
    use(rig, "search")


def test_a_tool_that_no_budget_limits_leaves_no_trace_in_the_ledger(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(tool_calls={"search": 1}), Budget(name="tenant", per="tenant", usd=1)])
    admission = drive(admit_tool(rig.meter, rig.run, "read", {}))
    assert not admission.counted
    assert drive(settle_tool(rig.meter, admission)).record().tool == "read"
    drive(cancel_tool(rig.meter, admission))
    assert list(ledger.entries()) == []


def test_a_shadow_budget_counts_tools_and_stops_none(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(tool_calls=1, mode="shadow")])
    for _ in range(3):
        use(rig, "search")
    assert rig.balance(unit="tool_calls").spent == 3
