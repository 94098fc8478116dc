"""A plan is made once for calls that are alike, and says at every moment what a plan made anew would say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.governor import Plans, Quote
from budgeted_agents.governor.plan import model_plan, tool_plan

MINUTE, DAY = 60.0, 86_400.0
POLICY = Policy(
    (
        Budget(usd="1.00", tokens=50_000, requests_per_minute=60, tool_calls=4),
        Budget(name="tenant-day", per="tenant", window="day", timezone="Europe/Paris", usd=100, mode="shadow"),
        Budget(name="premium", per="model", where={"model_class": "premium"}, model_calls=5),
        Budget(name="search", per=(), where={"tool": "search"}, window="hour", tool_calls=3),
    ),
    {"premium": ("gpt-4o",)},
)
NONE: frozenset[str] = frozenset()


def quote(model: str = "gpt-4o", model_class: str | None = "premium", tokens: int = 1_000) -> Quote:
    return Quote(0, model, model_class, tokens, tokens, 3_000_000, 10_000_000, 4_000)


moments = st.floats(0, 40 * DAY) | st.sampled_from([0.0, DAY - 3_600, DAY - 3_600.5, MINUTE, 2 * MINUTE - 0.001])
calls = st.tuples(
    moments,
    st.fixed_dictionaries({"session": st.sampled_from("ab")}, optional={"tenant": st.sampled_from("xy")}),
    st.sampled_from([quote(), quote("gpt-4o-mini", None), quote(tokens=7)]),
    st.sampled_from([NONE, frozenset({"session"})]),
    st.sampled_from(["search", "read"]),
)


@given(st.lists(calls, min_size=1, max_size=12))
def test_a_remembered_plan_is_what_a_new_one_would_be(asked: list[Any]) -> None:
    plans = Plans(POLICY)
    for now, who, quoted, landing, tool in asked:
        expected = model_plan(POLICY, who, quoted, now=now, landing=landing)
        assert plans.of_model(who, quoted, landing, now).holds(quoted) == expected.holds(quoted)
        assert plans.of_tool(who, tool, now).terms == tool_plan(POLICY, who, tool, now=now).terms


def test_calls_that_are_alike_to_the_budgets_share_a_plan_within_the_minute() -> None:
    plans = Plans(POLICY)
    first = plans.of_model({"session": "a", "node": "one"}, quote(), NONE, 0.0)
    assert plans.of_model({"session": "a", "node": "two"}, quote(tokens=9), NONE, MINUTE - 0.001) is first
    assert plans.of_model({"session": "a", "node": "one"}, quote(), NONE, MINUTE) is not first
    assert plans.of_model({"session": "b", "node": "one"}, quote(), NONE, 0.0) is not first


@pytest.mark.parametrize("who", [{"model_class": "premium"}, {"tenant": "x", "tool": "search"}])
def test_what_metadata_says_of_a_call_counts_as_well(who: dict[str, str]) -> None:
    plans = Plans(POLICY)
    plain = quote("gpt-4o-mini", None)
    plans.of_model({}, plain, NONE, 0.0)
    assert plans.of_model(who, plain, NONE, 0.0).terms == model_plan(POLICY, who, plain, now=0.0).terms
