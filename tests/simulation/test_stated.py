"""Sessions of which only sums are known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from budgeted_agents.budget import Budget
from budgeted_agents.money import NANO
from budgeted_agents.simulation import what_if
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.usage import Usage
from tests.simulation.support import LARGE, PRICES, START, call, outcome_of, session_of, simulated


def stated(session: str = "s1", **more: Any) -> TracedCall:
    known: dict[str, Any] = {"calls": 12, "recorded_cost": Decimal("0.75"), "started_at": START}
    return TracedCall(id=f"sum/{session}", session=session, kind="statement", **(known | more))


def test_a_session_beyond_its_cap_would_have_been_stopped_nobody_knows_where() -> None:
    session = session_of([stated()], Budget(usd="0.50", on_exhausted="suspend"))
    found = session.outcome
    assert (session.ending, found.calls, found.cost) == ("suspended", 12, NANO * 3 // 4)
    assert (found.cost_after, found.saved) == (NANO // 2, NANO // 4)
    assert found.ended is not None
    assert (found.ended.moment.call, found.calls_cut) == (0, 0)
    assert session.flags == ("session_only",)


def test_a_session_within_its_cap_is_left_alone() -> None:
    session = session_of([stated()], Budget(usd=1, model_calls=20))
    assert (session.ending, session.outcome.saved) == ("", 0)


def test_calls_and_tokens_have_caps_too() -> None:
    assert session_of([stated()], Budget(model_calls=11)).ending == "landed"
    assert session_of([stated(usage=Usage(input=5_000))], Budget(tokens=4_999)).ending == "landed"


def test_a_budget_in_shadow_mode_only_tells() -> None:
    session = session_of([stated()], Budget(usd="0.50", mode="shadow"))
    assert (session.ending, session.outcome.saved) == ("", 0)
    assert session.outcome.watched is not None


def test_tokens_count_before_what_is_recorded() -> None:
    found = outcome_of([stated(model=LARGE, usage=Usage(input=400, output=100))], Budget(usd=1))
    assert found.cost == 9 * NANO // 1000


def test_a_statement_without_cost_is_left_out() -> None:
    found = outcome_of([stated(recorded_cost=None)], Budget(usd=1))
    assert (found.unpriced, found.cost) == (12, 0)


def test_calls_are_better_figures_than_statements() -> None:
    found = outcome_of([stated(), call(0)], Budget(usd="0.50"))
    assert (found.calls, found.is_stated) == (1, False)


def test_sessions_share_a_budget_of_many() -> None:
    policy = simulated([stated("s1"), stated("s2")], Budget(per=(), usd=1))
    assert {s.session_id: s.outcome.saved for s in policy.sessions} == {"s1": 0, "s2": NANO // 2}


def test_the_report_says_so() -> None:
    (warning,) = what_if([stated()], Budget(usd=1), prices=PRICES).warnings
    assert warning.startswith("Of 1 session the traces give sums only")
