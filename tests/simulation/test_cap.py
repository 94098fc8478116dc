"""Whatever was recorded, a session costs no more than its cap, unless a call cost more than was held for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.budget import Budget
from budgeted_agents.money import to_usd
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.usage import Usage
from tests.simulation.support import LARGE, SMALL, START, call, simulated

tokens = st.integers(0, 3_000)
seconds = st.integers(0, 200)


@st.composite
def recorded(draw: st.DrawFn, longest: int = 1_000) -> list[TracedCall]:
    """Calls of two sessions, in any order, one upon the other or apart."""
    usages = st.builds(Usage, input=tokens, cache_read=tokens, output=st.integers(0, longest))
    one = st.tuples(st.sampled_from(["s1", "s2"]), usages, seconds, seconds, st.sampled_from([LARGE, SMALL]))
    return [
        call(n, session, usage=usage, started_at=START + start, ended_at=START + start + lasts, model=model)
        for n, (session, usage, start, lasts, model) in enumerate(draw(st.lists(one, min_size=1, max_size=25)))
    ]


budgets = st.builds(
    Budget,
    usd=st.integers(1, 300).map(lambda cents: to_usd(cents * 1_000_000)),
    tokens=st.none() | st.integers(100, 20_000),
    on_exhausted=st.sampled_from(["land", "suspend", "raise"]),
    min_output_tokens=st.sampled_from([1, 128]),
    max_wait=st.sampled_from([0.0, 30.0]),
)


@given(recorded(), budgets, st.sampled_from([(), (LARGE, SMALL)]))
def test_no_session_costs_more_than_its_cap(traced: list[TracedCall], budget: Budget, models: tuple[str, ...]) -> None:
    assert budget.usd_nanos is not None
    for session in simulated(traced, budget, models=models).sessions:
        found = session.outcome
        assert found.overruns == 0
        assert found.cost_after <= budget.usd_nanos
        assert found.calls_cut == 0 or found.ended is not None
        assert 0 <= found.cost_cut <= found.cost


@given(recorded(longest=5_000), budgets)
def test_a_session_above_its_cap_is_flagged(traced: list[TracedCall], budget: Budget) -> None:
    assert budget.usd_nanos is not None
    for session in simulated(traced, budget).sessions:
        if session.outcome.cost_after > budget.usd_nanos:
            assert "overrun" in session.flags


@given(recorded(longest=5_000))
def test_a_policy_that_is_never_reached_saves_nothing(traced: list[TracedCall]) -> None:
    policy = simulated(traced, Budget(usd=1_000_000, tokens=10**12, model_calls=10**9), models=[LARGE, SMALL])
    assert policy.totals.saved == policy.totals.downgraded == policy.totals.calls_cut == 0
